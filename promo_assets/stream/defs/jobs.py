"""The job that cleans the ledger every night."""

import time

import dagster as dg
import psycopg
from pydantic import Field

from promo_assets.settings import Settings
from promo_assets.stream.errors import LedgerError, first_line
from promo_assets.stream.ledger.retention import clean_ledger


class RetentionConfig(dg.Config):
    older_than_days: int | None = Field(
        None, ge=1, description="Overrides PROMO_RETENTION_DAYS for this run."
    )


@dg.op
def clean_promo_ledger(
    context: dg.OpExecutionContext, config: RetentionConfig, settings: dg.ResourceParam[Settings]
) -> None:
    """Removes the texts of campaigns that ended long ago, and old batches and dispatches.

    Repeated messages of these campaigns are still recognized.
    """
    days = config.older_than_days or settings.retention_days
    try:
        tables = clean_ledger(settings.database_url, days, int(time.time()))
    except (psycopg.Error, LedgerError) as error:
        raise dg.Failure(f"Cannot clean the ledger: {first_line(error)}") from None
    context.add_output_metadata(
        {table.table: dg.JsonMetadataValue(table.__dict__) for table in tables}
    )


@dg.job
def promo_retention() -> None:
    """Does what `promo-assets ledger clean` does, with or without a running stream."""
    clean_promo_ledger()


# It is on by default: a ledger that grows and keeps people's names forever would be a greater
# surprise than one that is cleaned.
promo_retention_schedule = dg.ScheduleDefinition(
    job=promo_retention,
    cron_schedule="30 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 04:30 UTC. PROMO_RETENTION_DAYS sets the age of what is cleaned.",
)
