"""The privileges that roles need in Postgres.

`grants.sql` is the only list of what the stream's role needs: it is both granted and checked from
that file.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import psycopg
from psycopg import sql

from promo_assets.stream.ledger.sql_files import read_sql

_GRANT = re.compile(r"^GRANT\s+([^;]+?)\s+ON\s+(?:(SCHEMA|SEQUENCE)\s+)?(\S+)\s+TO\s", re.MULTILINE)
_PRIVILEGE = re.compile(r"(\w+)(?:\s+\(([\w,\s]+)\))?")


class Privilege(NamedTuple):
    """A privilege that the stream's role needs; no `columns` means that it is for all of them."""

    object_kind: str
    """`table` (also for a view), `schema` or `sequence`."""
    object_name: str
    privilege: str
    columns: list[str]


def grant_stream_privileges(connection: psycopg.Connection, role: str) -> None:
    """Grant an existing role what the stream needs, and revoke all else in the ledger's schema.

    The connection must be the tables' owner.
    """
    connection.execute(sql.SQL(_read_grants()).format(role=sql.Identifier(role)))  # pyright: ignore[reportArgumentType]


def grant_feedback_select(connection: psycopg.Connection, role: str) -> None:
    """Grant an existing role to read the feedback, which the lake does and the stream does not."""
    connection.execute(
        sql.SQL("GRANT SELECT ON subscribers_feedback TO {role}").format(role=sql.Identifier(role))
    )


def find_missing_privilege(connection: psycopg.Connection) -> str | None:
    """The first privilege that the connection's role lacks, as "UPDATE on promo_ledger.stream"."""
    for needed in required_privileges():
        if needed.columns:
            query = (
                "SELECT bool_and(has_column_privilege(%s, column_name, %s))"
                " FROM unnest(%s::text[]) column_name"
            )
            parameters = (needed.object_name, needed.privilege, needed.columns)
        else:
            query = f"SELECT has_{needed.object_kind}_privilege(%s, %s)"
            parameters = (needed.object_name, needed.privilege)
        row = connection.execute(query, parameters).fetchone()  # pyright: ignore[reportArgumentType]
        if not (row and row[0]):
            return f"{needed.privilege} on {needed.object_name}"
    return None


def required_privileges() -> Iterator[Privilege]:
    """Each privilege that `grants.sql` grants, in the order of the file."""
    for granted, object_kind, object_name in _GRANT.findall(_read_grants()):
        for privilege, columns in _PRIVILEGE.findall(granted):
            names = [name.strip() for name in columns.split(",")] if columns else []
            yield Privilege((object_kind or "table").lower(), object_name, privilege, names)


def _read_grants() -> str:
    return read_sql("grants").decode()
