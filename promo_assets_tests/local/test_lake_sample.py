"""The made-up RAW days, and the command that puts them into a lake."""

import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyspark.sql.pandas.types import from_arrow_schema

from promo_assets import cli
from promo_assets.commands import lake_sample as lake
from promo_assets.commands import raw_days
from promo_assets.commands.console import INTERRUPTED, UserError
from promo_assets.lake.tables import RAW_EVENTS
from promo_assets.local.sample.days import Sample, sample_batches, sample_day
from promo_assets.local.sample.people import make_people
from promo_assets_tests.support.command_line import run, started

DAY = date(2022, 5, 4)
SAMPLE = Sample(events_per_day=50_000, users=2_000, channels=200)


@pytest.fixture(scope="module")
def events() -> pa.Table:
    return sample_day(SAMPLE, DAY)


def field(events: pa.Table, *path: str) -> pa.ChunkedArray:
    return pc.struct_field(events["event"], list(path))


def of_type(events: pa.Table, kind: str) -> pa.Table:
    return events.filter(pc.equal(events["event_type"], kind))


# What is made


def test_the_schema_is_the_one_of_raw(events: pa.Table):
    assert from_arrow_schema(events.schema) == RAW_EVENTS.schema


def test_the_same_numbers_make_the_same_day_and_any_other_number_another(events: pa.Table):
    assert sample_day(SAMPLE, DAY).equals(events)
    others = [
        Sample(50_000, 2_000, 200, seed=2),
        Sample(50_000, 2_001, 200),
        Sample(50_000, 2_000, 201),
    ]
    assert not any(sample_day(other, DAY).equals(events) for other in others)
    assert not sample_day(SAMPLE, DAY + timedelta(days=1))["lat"].equals(events["lat"])


def test_subscriptions_are_more_than_reactions_and_those_more_than_messages(events: pa.Table):
    counts = {
        entry["values"]: entry["counts"]
        for entry in pc.value_counts(events["event_type"]).to_pylist()
    }
    shares = {kind: counts[kind] / len(events) for kind in ("message", "reaction", "subscription")}
    assert shares == pytest.approx(
        {"message": 0.05, "reaction": 0.25, "subscription": 0.70}, abs=0.005
    )


def test_channels_follow_zipfs_law(events: pa.Table):
    channels = np.bincount(
        field(of_type(events, "subscription"), "subscription_channel").to_numpy(), minlength=201
    )
    assert channels[0] == 0 and channels[1:].min() > 0 and len(channels) == 201
    # Of a law 1/n: each doubling of n holds the same share.
    doublings = [channels[low : 2 * low].sum() for low in (1, 2, 4, 8, 16, 32, 64)]
    assert max(doublings) < 1.1 * min(doublings)


def test_times_stand_in_one_column_or_the_other_and_in_all_ways_they_are_written(events: pa.Table):
    at, stamp = field(events, "datetime"), field(events, "message_ts")
    assert pc.sum(pc.and_(pc.is_valid(at), pc.is_null(stamp))).as_py() > 30_000
    assert pc.sum(pc.and_(pc.is_null(at), pc.is_valid(stamp))).as_py() > 3_000
    times = pc.coalesce(at, stamp)
    for shape in (
        r" \d\d:\d\d:\d\d$",
        r"T\d\d:\d\d:\d\d$",
        r" \d\d:\d\d:\d\d\.\d{3}$",
        r"T\d\d:\d\d:\d\d\.\d{6}$",
    ):
        assert pc.sum(pc.match_substring_regex(times, "^2022-05-04" + shape)).as_py() > 1_000


