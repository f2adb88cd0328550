"""The stream as Dagster sees it: its topics and tables as assets, and the job that runs it.

This module says what each asset is. What a run reports is in `reporting.py`, what the stream does
in `pipeline/query.py`, and when a run is started in `sensor.py`.
"""

import dagster as dg
import psycopg
from dagster_pyspark import LazyPySparkResource
from psycopg.rows import dict_row

from promo_assets.settings import Settings
from promo_assets.stream.defs import columns
from promo_assets.stream.defs.reporting import StreamReporter
from promo_assets.stream.errors import LedgerError, StreamError, first_line
from promo_assets.stream.ledger.schema import LEDGER_VERSION, apply_ddl, ledger_version
from promo_assets.stream.pipeline.run import StreamRun

GROUP = "promo_stream"
OWNERS = ["team:data-engineering"]
POLL_S = 0.5

_COUNT_SUBSCRIPTIONS = """
SELECT sum(pairs)::int8 AS rows, count(*) AS subscriptions,
       count(DISTINCT client_id) AS clients, count(DISTINCT restaurant_id) AS restaurants
FROM (
    SELECT client_id, restaurant_id, count(*) AS pairs
    FROM subscribers_restaurants
    GROUP BY client_id, restaurant_id) AS subscription
"""

promo_campaigns = dg.AssetSpec(
    "promo_campaigns",
    description="**Input topic.** A message is one time-limited promo campaign of a restaurant, as "
    "JSON. Other systems send it.",
    group_name=GROUP,
    kinds={"kafka", "json"},
    owners=OWNERS,
    metadata=columns.CAMPAIGN,
)


@dg.asset(group_name=GROUP, kinds={"postgres"}, owners=OWNERS, metadata=columns.SUBSCRIBER)
def subscribers_restaurants(settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    """**Table.** A row is a favourite restaurant of a client. A repeated pair counts once.

    The mobile backend writes this table at any time. Materializing the asset creates the stream's
    tables that are missing, does not change existing ones, and counts the rows.
    """
    try:
        with (
            psycopg.connect(settings.database_url) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            if ledger_version(connection) < LEDGER_VERSION:
                apply_ddl(settings.database_url)
            counts = cursor.execute(_COUNT_SUBSCRIPTIONS).fetchone()
    except (psycopg.Error, LedgerError) as error:
        raise dg.Failure(
            f"Cannot create or read the stream's tables in Postgres: {first_line(error)}"
        ) from None
    assert counts, "an aggregate returns one row"
    rows = counts.pop("rows") or 0
    return dg.MaterializeResult(metadata={"dagster/row_count": rows, **counts})


promo_notifications = dg.AssetSpec(
    "promo_notifications",
    deps=[promo_campaigns, subscribers_restaurants],
    description="**Output topic.** A message is one campaign for one client, as JSON. Its key is "
    "the client. The push service reads it with `read_committed`. The header `notification_id` is "
    "always the same for the same campaign and client.",
    group_name=GROUP,
    kinds={"kafka", "json", "spark"},
    owners=OWNERS,
    metadata=columns.NOTIFICATION,
)

subscribers_feedback = dg.AssetSpec(
    "subscribers_feedback",
    deps=[promo_campaigns, subscribers_restaurants],
    description="**Table.** A row is one campaign for one client. It is committed before the "
    "notification is published. Other services write the client's feedback later.",
    group_name=GROUP,
    kinds={"postgres", "spark"},
    owners=OWNERS,
    metadata=columns.FEEDBACK,
)

promo_dead_letters = dg.AssetSpec(
    "promo_dead_letters",
    deps=[promo_campaigns],
    description="**Dead-letter topic.** A message is a rejected input message with its key and "
    "value unchanged. The columns below the value are headers. `promo-assets dead-letters` lists "
    "the messages and sends them again.",
    group_name=GROUP,
    kinds={"kafka"},
    owners=OWNERS,
    metadata=columns.DEAD_LETTER,
)

STREAM_ASSETS = [
    promo_campaigns,
    subscribers_restaurants,
    subscribers_feedback,
    promo_notifications,
    promo_dead_letters,
]


@dg.op
def run_promo_stream(
    context: dg.OpExecutionContext,
    settings: dg.ResourceParam[Settings],
    pyspark: LazyPySparkResource,
) -> None:
    """Runs the stream until the run is terminated.

    Its metrics are on the pages of `promo_notifications` and `subscribers_feedback`.
    """
    stream_run = StreamRun(settings, lambda: pyspark.spark_session, f"dagster run {context.run_id}")
    reporter = StreamReporter(context, stream_run)
    # The session and the query live in the thread of the StreamRun: Dagster terminates a run by a
    # signal, and only the main thread receives it.
    stream_run.start()
    try:
        while not stream_run.ended.wait(POLL_S):
            reporter.report_if_due()
    finally:
        stream_run.finish()
        reporter.report_end()
    if isinstance(stream_run.error, StreamError):
        raise dg.Failure(str(stream_run.error)) from None
    if stream_run.error:
        raise dg.Failure(f"The stream failed: {first_line(stream_run.error)}") from stream_run.error
    raise dg.Failure("The stream stopped unexpectedly")


# The priority puts it before queued runs of the lake, which may be many. Of the subsystem's runs,
# deploy/dagster.yaml lets one run at a time.
@dg.job(tags={"dagster/priority": "10", "promo_assets/subsystem": "stream"})
def promo_stream() -> None:
    """Turns campaigns into notifications until the run is terminated.

    The sensor `promo_stream_sensor` keeps one run alive. To stop the stream for good, turn the
    sensor off first, then terminate the run.
    """
    run_promo_stream()
