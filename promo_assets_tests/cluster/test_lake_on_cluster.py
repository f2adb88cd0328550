"""The lake's jobs with Spark on a cluster and the root on HDFS: the same rows as on a laptop."""

import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from promo_assets.lake import tables
from promo_assets.lake.storage.files import Files
from promo_assets_tests.lake.defs.test_runs import DAYS
from promo_assets_tests.lake.defs.test_runs import World as Runs
from promo_assets_tests.support.daemons import QUICKLY
from promo_assets_tests.support.spark_clusters import Standalone
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World


class FarLake:
    """A world's lake on HDFS beside a local one, with the same two days of RAW."""

    def __init__(self, spark: SparkSession, world: World):
        self._env = world.env
        self.root = world.settings.lake_uri
        self.files = Files(spark, self.root)
        self.local = Runs(spark, world.home / "local")
        self._far = Runs(spark, world.home / "far", root=self.root)
        for day in DAYS[:2]:
            written = self.local.write_raw(day)
            self.files.write_bytes(
                written.read_bytes(),
                f"{self._far.lake.day_path(tables.RAW_EVENTS, day)}/{written.name}",
            )

    def launch(self, job: str, *more: str) -> subprocess.Popen[str]:
        """As a shell does."""
        command = [str(Path(sys.executable).with_name("dg")), "launch", "--job", job, *more]
        return subprocess.Popen(
            command,
            env=self._env | QUICKLY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def differences(self) -> list[tuple]:
        """Tables and days whose rows differ: here, there."""
        here, there = self.local.all_contents(DAYS[:2]), self._far.all_contents(DAYS[:2])
        assert {name for _, name, _ in here} >= {"events", "visits"}
        return [
            (key, here.get(key), there.get(key))
            for key in here.keys() | there.keys()
            if here.get(key) != there.get(key)
        ]


def succeed(run: subprocess.Popen[str]) -> None:
    told, _ = run.communicate(timeout=300)
    assert run.returncode == 0, told[-4_000:]


def test_a_day_on_a_standalone_cluster_is_as_on_local_folders(
    spark: SparkSession, on_standalone: World
) -> None:
    lake = FarLake(spark, on_standalone)
    assert lake.local.run("daily_lake", DAYS[1]).success
    succeed(lake.launch("daily_lake", "--partition", str(DAYS[1])))
    assert lake.differences() == []
    assert not lake.files.exists(f"{lake.root}/user/somebody/scratch")


@pytest.mark.whole
def test_executors_killed_while_the_lake_is_loaded(
    spark: SparkSession, on_standalone: World, standalone: Standalone
) -> None:
    lake = FarLake(spark, on_standalone)
    assert lake.local.run("initial_load").success
    load = lake.launch("initial_load")
    for _ in range(4):
        wait_for(standalone.executors, "an executor at work", 120)
        victim = standalone.executors()[0]
        victim.kill()
        victim.wait(20)
    succeed(load)
    assert lake.differences() == []


@pytest.mark.whole
def test_the_initial_load_and_a_day_on_yarn_are_as_on_local_folders(
    spark: SparkSession, on_yarn: World
) -> None:
    lake = FarLake(spark, on_yarn)
    assert lake.local.run("initial_load").success
    succeed(lake.launch("initial_load"))
    assert lake.local.run("daily_lake", DAYS[1]).success
    succeed(lake.launch("daily_lake", "--partition", str(DAYS[1])))
    assert lake.differences() == []
