"""What several commands need from Postgres: its errors in one line, and a checked ledger."""

import contextlib
from collections.abc import Iterator

import psycopg

from promo_assets.commands.console import CommandError
from promo_assets.settings import Settings
from promo_assets.stream.errors import first_line
from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.schema import check_ledger

# SQLSTATE classes: connection exception, invalid authorization, no such database, shutting down.
_NO_CONNECTION = ("08", "28", "3D", "57P")


@contextlib.contextmanager
def open_ledger(settings: Settings) -> Iterator[psycopg.Connection]:
    """Connect to a ledger that this release can use; raises `CommandError` or `LedgerError`."""
    with (
        postgres_errors(settings),
        connect(settings.database_url, "promo-assets") as connection,
    ):
        check_ledger(connection)
        yield connection


@contextlib.contextmanager
def postgres_errors(settings: Settings) -> Iterator[None]:
    """Raise a Postgres error as a `CommandError` of one line that says what to do."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate is not None and not error.sqlstate.startswith(_NO_CONNECTION):
            raise CommandError(f"Postgres refused a statement: {first_line(error)}") from None
        hint = (
            "Start the local one with `promo-assets up`"
            if settings.local_postgres
            else "See PROMO_POSTGRES_URL"
        )
        raise CommandError(f"Cannot connect to Postgres: {first_line(error)}. {hint}") from None
