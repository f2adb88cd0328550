"""`ledger clean`, and the connection to the ledger that other commands need."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from promo_assets.commands import console
from promo_assets.commands.console import CommandError, count_of, spinner
from promo_assets.settings import Settings, load_settings
from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.ledger import check_ledger
from promo_assets.stream.ledger.retention import DAY_S, Cleaned, clean_ledger, count_cleanable


@contextlib.contextmanager
def open_ledger(settings: Settings) -> Iterator[psycopg.Connection]:
    """A connection to a ledger that this release can work with; raises `CommandError`, `LedgerError`."""
    with told_in_one_line(settings), connect(settings.database_url, "promo-assets") as connection:
        check_ledger(connection)
        yield connection


@contextlib.contextmanager
def told_in_one_line(settings: Settings) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        away = error.sqlstate is None or error.sqlstate.startswith(("08", "28", "3D", "57P"))
        hint = (
            ". Does it run? `promo-assets up` starts the local one"
            if away and settings.local_postgres
            else ""
        )
        raise CommandError(
            f"Postgres {'gave no connection' if away else 'refused'}: {first_line(error)}{hint}"
        ) from None


def first_line(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0]


def clean(older_than_days: int | None, dry_run: bool, as_json: bool) -> None:
    settings = load_settings()
    days = older_than_days or settings.retention_days
    now = int(time.time())
    with told_in_one_line(settings):
        if dry_run:
            tables = count_cleanable(settings.database_url, days, now)
        else:
            with spinner("cleaning the ledger"):
                tables = clean_ledger(settings.database_url, days, now)
    if as_json or not sys.stdout.isatty():
        for table in tables:
            print(json.dumps(table.__dict__))
    else:
        Console().print(_as_table(tables))
    rows = {table.table: table.rows for table in tables}
    over = f"{datetime.fromtimestamp(now - days * DAY_S, UTC):%Y-%m-%d %H:%M:%S} UTC"
    batches = f"{rows['batches']:,} batch{'' if rows['batches'] == 1 else 'es'}"
    texts = f"the texts of {count_of(rows['campaigns'], 'campaigns')}, {batches}, {count_of(rows['dispatches'], 'dispatches')}"
    console.info(f"{'would clean' if dry_run else 'cleaned'} what was over before {over}: {texts}")


def _as_table(tables: list[Cleaned]) -> Table:
    shown = Table(
        "table",
        "rows",
        "size before",
        "size after",
        caption="Freed room is used again: files shrink seldom.",
        caption_justify="left",
    )
    for each in tables:
        shown.add_row(
            each.table, f"{each.rows:,}", decimal(each.bytes_before), decimal(each.bytes_after)
        )
    return shown
