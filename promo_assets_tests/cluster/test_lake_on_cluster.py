"""The lake's jobs write the same rows on a cluster and HDFS as on a laptop."""

import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from promo_assets.lake import tables
from promo_assets.lake.storage.files import Files
from promo_assets_tests.support.daemons import QUICKLY
from promo_assets_tests.support.lake.lake_world import DAYS, LakeWorld
from promo_assets_tests.support.spark_clusters import Standalone
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World


class ClusterLake:
    """A world's lake on HDFS and a local lake, with the same two days of RAW."""

    def __init__(self, spark: SparkSession, world: World):
        self._env = world.env
        self.root = world.settings.lake_uri
        self.files = Files(spark, self.root)
        self.local = LakeWorld(spark, world.home / "local")
        self._on_hdfs = LakeWorld(spark, world.home / "hdfs", root=self.root)
        for day in DAYS[:2]:
            written = self.local.write_raw(day)
            self.files.write_bytes(
                written.read_bytes(),
                f"{self._on_hdfs.lake.day_path(tables.RAW_EVENTS, day)}/{written.name}",
            )

    def launch(self, job: str, *more: str) -> subprocess.Popen[str]:
        """Launch a job as a user's shell does."""
        command = [str(Path(sys.executable).with_name("dg")), "launch", "--job", job, *more]
        return subprocess.Popen(
            command,
            env=self._env | QUICKLY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def differences(self) -> list[tuple]:
        """Return tables and days whose rows differ, with the local rows and those on HDFS."""
        local = self.local.all_contents(DAYS[:2])
        on_hdfs = self._on_hdfs.all_contents(DAYS[:2])
        assert {name for _, name, _ in local} >= {"events", "visits"}
        return [
            (key, local.get(key), on_hdfs.get(key))
            for key in local.keys() | on_hdfs.keys()
            if local.get(key) != on_hdfs.get(key)
        ]


def wait_for_success(run: subprocess.Popen[str]) -> None:
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 0, output[-4_000:]


def test_a_day_on_a_standalone_cluster_has_the_same_rows_as_on_local_folders(
    spark: SparkSession, on_standalone: World
) -> None:
    lake = ClusterLake(spark, on_standalone)
    assert lake.local.run("daily_lake", DAYS[1]).success
    wait_for_success(lake.launch("daily_lake", "--partition", str(DAYS[1])))
    assert lake.differences() == []
    assert not lake.files.exists(f"{lake.root}/user/somebody/scratch")


@pytest.mark.whole
def test_executors_that_are_killed_do_not_change_the_rows_of_the_initial_load(
    spark: SparkSession, on_standalone: World, standalone: Standalone
) -> None:
    lake = ClusterLake(spark, on_standalone)
    assert lake.local.run("initial_load").success
    load = lake.launch("initial_load")
    for _ in range(4):
        wait_for(standalone.executors, "an executor at work", 120)
        victim = standalone.executors()[0]
        victim.kill()
        victim.wait(20)
    wait_for_success(load)
    assert lake.differences() == []


@pytest.mark.whole
def test_the_initial_load_and_a_day_on_yarn_have_the_same_rows_as_on_local_folders(
    spark: SparkSession, on_yarn: World
) -> None:
    lake = ClusterLake(spark, on_yarn)
    assert lake.local.run("initial_load").success
    wait_for_success(lake.launch("initial_load"))
    assert lake.local.run("daily_lake", DAYS[1]).success
    wait_for_success(lake.launch("daily_lake", "--partition", str(DAYS[1])))
    assert lake.differences() == []