def reasons_against(events: pa.Table) -> list[set[str]]:
    """Why events cannot be used, written down once more by the rules of RAW, row by row."""
    found = []
    for row in events.to_pylist():
        event, reasons = row["event"], set()
        user = {"message": event["message_from"], "reaction": event["reaction_from"]}.get(
            row["event_type"], event["user"] or event["subscription_user"]
        )
        if row["event_type"] not in ("message", "reaction", "subscription"):
            reasons.add("type")
        elif not str(user).isdigit():
            reasons.add("user")
        text = event["datetime"] if event["datetime"] is not None else event["message_ts"]
        try:
            time = datetime.fromisoformat(text or "")
            if time.tzinfo or len(text) < 19:
                reasons.add("time")
            elif time.date() != DAY:
                reasons.add("day")
        except ValueError:
            reasons.add("time")
        if abs(row["lat"] or 0) > 90 or abs(row["lon"] or 0) > 180:
            reasons.add("position")
        found.append(reasons)
    return found


def test_one_event_in_200_is_broken_in_each_of_the_ways(events: pa.Table):
    reasons = [reasons for reasons in reasons_against(events) if reasons]
    assert len(reasons) == 250
    assert [
        sum(reason in each for each in reasons)
        for reason in ("user", "time", "day", "position", "type")
    ] == [50] * 5


def test_some_events_have_no_position(events: pa.Table):
    missing = pc.sum(pc.is_null(events["lon"])).as_py() / len(events)
    assert 0.015 < missing < 0.025
    assert 0 < pc.sum(pc.xor(pc.is_null(events["lat"]), pc.is_null(events["lon"]))).as_py() < 200


def test_message_ids_are_unique_across_days_and_reactions_are_to_messages(events: pa.Table):
    days = [
        of_type(sample_day(SAMPLE, DAY - timedelta(days=back)), "message") for back in (0, 1, 2)
    ]
    ids = pc.unique(
        pa.chunked_array([chunk for day in days for chunk in field(day, "message_id").chunks])
    )
    assert len(ids) == sum(len(day) for day in days)
    reacted = field(of_type(events, "reaction"), "message_id")
    known = pc.sum(pc.is_in(reacted, ids)).as_py() / len(reacted)
    assert known > 0.99  # a few of the messages are broken by their type


def test_messages_go_to_friends_to_channels_and_to_groups(events: pa.Table):
    messages = of_type(events, "message")
    to = {
        name: pc.is_valid(field(messages, name))
        for name in ("message_to", "message_channel_to", "message_group")
    }
    count = {name: pc.sum(valid).as_py() for name, valid in to.items()}
    assert sum(count.values()) == len(messages)
    assert count["message_to"] > count["message_channel_to"] > count["message_group"] > 0
    pairs = {
        (row["message_from"], row["message_to"])
        for row in messages["event"].to_pylist()
        if row["message_to"]
    }
    assert len(pairs) < 0.95 * count["message_to"]  # one writes to the same people again
    assert all(left != right for left, right in pairs)
    for name in ("tags", "media", "admins"):
        assert 0 < pc.sum(pc.is_valid(field(messages, name))).as_py() < len(messages) / 2


@pytest.mark.parametrize(
    "numbers",
    [Sample(1, 1, 1), Sample(7, 1, 1), Sample(300, 2, 1), Sample(300, 3, 1_000_000)],
    ids=str,
)
@pytest.mark.parametrize("day", [date.min, DAY, date.max], ids=str)
def test_the_smallest_sample_and_the_outermost_days_can_be_made(numbers: Sample, day: date):
    assert len(sample_day(numbers, day)) == numbers.events_per_day


def test_a_day_of_several_batches_is_one_day():
    sample = Sample(events_per_day=450_000)
    parts = list(sample_batches(sample, DAY))
    assert [len(part) for part in parts] == [200_000, 200_000, 50_000]
    messages = of_type(pa.Table.from_batches(parts), "message")
    assert len(pc.unique(field(messages, "message_id"))) == len(messages)


# Who they are


