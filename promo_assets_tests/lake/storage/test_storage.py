"""Days are replaced as a whole, whatever happens meanwhile; what cannot be read is said so."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_assets.lake import steps
from promo_assets.lake.storage.files import Files, LakeError
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.tables import FIRST_MESSAGES, RAW_EVENTS, STG_EVENTS
from promo_assets_tests.support.lake.generated import subscription, write_day
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
    """Of users in city 1, as (user_id, day)."""
    return spark.createDataFrame(
        [(user, 1, day) for user, day in rows], "user_id long, city_id long, date date"
    )


def users_of(lake: Lake, day: date) -> list[int]:
    return sorted(row.user_id for row in lake.read(FIRST_MESSAGES, [day]).collect())


def files_below(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))


def test_only_the_named_days_are_replaced_and_an_empty_result_replaces_too(
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
    assert pq.read_schema(
        next((tmp_path / f"user/somebody/data/dds/first_messages/date={DAY}").glob("*.parquet"))
    ).names == [
        "user_id",
        "city_id",
    ]


def test_a_frame_that_cannot_be_computed_replaces_nothing(
    spark: SparkSession, lake: Lake, tmp_path: Path
) -> None:
    lake.replace_days(first_messages(spark, (1, DAY)), FIRST_MESSAGES, [DAY])
    before = files_below(tmp_path)
    broken = first_messages(spark, (2, DAY)).selectExpr(
        "raise_error('no such thing') as user_id", "city_id", "date"
    )
    with pytest.raises(
        LakeError, match=r"dds/first_messages could not be written: .*no such thing"
    ):
        lake.replace_days(broken, FIRST_MESSAGES, [DAY])
    assert files_below(tmp_path) == before


def test_two_writers_of_a_day_never_mix(spark: SparkSession, tmp_path: Path) -> None:
    """Each publishes whole folders of its own again and again; in the end one of them is there, alone."""
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


@pytest.mark.parametrize(
    "point", ["while Spark writes", "before the day is renamed", "when the old day is away"]
)
def test_a_killed_write_leaves_the_old_day_or_none_and_the_next_one_cleans_up(
    spark: SparkSession, lake: Lake, raw: Path, tmp_path: Path, point: str
) -> None:
    write_day(raw, DAY, [subscription("1", f"{DAY} 10:00:00", HERE, channel=1)])
    steps.stage(lake, [DAY])
    old = lake.read(STG_EVENTS, [DAY]).toArrow().to_pylist()
    write_day(
        raw,
        DAY,
        [subscription(str(user), f"{DAY} 10:00:00", HERE, channel=1) for user in range(40)],
    )
    killed = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "promo_assets_tests.support.lake.killed_write",
            str(tmp_path),
            str(DAY),
            point,
        ]
    )
    children = wait_for(lambda: psutil.Process(killed.pid).children(), "the JVM")
    assert killed.wait(120) == -9
    psutil.wait_procs(children, 30)
    if lake.has(STG_EVENTS, DAY):
        assert lake.read(STG_EVENTS, [DAY]).toArrow().to_pylist() == old
        assert point != "when the old day is away"
    assert (tmp_path / "user/somebody/scratch").exists(), "something is left over"
    done, failed = steps.stage(lake, [DAY])
    assert not failed
    assert done[DAY].rows == 40
    assert lake.read(STG_EVENTS, [DAY]).count() == 40
    assert not (tmp_path / "user/somebody/scratch").exists()


def break_tail(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def make_empty(file: Path) -> None:
    file.write_bytes(b"")


def retype(column: int, values: pa.Array) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        table = pq.read_table(file)
        pq.write_table(table.set_column(column, table.column_names[column], values), file)

    return change


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (break_tail, "is not a Parquet file"),
        (make_empty, "is not a Parquet file"),
        (retype(2, pa.array(["-33.865"])), r"Parquet column \[lat\]. Expected Spark type double"),
        (shutil.rmtree, "is missing"),
        (Path.unlink, "is empty"),
    ],
    ids=["truncated", "zero bytes", "another type", "no folder", "no file"],
)
def test_an_unreadable_raw_day_is_named_and_the_others_are_staged(
    lake: Lake, raw: Path, damage: Callable[[Path], None], reason: str
) -> None:
    for day in (DAY, NEXT):
        write_day(raw, day, [subscription("1", f"{day} 10:00:00", HERE, channel=1)])
    damage(
        raw / f"date={DAY}" if damage is shutil.rmtree else raw / f"date={DAY}" / "part-0.parquet"
    )
    done, failed = steps.stage(lake, [DAY, NEXT])
    assert list(done) == [NEXT]
    assert list(failed) == [DAY]
    assert f"date={DAY}" in failed[DAY]
    assert re.search(reason, failed[DAY])
    assert lake.days(STG_EVENTS) == [NEXT]


def test_a_missing_column_is_null_and_another_one_is_left_out_and_named(
    lake: Lake, raw: Path
) -> None:
    write_day(raw, DAY, [subscription("1", f"{DAY} 10:00:00", HERE, channel=1)])
    file = raw / f"date={DAY}" / "part-0.parquet"
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["lon"]).append_column("altitude", pa.array([7.0])), file)
    steps.stage(lake, [DAY])
    row = lake.read(STG_EVENTS, [DAY]).first()
    assert row is not None
    assert (row.event.user, row.lat, row.lon) == ("1", HERE[0], None)
    assert lake.extra_columns(RAW_EVENTS, DAY) == ["altitude"]


def test_a_day_without_events_is_a_day(lake: Lake, raw: Path) -> None:
    """A file without rows, or Hadoop's mark alone: its writer had nothing to write."""
    write_day(raw, DAY, [])
    (raw / f"date={NEXT}").mkdir()
    (raw / f"date={NEXT}" / "_SUCCESS").touch()
    done, failed = steps.stage(lake, [DAY, NEXT])
    assert not failed
    assert {day: written.rows for day, written in done.items()} == {DAY: 0, NEXT: 0}
    cities = steps.load_cities(lake)
    assert [written.rows for written in steps.clean(lake, cities, [DAY, NEXT]).values()] == [0, 0]
    assert [written.rows for written in steps.reject(lake, [DAY, NEXT]).values()] == [0, 0]
    assert steps.build_users(lake, cities, DAY, 28).rows == 0


