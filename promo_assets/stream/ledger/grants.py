"""What the stream's role may do in Postgres. `grants.sql` is the one list of it: rights are given by it, and looked for by it."""

import re
from collections.abc import Iterator
from importlib import resources

import psycopg
from psycopg import sql

_GRANT = re.compile(r"^GRANT (.+) ON (?:(SCHEMA|SEQUENCE) )?(\S+) TO", re.MULTILINE)
_RIGHT = re.compile(r"(\w+)(?: \(([\w, ]+)\))?")


def grant_to(connection: psycopg.Connection, role: str) -> None:
    """Give an existing role what the stream needs, as the tables' owner; in the ledger's schema it then has nothing else."""
    connection.execute(sql.SQL(_text()).format(role=sql.Identifier(role)))  # pyright: ignore[reportArgumentType]


def let_read_feedback(connection: psycopg.Connection, role: str) -> None:
    """Give an existing role what the lake needs: it reads the feedback, which is no business of the stream's role."""
    connection.execute(
        sql.SQL("GRANT SELECT ON subscribers_feedback TO {role}").format(role=sql.Identifier(role))
    )


def missing_right(connection: psycopg.Connection) -> str | None:
    """The first right that the connection's own role lacks, such as "UPDATE on promo_ledger.stream"."""
    for kind, name, right, columns in rights():
        if columns:
            query, of = (
                "SELECT bool_and(has_column_privilege(%s, c, %s)) FROM unnest(%s::text[]) c",
                (name, right, columns),
            )
        else:
            query, of = f"SELECT has_{kind}_privilege(%s, %s)", (name, right)
        row = connection.execute(query, of).fetchone()  # pyright: ignore[reportArgumentType]
        if not (row and row[0]):
            return f"{right} on {name}"
    return None


def _text() -> str:
    return resources.files("promo_assets.stream.ledger").joinpath("grants.sql").read_text()


def rights() -> Iterator[tuple[str, str, str, list[str]]]:
    """(table, schema or sequence, its name, the right, the columns that it is for; none where it is for all of it)."""
    for some, kind, name in _GRANT.findall(_text()):
        for right, columns in _RIGHT.findall(some):
            yield (kind or "table").lower(), name, right, columns.split(", ") if columns else []
