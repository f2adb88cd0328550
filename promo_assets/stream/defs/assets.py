"""The stream as Dagster sees it: its topics and tables as assets, and the op that hosts it.

What belongs here: what each asset is. What does not: what a run shows of what the stream does (`reporting.py`), what the stream
does (`query.py`), and when a run is started (`sensor.py`).
"""

import dagster as dg
import psycopg
from dagster_pyspark import LazyPySparkResource
from psycopg.rows import dict_row

from promo_assets.settings import Settings
from promo_assets.stream.defs.reporting import StreamReporter
from promo_assets.stream.errors import LedgerError, StreamError, first_line
from promo_assets.stream.ledger.ledger import LEDGER_VERSION, apply_ddl, ledger_version
from promo_assets.stream.pipeline.run import StreamRun

GROUP = "promo_stream"
OWNERS = ["team:data-engineering"]
POLL_S = 0.5

_CAMPAIGN_TEXTS = {
    "restaurant_id": "whose campaign it is",
    "adv_campaign_id": "the campaign, within its restaurant",
    "adv_campaign_content": "what the client is told",
    "adv_campaign_owner": "who answers for the campaign",
    "adv_campaign_owner_contact": "how to reach the owner",
}
_CAMPAIGN_TIMES = {
    "adv_campaign_datetime_start": "active from here on, unix seconds UTC",
    "adv_campaign_datetime_end": "no longer active from here on, unix seconds UTC",
    "datetime_created": "when the campaign was made, unix seconds UTC",
}


def _schema(*columns: dg.TableColumn) -> dict[str, dg.TableSchema]:
    return {"dagster/column_schema": dg.TableSchema(list(columns))}


def _column(name: str, type_: str, description: str, nullable: bool = False) -> dg.TableColumn:
    return dg.TableColumn(
        name, type_, description, constraints=dg.TableColumnConstraints(nullable=nullable)
    )


def _campaign(text: str, time_: str) -> list[dg.TableColumn]:
    """A campaign's eight columns, by the names that texts and times go by there."""
    return [_column(n, text, d) for n, d in _CAMPAIGN_TEXTS.items()] + [
        _column(n, time_, d) for n, d in _CAMPAIGN_TIMES.items()
    ]


promo_campaigns = dg.AssetSpec(
    "promo_campaigns",
    description="**Input topic.** A message is one time-limited promo campaign of a restaurant, as JSON. Others send it.",
    group_name=GROUP,
    kinds={"kafka", "json"},
    owners=OWNERS,
    metadata=_schema(*_campaign("string", "long")),
)


@dg.asset(group_name=GROUP, kinds={"postgres"}, owners=OWNERS, metadata=_schema(
    _column("id", "serial4", "key"),
    _column("client_id", "varchar", "the client"),
    _column("restaurant_id", "varchar", "the client's favourite restaurant"),
))  # fmt: skip
def subscribers_restaurants(settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    """**Table.** A row is a client's favourite restaurant; the mobile backend writes it at any time, a repeated pair counts once.

    Materializing makes the stream's tables where they are missing, changes none that is there, and counts.
    """
    try:
        with (
            psycopg.connect(settings.database_url) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            if ledger_version(connection) < LEDGER_VERSION:
                apply_ddl(settings.database_url)
            counts = cursor.execute(
                """SELECT sum(pairs)::int8 AS rows, count(*) AS subscriptions, count(DISTINCT client_id) AS clients,
                    count(DISTINCT restaurant_id) AS restaurants
                FROM (SELECT client_id, restaurant_id, count(*) AS pairs FROM subscribers_restaurants GROUP BY 1, 2) AS subscription"""
            ).fetchone()
    except (psycopg.Error, LedgerError) as error:
        raise dg.Failure(f"the tables are not to be had in Postgres: {first_line(error)}") from None
    assert counts, "an aggregate has one row"
    rows = counts.pop("rows") or 0
    return dg.MaterializeResult(metadata={"dagster/row_count": rows, **counts})


promo_notifications = dg.AssetSpec(
    "promo_notifications",
    deps=[promo_campaigns, subscribers_restaurants],
    description="**Output topic.** A message is one campaign for one client, as JSON with the client as key: the push service reads it, "
    "with `read_committed`. Header `notification_id`: the same for the same pair, always.",
    group_name=GROUP,
    kinds={"kafka", "json", "spark"},
    owners=OWNERS,
    metadata=_schema(
        *_campaign("string", "long"),
        _column("client_id", "string", "whom it is for"),
        _column(
            "trigger_datetime_created",
            "long",
            "when its micro-batch was triggered, unix seconds UTC",
        ),
    ),
)

subscribers_feedback = dg.AssetSpec(
    "subscribers_feedback",
    deps=[promo_campaigns, subscribers_restaurants],
    description="**Table.** A row is one campaign for one client, committed before the same pair is published; "
    "other services fill in the client's feedback later.",
    group_name=GROUP,
    kinds={"postgres", "spark"},
    owners=OWNERS,
    metadata=_schema(
        _column("id", "serial4", "key"),
        *_campaign("text", "int8"),
        _column("client_id", "text", "whom it is for"),
        _column(
            "trigger_datetime_created",
            "int4",
            "when its micro-batch was triggered, unix seconds UTC",
        ),
        _column(
            "feedback",
            "varchar",
            "what the client answered; the stream leaves it empty",
            nullable=True,
        ),
    ),
)

promo_dead_letters = dg.AssetSpec(
    "promo_dead_letters",
    deps=[promo_campaigns],
    description="**Dead-letter topic.** A message is a rejected input message, its key and value untouched; `promo-assets dead-letters` "
    "lists them and sends them again. The columns below the value are headers.",
    group_name=GROUP,
    kinds={"kafka"},
    owners=OWNERS,
    metadata=_schema(
        _column("key", "bytes", "as it came", nullable=True),
        _column("value", "bytes", "as it came", nullable=True),
        _column("reason", "string", "why it is no campaign, in words"),
        _column("source_topic", "string", "the topic it came by"),
        _column("source_partition", "int", "its partition there"),
        _column("source_offset", "long", "its offset there"),
    ),
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
    """Runs the stream until it is terminated; its metrics show on the pages of the output topic and of the feedback table."""
    stream_run = StreamRun(settings, lambda: pyspark.spark_session, f"dagster run {context.run_id}")
    reporter = StreamReporter(context, stream_run)
    # The session and the query live in the host's thread: the main thread must stay free for the signal that a termination is.
    stream_run.start()
    try:
        while not stream_run.ended.wait(POLL_S):
            reporter.show_when_due()
    finally:
        stream_run.finish()
        reporter.show_last()
    if isinstance(stream_run.error, StreamError):
        raise dg.Failure(str(stream_run.error)) from None
    if stream_run.error:
        raise dg.Failure(f"the stream failed: {first_line(stream_run.error)}") from stream_run.error
    raise dg.Failure("the stream ended, and nobody asked it to")


# Past waiting lake runs, which may be many; of this half, deploy/dagster.yaml lets one run at a time.
@dg.job(tags={"dagster/priority": "10", "promo_assets/subsystem": "stream"})
def promo_stream() -> None:
    """Campaigns in, notifications out, until terminated. The sensor keeps one run alive: to stop for good, turn the sensor off first."""
    run_promo_stream()