@pytest.mark.parametrize("users", [20_000, 200_000])
def test_users_have_tens_of_neighbours_within_1_km(users: int):
    people = make_people(users, 1)
    chosen = np.random.default_rng(0).choice(users, 60, replace=False)
    north = 111.195 * (people.lat[chosen, None] - people.lat)
    east = (
        111.195
        * np.cos(np.radians(people.lat[chosen, None]))
        * (people.lon[chosen, None] - people.lon)
    )
    neighbours = (np.hypot(north, east) <= 1).sum(axis=1) - 1
    assert 70 < neighbours.mean() < 130


def test_users_stay_around_home_but_for_trips_of_days_or_weeks():
    people, rng = make_people(5_000, 1), np.random.default_rng(0)
    who, midnight_s = np.arange(5_000), (DAY - date(1970, 1, 1)).days * 86_400
    days = [
        people.positions(who, np.full(5_000, midnight_s + day * 86_400), rng) for day in range(28)
    ]
    off_km = np.array([111.195 * np.hypot(lat - people.lat, lon - people.lon) for lat, lon in days])
    away = off_km > 50
    assert 0.02 < away.mean() < 0.10  # of all days
    assert 0.10 < away.any(axis=0).mean() < 0.40  # have a trip among the 28 days
    assert 0.05 < np.median(off_km) < 0.3
    assert away.sum(axis=0).max() >= 14
    assert 4 < away.sum(axis=0)[away.any(axis=0)].mean() < 14


# The command


