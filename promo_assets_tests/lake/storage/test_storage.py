"""Days are replaced as a whole, whatever happens meanwhile; unreadable data is reported."""

import subprocess
import sys
import threading
from datetime import date, timedelta
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_assets.lake import steps
from promo_assets.lake.storage.files import Files, LakeError
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.tables import FIRST_MESSAGES, RAW_EVENTS, STG_EVENTS
from promo_assets_tests.support.lake.raw import subscription, write_day
from promo_assets_tests.support.stream_process import wait_for

DAY = date(2022, 5, 1)
NEXT = DAY + timedelta(days=1)
HERE = (-33.865, 151.2094)


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, str(tmp_path), "somebody")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / RAW_EVENTS.path.lstrip("/")


def first_messages(spark: SparkSession, *rows: tuple[int, date]) -> DataFrame:
    """Return first messages in city 1 from pairs of user_id and day."""
    return spark.createDataFrame(
        [(user, 1, day) for user, day in rows], "user_id long, city_id long, date date"
    )


def users_of(lake: Lake, day: date) -> list[int]:
    return sorted(row.user_id for row in lake.read(FIRST_MESSAGES, [day]).collect())


def files_below(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))


def test_only_the_given_days_are_replaced_also_by_an_empty_result(
    spark: SparkSession, lake: Lake, tmp_path: Path
) -> None:
    written = lake.replace_days(
        first_messages(spark, (1, DAY), (2, DAY), (3, NEXT)), FIRST_MESSAGES, [DAY, NEXT]
    )
    assert {day: found.rows for day, found in written.items()} == {DAY: 2, NEXT: 1}
    written = lake.replace_days(first_messages(spark), FIRST_MESSAGES, [DAY])
    assert written[DAY].rows == 0
    assert users_of(lake, DAY) == []
    assert users_of(lake, NEXT) == [3]
    assert not (tmp_path / "user/somebody/scratch").exists()
    folder = tmp_path / f"user/somebody/data/dds/first_messages/date={DAY}"
    (file,) = folder.glob("*.parquet")
    assert pq.read_schema(file).names == ["user_id", "city_id"]


def test_a_frame_that_cannot_be_computed_replaces_nothing(
    spark: SparkSession, lake: Lake, tmp_path: Path
) -> None:
    lake.replace_days(first_messages(spark, (1, DAY)), FIRST_MESSAGES, [DAY])
    before = files_below(tmp_path)
    broken = first_messages(spark, (2, DAY)).selectExpr(
        "raise_error('no such thing') as user_id", "city_id", "date"
    )
    with pytest.raises(LakeError, match=r"dds/first_messages.*: .*no such thing"):
        lake.replace_days(broken, FIRST_MESSAGES, [DAY])
    assert files_below(tmp_path) == before


def test_two_writers_of_a_day_never_mix(spark: SparkSession, tmp_path: Path) -> None:
    """Each writer publishes whole folders again and again; in the end one folder is in place."""
    files, place = Files(spark, str(tmp_path)), f"{tmp_path.as_uri()}/table/date={DAY}"
    failures: list[Exception] = []

    def publish(writer: str) -> None:
        try:
            for turn in range(15):
                for part in range(2):
                    files.write_bytes(
                        writer.encode(), f"{tmp_path.as_uri()}/{writer}{turn}/part-{part}-{writer}"
                    )
                files.replace(
                    place,
                    f"{tmp_path.as_uri()}/{writer}{turn}",
                    f"{tmp_path.as_uri()}/old-{writer}{turn}",
                )
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=publish, args=(writer,)) for writer in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    left = [
        name for name in files_below(tmp_path / "table" / f"date={DAY}") if not name.startswith(".")
    ]
    assert left in (["part-0-a", "part-1-a"], ["part-0-b", "part-1-b"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "point", ["while Spark writes", "before the day is renamed", "when the old day is away"]
)
def test_a_killed_write_leaves_the_old_day_or_none_and_the_next_write_cleans_up(
    spark: SparkSession, lake: Lake, raw: Path, tmp_path: Path, point: str
) -> None:
    write_day(raw, DAY, [subscription("1", f"{DAY} 10:00:00", HERE, channel=1)])
    steps.stage_events(lake, [DAY])
    old = lake.read(STG_EVENTS, [DAY]).toArrow().to_pylist()
    users = map(str, range(40))
    write_day(raw, DAY, [subscription(u, f"{DAY} 10:00:00", HERE, channel=1) for u in users])
    program = "promo_assets_tests.support.lake.killed_write"
    killed = subprocess.Popen([sys.executable, "-m", program, str(tmp_path), str(DAY), point])
    children = wait_for(lambda: psutil.Process(killed.pid).children(), "the JVM")
    assert killed.wait(120) == -9
    psutil.wait_procs(children, 30)
    if lake.has(STG_EVENTS, DAY):
        assert lake.read(STG_EVENTS, [DAY]).toArrow().to_pylist() == old
        assert point != "when the old day is away"
    assert (tmp_path / "user/somebody/scratch").exists(), (
        "the killed process left its scratch folder"
    )
    done, failed = steps.stage_events(lake, [DAY])
    assert not failed
    assert done[DAY].rows == 40
    assert lake.read(STG_EVENTS, [DAY]).count() == 40
    assert not (tmp_path / "user/somebody/scratch").exists()


def test_missing_days_of_history_count_as_empty_with_a_warning(
    spark: SparkSession, tmp_path: Path
) -> None:
    warnings: list[str] = []
    lake = Lake(spark, str(tmp_path), "somebody", warnings.append)
    lake.replace_days(first_messages(spark, (1, DAY)), FIRST_MESSAGES, [DAY])
    frame = lake.read_between(FIRST_MESSAGES, DAY - timedelta(days=1), NEXT)
    assert frame.count() == 1
    (warning,) = warnings
    assert f"dds/first_messages has no {DAY - timedelta(days=1)}, {NEXT}: " in warning
    with pytest.raises(LakeError, match=rf"has no {NEXT}\. Materialize dds/first_messages"):
        lake.read(FIRST_MESSAGES, [DAY, NEXT])


def test_a_lake_without_a_namenode_is_reported_with_its_address(spark: SparkSession) -> None:
    with pytest.raises(LakeError, match=r"hdfs://127.0.0.1:1 cannot be reached"):
        Lake(spark, "hdfs://127.0.0.1:1", "somebody")
