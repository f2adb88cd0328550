"""The demo's last part: clients answer their notifications, and the lake tells what came of the campaigns."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg

from promo_assets.commands.console import CommandError, count_of, spinner
from promo_assets.commands.dagster_dev import DagsterDev
from promo_assets.commands.demo.results import Position
from promo_assets.commands.demo.runs import Runs, Wait
from promo_assets.commands.kafka import end_offsets
from promo_assets.commands.push import PushService
from promo_assets.settings import Settings

FEEDBACK_SHARE = 0.2
MART = "mart/campaign_results"
_DAY = "SELECT max(trigger_datetime_created) FROM subscribers_feedback WHERE starts_with(adv_campaign_id, %s)"
_OF_DAY = """SELECT count(DISTINCT (restaurant_id, adv_campaign_id, datetime_created)), count(*), count(feedback) FROM subscribers_feedback
    WHERE trigger_datetime_created >= %s AND trigger_datetime_created < %s"""


def show_campaigns(
    settings: Settings,
    dagster: DagsterDev,
    wait: Wait,
    go_on: Callable[[], None],
    stop: threading.Event,
    run: str,
    out: Position,
) -> None:
    """Prints what came of the campaigns of the demo's day; raises `CommandError` where the mart has fewer than Postgres.

    `wait` and `go_on` raise what ends the demo when the user has seen enough. What lay in the output topic before the demo, and the
    place of the user's own `promo-assets push` in it, stay as they are: the demo reads from `out` on, in a group of its own.
    """
    with spinner(
        "a stand-in for the push service reads the notifications, and some clients answer"
    ) as tell:
        push = PushService(
            settings,
            out.topic,
            None,
            FEEDBACK_SHARE,
            f"promo-assets-push-{run}",
            out.offsets,
            campaigns=run,
        )
        push.run(stop, end_offsets(settings, out.topic))
        go_on()
        day, campaigns, clients, answers = _in_postgres(settings, run)
        tell(f"the job campaign_results tells what came of the campaigns of {day}")
        runs = Runs(dagster, wait)
        runs.run("campaign_results", day)
    if (
        shown := runs.rows(MART, [day])[day]
    ) < campaigns:  # more have come since where others send, too
        raise CommandError(
            f"not as promised: {MART} has {count_of(shown, 'campaigns')} of {day}, Postgres {campaigns:,}. See {dagster.log}"
        )
    notified = (
        f"{count_of(campaigns, 'campaigns')} of {day} notified {count_of(clients, 'clients')}"
    )
    print(f"{notified}, {answers:,} answered: {dagster.url}/assets/{MART}", flush=True)


def _in_postgres(settings: Settings, run: str) -> tuple:
    """The day on which the demo's campaigns notified, and of all campaigns of that day: how many, whom they notified, who answered."""
    with psycopg.connect(settings.database_url) as connection:
        row = connection.execute(_DAY, (run,)).fetchone()
        assert row, "an aggregate has one row"
        day = datetime.fromtimestamp(row[0], UTC).replace(hour=0, minute=0, second=0)
        counted = connection.execute(
            _OF_DAY, (int(day.timestamp()), int(day.timestamp()) + 86_400)
        ).fetchone()
    return day.date(), *(counted or ())
