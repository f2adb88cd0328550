"""The demo's lake without Dagster: which days it makes up, and how it judges what Dagster recorded.

`test_demo.py` runs the whole demo.
"""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from promo_assets.commands.console import UserError
from promo_assets.commands.demo.lake import SAMPLE, LakeResults, fill_raw
from promo_assets.commands.demo.runs import find_failure
from promo_assets.commands.lake_sample import FILE
from promo_assets.local.sample.days import sample_day
from promo_assets.settings import Settings

LAST = date(2026, 3, 2)
EXPECTED = [date(2026, 2, 3) + timedelta(days=n) for n in range(28)]


class Stopped(Exception):
    """Ends the demo, as Ctrl-C does."""


class RawFolder:
    def __init__(self, home: Path):
        self.settings = self.settings_from(date(2022, 1, 1), home)
        self.folder = home / "lake" / "user" / "master" / "data" / "geo" / "events"

    def settings_from(self, start: date, home: Path | None = None) -> Settings:
        return Settings(home=home or self.settings.home, lake_start=start, _env_file=None)  # pyright: ignore[reportCallIssue]

    def fill(self, check_stopped: Callable[[], None] = lambda: None) -> list[date]:
        return fill_raw(self.settings, LAST, check_stopped)

    def file(self, day: date, name: str = FILE) -> Path:
        return self.folder / f"date={day}" / name

    def list_all(self) -> dict[str, tuple[int, int]]:
        """Return all files of the lake, hidden ones too, with what a rewrite would change."""
        paths = self.folder.parents[4].rglob("*")
        return {
            str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in paths
            if path.is_file()
        }


@pytest.fixture
def raw(tmp_path: Path) -> RawFolder:
    return RawFolder(tmp_path)


def test_an_empty_raw_gets_four_weeks_and_a_second_demo_finds_them(raw: RawFolder):
    assert raw.fill() == EXPECTED
    before = raw.list_all()
    assert sorted(before) == [str(raw.file(day)) for day in EXPECTED]
    assert all(
        pq.read_metadata(raw.file(day)).num_rows == SAMPLE.events_per_day for day in EXPECTED
    )
    assert pq.read_table(raw.file(LAST)).equals(sample_day(SAMPLE, LAST))
    assert raw.fill() == EXPECTED
    assert raw.list_all() == before


def test_a_demo_on_the_next_day_adds_that_day_and_any_that_is_missing(raw: RawFolder):
    raw.fill()
    raw.file(EXPECTED[10]).unlink()
    raw.file(EXPECTED[10]).parent.rmdir()
    before = raw.list_all()
    assert fill_raw(raw.settings, LAST + timedelta(days=1), lambda: None) == [
        *EXPECTED[1:],
        LAST + timedelta(days=1),
    ]
    after = raw.list_all()
    assert sorted(after.keys() - before.keys()) == [
        str(raw.file(day)) for day in (EXPECTED[10], LAST + timedelta(days=1))
    ]
    assert before.items() <= after.items()


@pytest.mark.parametrize(
    "day", [LAST - timedelta(days=5), date(2022, 1, 1)], ids=["lately", "long ago"]
)
def test_nothing_is_added_where_somebody_else_wrote_and_a_line_says_so(
    raw: RawFolder, day: date, capsys: pytest.CaptureFixture[str]
):
    theirs = raw.file(day, "part-00000.parquet")
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    before = raw.list_all()
    assert raw.fill() == [day]
    assert raw.list_all() == before
    line = capsys.readouterr().err
    assert f"date={day} was not written by `lake sample`" in line
    assert "nothing is added" in line


def test_a_file_of_others_next_to_the_sample_s_means_that_nothing_is_added(raw: RawFolder):
    raw.fill()
    raw.file(EXPECTED[3], "part-00000.parquet").write_bytes(b"theirs")
    raw.file(LAST).unlink()
    raw.file(LAST).parent.rmdir()
    before = raw.list_all()
    assert raw.fill() == EXPECTED[:-1]
    assert raw.list_all() == before


def test_a_lake_that_starts_later_gets_fewer_days(raw: RawFolder):
    start = LAST - timedelta(days=1)
    assert fill_raw(raw.settings_from(start), LAST, lambda: None) == [start, LAST]
    assert sorted(raw.list_all()) == [str(raw.file(start)), str(raw.file(LAST))]
    with pytest.raises(UserError, match="PROMO_LAKE_START: 2026-03-03 is not over"):
        fill_raw(raw.settings_from(LAST + timedelta(days=1)), LAST, lambda: None)


def test_ctrl_c_leaves_whole_days_and_nothing_else(raw: RawFolder):
    calls = iter(range(3))

    def check_stopped() -> None:
        if next(calls) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        raw.fill(check_stopped)
    assert sorted(raw.list_all()) == [str(raw.file(day)) for day in EXPECTED[:2]]
    assert raw.fill() == EXPECTED


# What Dagster recorded

D1, D2 = date(2026, 3, 1), date(2026, 3, 2)
GOOD = {
    "stg/events": {D1: 100, D2: 1_200},
    "dds/events": {D1: 98, D2: 1_190},
    "dds/rejected_events": {D1: 2, D2: 10},
    "mart/users": {D2: 7},
    "mart/geo": {D2: 3},
    "mart/friend_recomendation": {D2: 1},
}


@pytest.mark.parametrize(
    ("changed", "problems"),
    [
        ({}, []),
        (
            {"dds/events": {D1: 97, D2: 1_190}},
            ["of 2026-03-01, 100 events were read, 97 kept and 2 rejected"],
        ),
        # The totals agree, but not those of each day.
        (
            {"dds/events": {D1: 99, D2: 1_189}},
            [
                "of 2026-03-01, 100 events were read, 99 kept and 2 rejected",
                "of 2026-03-02, 1,200 events were read, 1,189 kept and 10 rejected",
            ],
        ),
        (
            {"stg/events": {D2: 1_200}},
            ["of 2026-03-01, unknown events were read, 98 kept and 2 rejected"],
        ),
        (
            {"dds/rejected_events": {D1: 2}},
            ["of 2026-03-02, 1,200 events were read, 1,190 kept and unknown rejected"],
        ),
        ({"mart/geo": {}}, ["mart/geo has no row of 2026-03-02"]),
        ({"mart/users": {D2: 0}}, ["mart/users has no row of 2026-03-02"]),
    ],
)
def test_whatever_is_not_as_promised_is_named(changed: dict, problems: list[str]):
    assert LakeResults([D1, D2], GOOD | changed).find_problems() == problems


def error(*messages: str) -> dict:
    return {
        "message": "a step failed",
        "error": {"message": messages[0], "causes": [{"message": each} for each in messages[1:]]},
    }


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], "no more is known"),
        (
            [{"message": "started"}, {"message": "the run's process is gone."}, {}],
            "the run's process is gone",
        ),
        (
            [
                {"message": "started"},
                error("dagster._core.definitions.events.Failure: 1 of 2 days failed. d: why\n"),
                error("later"),
            ],
            "1 of 2 days failed. d: why",
        ),
        (
            [
                error(
                    "dagster._core.errors.DagsterExecutionStepExecutionError: Error\nat",
                    "promo_assets.lake.storage.files.LakeError: no day: x",
                )
            ],
            "no day: x",
        ),
    ],
)
def test_a_failed_run_is_reported_by_the_innermost_cause_of_its_first_error(
    events: list[dict], reason: str
):
    assert find_failure(events) == reason
