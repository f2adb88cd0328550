"""Steps: unreadable RAW days, unusual columns, days without events, and the lake's cities."""

import re
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from promo_assets.lake import steps
from promo_assets.lake.storage.files import LakeError
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.tables import RAW_EVENTS, STG_EVENTS
from promo_assets_tests.support.lake.raw import subscription, write_day

DAY = date(2022, 5, 1)
NEXT = DAY + timedelta(days=1)
HERE = (-33.865, 151.2094)


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, str(tmp_path), "somebody")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / RAW_EVENTS.path.lstrip("/")


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
def test_an_unreadable_raw_day_is_named_and_other_days_are_staged(
    lake: Lake, raw: Path, damage: Callable[[Path], None], reason: str
) -> None:
    for day in (DAY, NEXT):
        write_day(raw, day, [subscription("1", f"{day} 10:00:00", HERE, channel=1)])
    damage(
        raw / f"date={DAY}" if damage is shutil.rmtree else raw / f"date={DAY}" / "part-0.parquet"
    )
    done, failed = steps.stage_events(lake, [DAY, NEXT])
    assert list(done) == [NEXT]
    assert list(failed) == [DAY]
    assert f"date={DAY}" in failed[DAY]
    assert re.search(reason, failed[DAY])
    assert lake.days(STG_EVENTS) == [NEXT]


def test_a_missing_column_is_null_and_an_extra_one_is_left_out_and_named(
    lake: Lake, raw: Path
) -> None:
    write_day(raw, DAY, [subscription("1", f"{DAY} 10:00:00", HERE, channel=1)])
    file = raw / f"date={DAY}" / "part-0.parquet"
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["lon"]).append_column("altitude", pa.array([7.0])), file)
    steps.stage_events(lake, [DAY])
    row = lake.read(STG_EVENTS, [DAY]).first()
    assert row is not None
    assert (row.event.user, row.lat, row.lon) == ("1", HERE[0], None)
    assert lake.extra_columns(RAW_EVENTS, DAY) == ["altitude"]


def test_a_day_without_events_is_not_missing(lake: Lake, raw: Path) -> None:
    """The writer had nothing to write: there is a file without rows, or only Hadoop's _SUCCESS."""
    write_day(raw, DAY, [])
    (raw / f"date={NEXT}").mkdir()
    (raw / f"date={NEXT}" / "_SUCCESS").touch()
    done, failed = steps.stage_events(lake, [DAY, NEXT])
    assert not failed
    assert {day: written.rows for day, written in done.items()} == {DAY: 0, NEXT: 0}
    cities = steps.ensure_cities(lake)
    assert [written.rows for written in steps.clean_events(lake, cities, [DAY, NEXT]).values()] == [
        0,
        0,
    ]
    assert [written.rows for written in steps.reject_events(lake, [DAY, NEXT]).values()] == [0, 0]
    assert steps.build_users(lake, cities, DAY, 28).rows == 0


def test_a_lake_without_cities_gets_the_shipped_ones(lake: Lake, tmp_path: Path) -> None:
    assert len(steps.ensure_cities(lake)) == 24
    file = tmp_path / "user/somebody/data/citygeodata/geo.csv"
    assert file.read_bytes() == steps.SHIPPED.read_bytes()
    assert steps.load_cities(lake) == steps.ensure_cities(lake)


def test_cities_of_the_lake_are_used_and_never_replaced(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "user/somebody/data/citygeodata/geo.csv"
    file.parent.mkdir(parents=True)
    file.write_text("id;city;lat;lng;timezone\n1;Here;1,5;2;UTC\n")
    assert [city.city for city in steps.ensure_cities(lake)] == ["Here"]
    broken = "id;city;lat;lng;timezone\n1;Here;1,5;2;UTC\n2;There;x;2;UTC\n"
    file.write_text(broken)
    for read in (steps.ensure_cities, steps.load_cities):
        with pytest.raises(LakeError, match=r"geo\.csv: line 3: lat 'x'"):
            read(lake)
    assert file.read_text() == broken


def test_loading_cities_writes_nothing(lake: Lake, tmp_path: Path) -> None:
    before = list(tmp_path.rglob("*"))
    with pytest.raises(LakeError, match=r"geo\.csv is missing.*dds/geo"):
        steps.load_cities(lake)
    assert list(tmp_path.rglob("*")) == before
