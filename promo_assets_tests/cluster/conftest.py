"""Spark clusters for the tests, and how the project's processes find them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from promo_assets_tests.lake.conftest import spark
from promo_assets_tests.support.daemons import SHORT_LIVED
from promo_assets_tests.support.lake.hdfs import Hdfs
from promo_assets_tests.support.spark_clusters import SPARK_HOME, Standalone, Yarn
from promo_assets_tests.support.world import World, world

__all__ = ["spark", "world"]

QUICK_EXECUTORS = {"spark.executor.extraJavaOptions": SHORT_LIVED}
# The node has Spark's jars: without this each session would carry 400 MB to HDFS.
ON_YARN = {
    "spark.yarn.jars": f"local:{SPARK_HOME}/jars/*",
    "spark.executor.instances": "2",
    "spark.yarn.am.memory": "256m",
}


@pytest.fixture(scope="session")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    with Standalone(tmp_path_factory.mktemp("standalone")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def yarn(tmp_path_factory: pytest.TempPathFactory, hdfs: Hdfs) -> Iterator[Yarn]:
    with Yarn(tmp_path_factory.mktemp("yarn"), hdfs) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What executors import, packed."""
    file = tmp_path_factory.mktemp("archive") / "executors.tar.gz"
    subprocess.run(
        [Path(sys.executable).with_name("promo-assets"), "spark-archive", str(file)],
        check=True,
        timeout=120,
    )
    return file


@pytest.fixture
def on_standalone(world: World, standalone: Standalone, hdfs: Hdfs) -> World:
    return _on(world, standalone.env, hdfs)


@pytest.fixture(scope="session")
def bare_python() -> str:
    """The Python that our environment was made with, which has none of its packages."""
    python = os.path.realpath(sys.executable)
    assert (
        subprocess.run(
            [python, "-c", "import psycopg"], capture_output=True, check=False
        ).returncode
        != 0
    )
    return python


@pytest.fixture
def on_yarn(world: World, yarn: Yarn, hdfs: Hdfs, archive: Path, bare_python: str) -> World:
    """Executors have all that they import from the archive."""
    made = _on(
        world,
        yarn.env | {"PROMO_SPARK_ARCHIVE": str(archive), "PROMO_SPARK_PYTHON": bare_python},
        hdfs,
    )
    configure_spark(made, **ON_YARN)
    return made


def _on(world: World, cluster: dict[str, str], hdfs: Hdfs) -> World:
    """The world with its Spark on a cluster, and checkpoint and lake on HDFS."""
    world.extra_env |= cluster | {
        "SPARK_CONF_DIR": str(world.home / "spark-conf"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PROMO_CHECKPOINT_DIR": f"{hdfs.uri}/{world.home.name}/checkpoint",
        "PROMO_LAKE_ROOT": f"{hdfs.uri}/{world.home.name}/lake",
        "PROMO_LAKE_OWNER": "somebody",
    }
    configure_spark(world)
    return world


def configure_spark(world: World, **more: str) -> None:
    """Writes the world's spark-defaults.conf."""
    folder = world.home / "spark-conf"
    folder.mkdir(exist_ok=True)
    (folder / "spark-defaults.conf").write_text(
        "".join(f"{name} {value}\n" for name, value in (QUICK_EXECUTORS | more).items())
    )
