# One image runs Dagster's webserver, daemon and code location, Spark's master and workers, and HDFS.
# So Spark's executors have the code and the packages of requirements.lock at the driver's paths.
FROM python:3.11.14-slim-bookworm

# Spark's scripts need procps and bash.
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless procps \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home promo \
    && install -d -o promo -g promo /opt/promo /var/lib/promo /var/lib/hdfs /var/lib/spark

USER promo
WORKDIR /opt/promo
ENV PATH=/opt/promo/.venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PROMO_HOME=/var/lib/promo \
    SPARK_HOME=/opt/promo/.venv/lib/python3.11/site-packages/pyspark

# Files that rarely change come first, so that packages and jars are downloaded again only when their
# lock files change.
COPY --chown=promo requirements.lock requirements-java.lock pyproject.toml README.md ./
COPY --chown=promo promo_assets/__init__.py promo_assets/
COPY --chown=promo promo_assets/jvm promo_assets/jvm
COPY --chown=promo promo_assets/local promo_assets/local
# The second command names its Python by path, because the shell has remembered where it found
# `python` before the virtual environment existed.
RUN python promo_assets/local/setup.py && .venv/bin/python -m promo_assets.jvm.jars hdfs
COPY --chown=promo promo_assets promo_assets
COPY --chown=promo deploy deploy
COPY --chown=promo workspace.yaml ./
