"""The ledger's schema in Postgres, `schema.sql`, and its version.

A new version only adds to the schema. It has an entry in `UPGRADES`, and `schema.sql` creates
what it adds to a new database.
"""

from typing import LiteralString

import psycopg

from promo_assets.stream.errors import LedgerError
from promo_assets.stream.ledger.sql_files import read_sql

UPGRADES: dict[int, LiteralString] = {}
"""The statements by version, which turn a ledger of the version before it into one of this.

Each step runs once per ledger, before `schema.sql`, as the owner of the tables. It must keep rows.
"""
LEDGER_VERSION = max(UPGRADES, default=1)

DDL_LOCK = 7_210_113_001
# How long DDL waits for transactions of others. Transactions that come later wait behind it.
DDL_LOCK_TIMEOUT = "30s"

# Every role may read the catalogue. So a role without privileges in the ledger's schema still
# learns that the tables exist.
_LEDGER_EXISTS = """
SELECT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'promo_ledger' AND c.relname = 'open_dispatch_followers')
"""


def apply_ddl(database_url: str) -> None:
    """Create the tables, indexes and views that are missing, and upgrade an older ledger in place.

    All of it is one transaction, and rows are kept. Raises `LedgerError` if the ledger's version is
    newer than `LEDGER_VERSION`; then nothing is changed.
    """
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (DDL_LOCK,))
        version = ledger_version(connection)
        # Suppresses the notices "already exists, skipping".
        connection.execute("SET LOCAL client_min_messages = warning")
        connection.execute("SELECT set_config('lock_timeout', %s, true)", (DDL_LOCK_TIMEOUT,))
        if version:
            _upgrade_ledger(connection, version)
        connection.execute(read_sql("schema"))
        if version < LEDGER_VERSION:
            connection.execute("UPDATE promo_ledger.stream SET version = %s", (LEDGER_VERSION,))


def _upgrade_ledger(connection: psycopg.Connection, version: int) -> None:
    for step_version, statements in sorted(UPGRADES.items()):
        if step_version > version:
            connection.execute(statements)


def ledger_version(connection: psycopg.Connection) -> int:
    """The version of the ledger's schema, or 0 if the database has no ledger.

    Raises `LedgerError` if the version is newer than `LEDGER_VERSION`.
    """
    row = connection.execute(_LEDGER_EXISTS).fetchone()
    if not (row and row[0]):
        return 0
    row = connection.execute("SELECT version FROM promo_ledger.stream").fetchone()
    version = row[0] if row else 0
    if version > LEDGER_VERSION:
        raise LedgerError(
            f"the ledger has version {version}, but this release supports only versions up to "
            f"{LEDGER_VERSION}: install the newer release"
        )
    return version


def check_ledger(connection: psycopg.Connection) -> None:
    """Raise `LedgerError` unless the ledger exists and has this release's version."""
    version = ledger_version(connection)
    if version == LEDGER_VERSION:
        return
    problem = (
        f"the ledger has version {version}, but this release needs version {LEDGER_VERSION}"
        if version
        else "the ledger is missing"
    )
    raise LedgerError(f"{problem}: run `promo-assets ledger apply` as the owner of the tables")