def test_missing_days_of_history_count_as_empty_with_a_warning(
    spark: SparkSession, tmp_path: Path
) -> None:
    warnings: list[str] = []
    lake = Lake(spark, str(tmp_path), "somebody", warnings.append)
    lake.replace_days(first_messages(spark, (1, DAY)), FIRST_MESSAGES, [DAY])
    frame = lake.read_between(FIRST_MESSAGES, DAY - timedelta(days=1), NEXT)
    assert frame.count() == 1
    assert warnings == [
        f"dds/first_messages has no {DAY - timedelta(days=1)}, {NEXT}: counted as empty"
    ]
    with pytest.raises(LakeError, match=f"has no {NEXT}: materialize it first"):
        lake.read(FIRST_MESSAGES, [DAY, NEXT])


def test_cities_are_the_lakes_own_or_the_shipped_ones(lake: Lake, tmp_path: Path) -> None:
    assert len(steps.load_cities(lake)) == 24
    file = tmp_path / "user/somebody/data/citygeodata/geo.csv"
    assert file.read_bytes() == steps.SHIPPED.read_bytes()
    file.write_text("id;city;lat;lng;timezone\n1;Here;1,5;2;UTC\n2;There;x;2;UTC\n")
    with pytest.raises(LakeError, match=r"geo\.csv: line 3: lat 'x' is no number"):
        steps.load_cities(lake)


def test_nothing_can_be_reached_without_a_namenode(spark: SparkSession) -> None:
    with pytest.raises(LakeError, match=r"the lake at hdfs://127.0.0.1:1 cannot be reached"):
        Lake(spark, "hdfs://127.0.0.1:1", "somebody")
