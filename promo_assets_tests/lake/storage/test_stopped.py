"""A load that is killed or interrupted: what it leaves in the lake, and what the next load does."""

import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession

from promo_assets.lake import tables
from promo_assets.lake.storage.load_markers import LOADED_TABLES
from promo_assets.lake.transform.calendar_days import days_between
from promo_assets.local.sample.days import Sample, write_day
from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.support.lake.lake_world import DAYS, LakeWorld
from promo_assets_tests.support.stream_process import wait_for

pytestmark = pytest.mark.slow

CHECKOUT = PROJECT_ROOT


def test_a_load_after_a_killed_one_resumes_after_the_last_finished_chunk(
    spark: SparkSession, tmp_path: Path
) -> None:
    world = LakeWorld(spark, tmp_path)
    for day in DAYS[:3]:
        world.write_raw(day)
    killed = subprocess.Popen(
        [sys.executable, "-m", "promo_assets_tests.support.lake.killed_load", str(tmp_path)],
        cwd=CHECKOUT,
    )
    assert killed.wait(120) == -signal.SIGKILL
    finished = {name: time for name, time in world.files().items() if str(DAYS[0]) in name}
    assert world.lake.days(tables.STG_EVENTS) == DAYS[:2], "it was killed in its second chunk"
    assert world.lake.days(tables.EVENTS) == DAYS[:1]
    assert world.run("initial_load").success
    assert {name: time for name, time in world.files().items() if str(DAYS[0]) in name} == finished
    assert all(world.lake.days(table) == DAYS[:3] for table in LOADED_TABLES)
    assert not (world.root / "user/somebody/scratch").exists()


def test_an_interrupted_load_ends_at_once_and_leaves_no_partial_day(tmp_path: Path) -> None:
    """It gets the signal of Ctrl-C in a terminal, with which Dagster's UI terminates runs, too."""
    raw = tmp_path / "lake" / tables.RAW_EVENTS.path.lstrip("/")
    days = days_between(date(2022, 5, 1), date(2022, 5, 2))
    sample = Sample(200_000, 5_000, 100, seed=1)
    for day in days:
        (raw / f"date={day}").mkdir(parents=True)
        write_day(sample, day, raw / f"date={day}" / "part-0.parquet", lambda _: None)
    (tmp_path / "dagster").mkdir()
    places = {
        "PROMO_HOME": str(tmp_path),
        "PROMO_LAKE_ROOT": str(tmp_path / "lake"),
        "DAGSTER_HOME": str(tmp_path / "dagster"),
    }
    no_env_file = {
        "PROMO_LAKE_OWNER": "somebody",
        "PROMO_LAKE_START": "2022-01-01",
        "PROMO_SPARK_MASTER": "local[2]",
    }
    command = [Path(sys.executable).with_name("dg"), "launch", "--job", "initial_load"]
    with (tmp_path / "log").open("wb") as log:
        load = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=os.environ | places | no_env_file,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    scratch = tmp_path / "lake/user/somebody/scratch"
    wait_for(lambda: any(scratch.rglob("_temporary/**/*.parquet")), "Spark writes a day")
    children = psutil.Process(load.pid).children(recursive=True)
    os.killpg(load.pid, signal.SIGINT)
    assert load.wait(30) != 0
    _, alive = psutil.wait_procs(children, 10)
    assert not alive
    assert not scratch.exists()
    assert not (tmp_path / "lake/user/somebody/data/events").exists(), "no day was finished"