def sample(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    env = {"PROMO_HOME": str(root / "home"), "PROMO_LAKE_ROOT": str(root / "lake")}
    return run(env, "lake", "sample", *arguments)


@pytest.fixture
def sample_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The same in this process, which is quicker; returns the exit status."""
    monkeypatch.setenv("PROMO_LAKE_ROOT", str(tmp_path / "lake"))

    def call(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["promo-assets", "lake", "sample", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code

    return call


def folder(root: Path) -> Path:
    return root / "lake" / RAW_EVENTS.path.strip("/")


def contents(root: Path) -> dict[str, bytes]:
    table = folder(root).parent
    return {
        str(path.relative_to(table)): path.read_bytes()
        for path in sorted(table.rglob("*"))
        if path.is_file()
    }


SMALL = ("--events-per-day", "3000", "--users", "100")


def test_the_command_writes_days_that_are_the_same_again_and_alone(
    tmp_path: Path, sample_here: Callable[..., int]
):
    done = sample(tmp_path, "--days", "3", "--last-day", "2022-05-04", *SMALL)
    assert done.returncode == 0, done.stderr
    told = done.stdout.decode().splitlines()
    assert told[0].startswith("wrote 3 days (2022-05-02 to 2022-05-04), 9,000 events, 0.")
    assert told[0].endswith(f" MB to {folder(tmp_path)}")
    assert told[1:] == ["load them with: .venv/bin/dg launch --job initial_load"]
    first = contents(tmp_path)
    assert list(first) == [f"events/date=2022-05-0{day}/lake-sample.parquet" for day in (2, 3, 4)]
    table = pq.read_table(
        folder(tmp_path) / "date=2022-05-03" / "lake-sample.parquet", partitioning=None
    )
    assert table.equals(sample_day(Sample(3_000, 100, 2_000, 1), date(2022, 5, 3)).combine_chunks())

    assert sample_here("--days", "1", "--last-day", "2022-05-03", *SMALL) == 0
    assert contents(tmp_path) == first
    assert sample_here("--days", "1", "--last-day", "2022-05-03", *SMALL, "--seed", "2") == 0
    changed = contents(tmp_path)
    assert [name for name in first if changed[name] != first[name]] == [
        "events/date=2022-05-03/lake-sample.parquet"
    ]


def test_without_a_last_day_it_is_yesterday(tmp_path: Path, sample_here: Callable[..., int]):
    before = datetime.now(UTC).date()
    assert sample_here("--days", "1", *SMALL) == 0
    days = {before - timedelta(days=1), datetime.now(UTC).date() - timedelta(days=1)}
    assert next(folder(tmp_path).iterdir()).name in {f"date={day}" for day in days}


@pytest.mark.parametrize("name", ["part-00000.parquet", "_SUCCESS", ".part-0.crc"])
def test_a_day_that_others_wrote_is_named_and_nothing_is_written(
    name: str, tmp_path: Path, sample_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
):
    foreign = folder(tmp_path) / "date=2022-05-03" / name
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"theirs")
    assert sample_here("--days", "3", "--last-day", "2022-05-04", *SMALL) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith(f"promo-assets: {foreign.parent} holds {name}, which `lake sample`")
    assert contents(tmp_path) == {f"events/date=2022-05-03/{name}": b"theirs"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--days", "0"], "'--days': "),
        (["--days", "many"], "'--days': "),
        (["--days", "99999999999"], "'--days': "),
        (["--events-per-day", "-5"], "'--events-per-day': "),
        (["--events-per-day", "1000000000000"], "'--events-per-day': "),
        (["--users", "0"], "'--users': "),
        (["--channels", "-1"], "'--channels': "),
        (["--seed", "-1"], "'--seed': "),
        (["--last-day", "yesterday"], "--last-day yesterday: not a day such as 2026-01-31"),
        (["--last-day", "2022-02-30"], "--last-day 2022-02-30: not a day such as 2026-01-31"),
        (["--last-day", "0001-01-03", "--days", "4"], "--days 4: the calendar begins with year 1"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    sample_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
):
    assert sample_here(*arguments) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("promo-assets: ") and told in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_sample_that_does_not_fit_is_told_before_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PROMO_LAKE_ROOT", str(tmp_path))
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2e9))
    with pytest.raises(
        UserError, match=r"The sample needs about 3,000 MB, and .* has 2,000 MB free"
    ):
        lake.write_sample(Sample(events_per_day=100_000_000), 1, "2022-05-04")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, INTERRUPTED), (signal.SIGKILL, -9)],
    ids=str,
)
def test_whatever_ends_it_no_day_is_half_there(number: signal.Signals, status: int, tmp_path: Path):
    env = {"PROMO_HOME": str(tmp_path / "home"), "PROMO_LAKE_ROOT": str(tmp_path / "lake")}
    with started(
        env, "lake", "sample", "--days", "500", "--events-per-day", "250000", "--users", "100"
    ) as process:
        while not (folder(tmp_path).exists() and any(folder(tmp_path).iterdir())):
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(20) == status
        told = process.stderr.read().decode() if process.stderr else ""
        assert process.stdout and process.stdout.read() == b""
    days = list(folder(tmp_path).iterdir())
    assert days and all(pq.read_metadata(day / lake.FILE).num_rows == 250_000 for day in days)
    left = [path for path in folder(tmp_path).parent.iterdir() if path.name != "events"]
    assert all(path.name.startswith("_") for path in left)
    if number != signal.SIGKILL:
        assert f"stopped: {len(days)} of 500 days written, the others are as they were" in told
        assert left == []
    else:
        assert sample(tmp_path, "--days", "1", *SMALL).returncode == 0
        assert [path.name for path in folder(tmp_path).parent.iterdir()] == ["events"]


def test_two_at_once_do_not_take_away_each_others_work(tmp_path: Path):
    days = raw_days._LocalDays(tmp_path)
    with days.scratch() as first, days.scratch() as second:
        assert first.exists() and second.exists()
    assert not first.exists() and not second.exists()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/a b/c", "/a b/c"),
        ("file:///a/b", "/a/b"),
        ("file:/a/b", "/a/b"),
        ("hdfs://namenode:8020", None),
        ("s3a://bucket/x", None),
    ],
)
def test_a_local_root_is_told_from_another(uri: str, path: str | None):
    assert raw_days.local_folder(uri) == (Path(path) if path else None)
