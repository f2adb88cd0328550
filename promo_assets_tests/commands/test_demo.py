"""`demo`: it prints what the sinks and the lake hold, and leaves no process."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psutil
import psycopg
import pyarrow.parquet as pq

from promo_assets_tests.support.command_line import env, run
from promo_assets_tests.support.daemons import QUICKLY

__all__ = ["env"]

MARTS = {
    "users": "users",
    "zones by week and month": "geo",
    "friends to recommend": "friend_recomendation",
}


def test_the_demo_prints_what_the_sinks_and_the_lake_hold_and_leaves_no_process(
    env: dict[str, str], tmp_path: Path
):
    own = {
        "PROMO_HOME": str(tmp_path),
        "PROMO_LAKE_ROOT": str(tmp_path / "lake"),
        "PROMO_CHECKPOINT_DIR": str(tmp_path / "checkpoint"),
    }
    before = datetime.now(UTC).date()
    done = run(env | own | QUICKLY, "demo", "--exit", timeout=500)
    output = done.stdout.decode()
    assert done.returncode == 0, output + done.stderr.decode()
    check_stream(output, env["PROMO_POSTGRES_URL"])
    check_lake(output, tmp_path / "lake" / "user", before)
    check_campaigns(output, tmp_path / "lake" / "user", env["PROMO_POSTGRES_URL"])
    left = [process for process in psutil.process_iter() if home_of(process) == str(tmp_path)]
    assert left == []


def check_stream(output: str, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        ((rows,),) = connection.execute(
            "SELECT count(*) FROM subscribers_feedback WHERE starts_with(adv_campaign_id, 'demo-')"
        ).fetchall()
    assert numbers_of(output, "all") == [11, rows, 11_880, 11_880]


def check_lake(output: str, user: Path, before: date) -> None:
    """before: the day on which the demo started; it may go on past midnight."""
    (yesterday,) = re.findall(r"The marts as of (\S+): http://127.0.0.1:", output)
    assert date.fromisoformat(yesterday) in (before - timedelta(days=1), before)
    read = numbers_of(output, "events read from RAW")
    assert read == [28, count_rows(user / "master/data/geo/events")] == [28, 140_000]
    events = user / "dosperados" / "data" / "dds"
    assert numbers_of(output, "events kept") == [28, count_rows(events / "events")]
    assert numbers_of(output, "events rejected") == [28, count_rows(events / "rejected_events")]
    for label, mart in MARTS.items():
        folder = user / "dosperados" / "marts" / mart
        rows = count_rows(folder)
        assert numbers_of(output, label) == [1, rows]
        assert count_rows(folder / f"date={yesterday}") == rows
        assert rows > 10


def check_campaigns(output: str, user: Path, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        ((campaigns, clients, answers),) = connection.execute(
            """SELECT count(DISTINCT adv_campaign_id), count(*), count(feedback)
                FROM subscribers_feedback WHERE starts_with(adv_campaign_id, 'demo-')"""
        ).fetchall()
    pattern = r" notified ([\d,]+) clients, ([\d,]+) answered: http"
    notified, answered = (int(text.replace(",", "")) for text in re.findall(pattern, output)[0])
    assert notified >= clients  # other tests may have sent campaigns on this day, too
    assert answered == answers
    assert 0.1 * clients < answers < 0.3 * clients
    assert count_rows(user / "dosperados" / "marts" / "campaign_results") >= campaigns


def numbers_of(output: str, label: str) -> list[int]:
    """Return the numbers of the printed table's line with this label."""
    (rest,) = re.findall(rf"^  {label}  (.*)$", output, re.MULTILINE)
    return [int(number.replace(",", "")) for number in re.findall(r"(?<!\S)[\d,]+(?!\S)", rest)]


def count_rows(folder: Path) -> int:
    return sum(pq.ParquetFile(file).read([]).num_rows for file in folder.rglob("*.parquet"))


def home_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("PROMO_HOME")
    except (psutil.Error, OSError):
        return None
