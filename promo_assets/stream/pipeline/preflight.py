"""Edge: what must be there before the stream starts: its tables and permissions, and disk space.

Whatever is missing is reported in one clear line at the start instead of a stack trace later.
"""

import tempfile
from pathlib import Path

import psycopg
from confluent_kafka import KafkaException
from psycopg.errors import InsufficientPrivilege, LockNotAvailable

from promo_assets.settings import Settings
from promo_assets.stream.errors import AuthorizationError, LedgerError, StreamError, first_line
from promo_assets.stream.kafka.producer import check_kafka_permissions
from promo_assets.stream.kafka.topics import Topics, unreachable_message
from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.grants import find_missing_privilege
from promo_assets.stream.ledger.lease import Lease
from promo_assets.stream.ledger.schema import (
    LEDGER_VERSION,
    apply_ddl,
    check_ledger,
    ledger_version,
)
from promo_assets.stream.writer_context import WriterContext

CHECKPOINT_MIN_BYTES = 64 * 1024


def prepare_database(settings: Settings) -> None:
    """Create or upgrade the stream's tables and the ledger if needed, then check the permissions.

    Raises `StreamError` if Postgres is unavailable, the tables cannot be brought to this release's
    version, or a permission is missing.
    """
    try:
        with connect(settings.database_url, "promo stream, start") as connection:
            _upgrade_ledger(connection, settings.database_url)
            _check_permissions(connection)
    except LedgerError as error:
        raise StreamError(f"{error}. Nothing was touched") from None
    except LockNotAvailable:
        raise StreamError(
            "The stream's tables cannot be upgraded while other sessions use them: "
            "stop the old stream first"
        ) from None
    except psycopg.OperationalError as error:
        hint = "Start the local one with `promo-assets up`"
        if not settings.local_postgres:
            hint = "Check PROMO_POSTGRES_URL"
        raise StreamError(f"Cannot connect to Postgres: {first_line(error)}. {hint}") from None
    except psycopg.Error as error:
        raise StreamError(
            f"Cannot create or read the stream's tables in Postgres: {first_line(error)}"
        ) from None


def _upgrade_ledger(connection: psycopg.Connection, database_url: str) -> None:
    if _read_version(connection) < LEDGER_VERSION:
        try:
            apply_ddl(database_url)
        except InsufficientPrivilege:
            check_ledger(connection)


def _read_version(connection: psycopg.Connection) -> int:
    """Return the ledger's version, or this release's if the role may not even read it.

    `_check_permissions` then reports the missing permission.
    """
    try:
        return ledger_version(connection)
    except InsufficientPrivilege:
        return LEDGER_VERSION


def _check_permissions(connection: psycopg.Connection) -> None:
    if missing := find_missing_privilege(connection):
        role = connection.info.user
        raise StreamError(
            f"Role {role} lacks {missing} in Postgres: "
            f"run `promo-assets ledger apply --grant-to {role}` as the owner of the tables"
        )


def make_writer_context(settings: Settings, lease: Lease, topics: Topics) -> WriterContext:
    """Return what the executors must know of the run. The query's id is not known yet."""
    return WriterContext(
        ledger_id=lease.ledger_id,
        epoch=lease.epoch,
        query_id="",
        topic_in=settings.topic_in,
        topic_in_id=topics.in_id,
        topic_dead_letters=settings.topic_dead_letters,
        database_url=settings.database_url,
        kafka_client=settings.kafka_client(),
    )


def check_producer_permissions(settings: Settings, context: WriterContext) -> None:
    """Check that the executors' producers may do their work. Raises `StreamError`."""
    try:
        check_kafka_permissions(context)
    except AuthorizationError as error:
        raise StreamError(str(error)) from None
    except KafkaException as error:
        raise StreamError(unreachable_message(settings, error.args[0])) from None


def prepare_checkpoint_folder(checkpoint: str) -> None:
    """Create a local checkpoint's folder and check that it can be written. Raises `StreamError`.

    On a full disk Spark's own attempt to write ends the JVM's gateway without an error message.
    """
    scheme, _, rest = (
        checkpoint.rpartition("://")
        if "://" in checkpoint
        else ("", "", checkpoint.removeprefix("file:"))
    )
    if scheme not in ("", "file"):
        return
    folder = Path(rest)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x" * CHECKPOINT_MIN_BYTES)
    except OSError as error:
        raise StreamError(
            f"The checkpoint {folder} cannot be written: {error.strerror}. "
            "Make room there, or set PROMO_CHECKPOINT_DIR to another folder"
        ) from None
