"""Connections to the stream's database, on the driver and on executors."""

import contextlib
import threading
from collections.abc import Iterator

import psycopg
from psycopg import Error as PostgresError
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import InsufficientPrivilege

from promo_assets.stream.errors import AuthorizationError

CONNECT_TIMEOUT_S = 10

_thread_connections = threading.local()


@contextlib.contextmanager
def database(url: str) -> Iterator[psycopg.Connection]:
    """This thread's connection, in autocommit mode: use `fenced` for transactions.

    It is kept for the next task and closed after any error. A missing right is raised as
    `AuthorizationError`.
    """
    connections: dict[str, psycopg.Connection] = _thread_connections.__dict__
    connection = connections.get(url)
    if connection is None or connection.closed:
        connection = connections[url] = connect(url, "promo stream, writer")
    try:
        yield connection
    except BaseException as error:
        role = "" if connection.closed else connection.info.user
        connections.pop(url, None)
        connection.close()
        if isinstance(error, InsufficientPrivilege):
            raise AuthorizationError(explain_postgres_error(error, role)) from None
        raise


def connect(url: str, application_name: str) -> psycopg.Connection:
    """A connection whose loss both ends notice within seconds.

    So a dead run's advisory lock does not outlive it.
    """
    of_url = conninfo_to_dict(url)
    server_side = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    return psycopg.connect(
        url,
        application_name=application_name,
        autocommit=True,
        connect_timeout=of_url.get("connect_timeout", CONNECT_TIMEOUT_S),
        options=f"{of_url.get('options', '')} {server_side}".strip(),
        keepalives_idle=5,
        keepalives_interval=5,
        keepalives_count=3,
        # Keep-alives do not cover data that was sent and never acknowledged.
        tcp_user_timeout=20_000,
    )


def explain_postgres_error(error: PostgresError, role: str) -> str:
    """The message for a missing right; Postgres itself names the table."""
    reason = str(error).strip().splitlines()[0]
    return (
        f"role {role} was refused by Postgres: {reason}. "
        f"Run `promo-assets ledger apply --grant-to {role}` as the owner"
    )
