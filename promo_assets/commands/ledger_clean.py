"""`ledger clean`: delete from the ledger what ended long ago."""

import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from promo_assets.commands import console
from promo_assets.commands.console import count_of, spinner
from promo_assets.commands.postgres_client import postgres_errors
from promo_assets.settings import load_settings
from promo_assets.stream.ledger.retention import DAY_S, CleanedTable, clean_ledger, count_cleanable


def run_ledger_clean(older_than_days: int | None, dry_run: bool, as_json: bool) -> None:
    settings = load_settings()
    days = older_than_days or settings.retention_days
    now = int(time.time())
    with postgres_errors(settings):
        if dry_run:
            tables = count_cleanable(settings.database_url, days, now)
        else:
            with spinner("cleaning the ledger"):
                tables = clean_ledger(settings.database_url, days, now)
    if as_json or not sys.stdout.isatty():
        for table in tables:
            print(json.dumps(asdict(table)))
    else:
        Console().print(_as_table(tables))
    verb = "would clean" if dry_run else "cleaned"
    limit = f"{datetime.fromtimestamp(now - days * DAY_S, UTC):%Y-%m-%d %H:%M:%S} UTC"
    console.info(f"{verb} what ended before {limit}: {_describe_rows(tables)}")


def _describe_rows(tables: list[CleanedTable]) -> str:
    rows = {table.table: table.rows for table in tables}
    batches = f"{rows['batches']:,} {'batch' if rows['batches'] == 1 else 'batches'}"
    campaigns = count_of(rows["campaigns"], "campaigns")
    return f"the texts of {campaigns}, {batches}, {count_of(rows['dispatches'], 'dispatches')}"


def _as_table(tables: list[CleanedTable]) -> Table:
    caption = "Freed space is used again: the files rarely shrink."
    names = ("table", "rows", "size before", "size after")
    shown = Table(*names, caption=caption, caption_justify="left")
    for table in tables:
        sizes = decimal(table.bytes_before), decimal(table.bytes_after)
        shown.add_row(table.table, f"{table.rows:,}", *sizes)
    return shown
