"""The ledger's own job: what has had its time is cleaned, every night."""

import time

import dagster as dg
import psycopg
from pydantic import Field

from promo_assets.settings import Settings
from promo_assets.stream.errors import LedgerError, first_line
from promo_assets.stream.ledger.retention import clean_ledger


class RetentionConfig(dg.Config):
    older_than_days: int | None = Field(
        None, ge=1, description="Instead of PROMO_RETENTION_DAYS, for this run."
    )


@dg.op
def clean_promo_ledger(
    context: dg.OpExecutionContext, config: RetentionConfig, settings: dg.ResourceParam[Settings]
) -> None:
    """Takes the texts of campaigns that ended long ago, old batches and dispatches out of the ledger; repeats are still known."""
    days = config.older_than_days or settings.retention_days
    try:
        tables = clean_ledger(settings.database_url, days, int(time.time()))
    except (psycopg.Error, LedgerError) as error:
        raise dg.Failure(f"the ledger could not be cleaned: {first_line(error)}") from None
    context.add_output_metadata(
        {table.table: dg.JsonMetadataValue(table.__dict__) for table in tables}
    )


@dg.job
def promo_retention() -> None:
    """What `promo-assets ledger clean` does: beside the running stream, or without it."""
    clean_promo_ledger()


# On unless it is turned off: a ledger that grows and keeps people's names for ever would surprise more than one that is cleaned.
promo_retention_schedule = dg.ScheduleDefinition(
    job=promo_retention,
    cron_schedule="30 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night; how old is PROMO_RETENTION_DAYS.",
)
