"""`lake sample`: the command that writes made-up RAW days into a lake."""

import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from promo_assets import cli
from promo_assets.commands import lake_sample as lake
from promo_assets.commands import raw_days
from promo_assets.commands.console import INTERRUPTED, UserError
from promo_assets.lake.tables import RAW_EVENTS
from promo_assets.local.sample.days import Sample, sample_day
from promo_assets_tests.support.command_line import run, started

DAY = date(2022, 5, 4)
SAMPLE = Sample(events_per_day=50_000, users=2_000, channels=200)


def sample(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    env = {"PROMO_HOME": str(root / "home"), "PROMO_LAKE_ROOT": str(root / "lake")}
    return run(env, "lake", "sample", *arguments)


@pytest.fixture
def sample_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """A function that runs the command in this process, which is faster, and returns its status."""
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


def test_the_command_writes_the_same_days_again_together_and_one_by_one(
    tmp_path: Path, sample_here: Callable[..., int]
):
    done = sample(tmp_path, "--days", "3", "--last-day", "2022-05-04", *SMALL)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert all(
        each in lines[0]
        for each in ("3 days", "2022-05-02", "2022-05-04", "9,000 events", "0.", " MB")
    )
    assert lines[0].endswith(f" {folder(tmp_path)}")
    assert len(lines) == 2 and "initial_load" in lines[1]
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


def test_the_last_day_is_yesterday_by_default(tmp_path: Path, sample_here: Callable[..., int]):
    before = datetime.now(UTC).date()
    assert sample_here("--days", "1", *SMALL) == 0
    days = {before - timedelta(days=1), datetime.now(UTC).date() - timedelta(days=1)}
    assert next(folder(tmp_path).iterdir()).name in {f"date={day}" for day in days}


@pytest.mark.parametrize("name", ["part-00000.parquet", "_SUCCESS", ".part-0.crc"])
def test_a_day_with_files_of_others_is_named_and_nothing_is_written(
    name: str, tmp_path: Path, sample_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
):
    foreign = folder(tmp_path) / "date=2022-05-03" / name
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"theirs")
    assert sample_here("--days", "3", "--last-day", "2022-05-04", *SMALL) == 2
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert output.err.startswith("promo-assets: ")
    assert str(foreign.parent) in output.err and name in output.err
    assert contents(tmp_path) == {f"events/date=2022-05-03/{name}": b"theirs"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--days", "0"], "'--days': "),
        (["--days", "many"], "'--days': "),
        (["--days", "99999999999"], "'--days': "),
        (["--events-per-day", "-5"], "'--events-per-day': "),
        (["--events-per-day", "1000000000000"], "'--events-per-day': "),
        (["--users", "0"], "'--users': "),
        (["--channels", "-1"], "'--channels': "),
        (["--seed", "-1"], "'--seed': "),
        (["--last-day", "yesterday"], "--last-day yesterday"),
        (["--last-day", "2022-02-30"], "--last-day 2022-02-30"),
        (["--last-day", "0001-01-03", "--days", "4"], "--days 4"),
    ],
)
def test_a_mistake_is_reported_in_one_line_and_nothing_is_written(
    arguments: list[str],
    named: str,
    tmp_path: Path,
    sample_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
):
    assert sample_here(*arguments) == 2
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert output.err.startswith("promo-assets: ") and named in output.err
    assert list(tmp_path.iterdir()) == []


def test_a_sample_that_does_not_fit_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PROMO_LAKE_ROOT", str(tmp_path))
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2e9))
    with pytest.raises(UserError, match=r"3,000 MB.* 2,000 MB"):
        lake.write_sample(Sample(events_per_day=100_000_000), 1, "2022-05-04")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, INTERRUPTED), (signal.SIGKILL, -9)],
    ids=str,
)
def test_no_day_is_partly_written_whatever_ends_the_command(
    number: signal.Signals, status: int, tmp_path: Path
):
    env = {"PROMO_HOME": str(tmp_path / "home"), "PROMO_LAKE_ROOT": str(tmp_path / "lake")}
    with started(
        env, "lake", "sample", "--days", "500", "--events-per-day", "250000", "--users", "100"
    ) as process:
        while not (folder(tmp_path).exists() and any(folder(tmp_path).iterdir())):
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(20) == status
        message = process.stderr.read().decode() if process.stderr else ""
        assert process.stdout and process.stdout.read() == b""
    days = list(folder(tmp_path).iterdir())
    assert days and all(pq.read_metadata(day / lake.FILE).num_rows == 250_000 for day in days)
    left = [path for path in folder(tmp_path).parent.iterdir() if path.name != "events"]
    assert all(path.name.startswith("_") for path in left)
    if number != signal.SIGKILL:
        assert f"{len(days)} of 500 days" in message
        assert left == []
    else:
        assert sample(tmp_path, "--days", "1", *SMALL).returncode == 0
        assert [path.name for path in folder(tmp_path).parent.iterdir()] == ["events"]


def test_two_commands_at_once_do_not_delete_each_others_scratch_folders(tmp_path: Path):
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
def test_a_local_root_is_distinguished_from_others(uri: str, path: str | None):
    assert raw_days.local_folder(uri) == (Path(path) if path else None)
