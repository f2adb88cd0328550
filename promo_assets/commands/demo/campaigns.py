"""The demo's last part: clients answer, and the lake counts what the campaigns led to."""

from datetime import UTC, date, datetime
from typing import NamedTuple

import psycopg

from promo_assets.commands.console import CommandError, count_of, spinner
from promo_assets.commands.demo.results import Position
from promo_assets.commands.demo.runs import Runs
from promo_assets.commands.demo.session import DemoSession
from promo_assets.commands.kafka_client import end_offsets
from promo_assets.commands.push import PushService
from promo_assets.settings import Settings

FEEDBACK_SHARE = 0.2
MART = "mart/campaign_results"
_LAST_TRIGGER = """SELECT max(trigger_datetime_created) FROM subscribers_feedback
    WHERE starts_with(adv_campaign_id, %s)"""
_DAY_COUNTS = """SELECT count(DISTINCT (restaurant_id, adv_campaign_id, datetime_created)),
        count(*), count(feedback)
    FROM subscribers_feedback
    WHERE trigger_datetime_created >= %s AND trigger_datetime_created < %s"""
DAY_S = 86_400


class DayCounts(NamedTuple):
    """All campaigns of a day in Postgres: how many, and the clients notified and answering."""

    day: date
    campaigns: int
    clients: int
    answers: int


def show_campaigns(session: DemoSession, output: Position) -> None:
    """Print what the campaigns of the demo's day led to.

    Raises `CommandError` if the mart has fewer of them than Postgres. The demo reads the output
    topic from `output` on, in a consumer group of its own: older notifications get no answer from
    it, and the offsets of the user's own `promo-assets push` stay as they are.
    """
    settings, dagster = session.settings, session.dagster
    message = "a stand-in for the push service reads the notifications, and some clients answer"
    with spinner(message) as show_step:
        push = PushService(
            settings,
            output.topic,
            rate=None,
            feedback_share=FEEDBACK_SHARE,
            group=f"promo-assets-push-{session.name}",
            start=output.offsets,
            campaigns=session.name,
        )
        push.run(session.stop, end_offsets(settings, output.topic))
        session.check_stopped()
        counts = _count_day(settings, session.name)
        show_step(f"the job campaign_results counts what the campaigns of {counts.day} led to")
        runs = Runs(session)
        runs.run("campaign_results", counts.day)
    rows = runs.count_rows(MART, [counts.day])[counts.day]
    # The mart may have more where others send campaigns, too.
    if rows < counts.campaigns:
        raise CommandError(
            f"Not as promised: {MART} has {count_of(rows, 'campaigns')} of {counts.day}, "
            f"Postgres {counts.campaigns:,}. See {dagster.log}"
        )
    campaigns = count_of(counts.campaigns, "campaigns")
    clients = count_of(counts.clients, "clients")
    notified = f"{campaigns} of {counts.day} notified {clients}, {counts.answers:,} answered"
    print(f"{notified}: {dagster.url}/assets/{MART}", flush=True)


def _count_day(settings: Settings, demo_name: str) -> DayCounts:
    """Count the day (UTC) on which the demo's campaigns notified last."""
    with psycopg.connect(settings.database_url) as connection:
        row = connection.execute(_LAST_TRIGGER, (demo_name,)).fetchone()
        assert row, "an aggregate has one row"
        start = int(row[0]) // DAY_S * DAY_S
        counts = connection.execute(_DAY_COUNTS, (start, start + DAY_S)).fetchone()
        assert counts, "an aggregate has one row"
    return DayCounts(datetime.fromtimestamp(start, UTC).date(), *counts)
