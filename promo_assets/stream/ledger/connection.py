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
    """Yield this thread's connection, in autocommit mode; use `fenced` for transactions.

    The connection is kept for the thread's next task, and closed after any error. A missing
    privilege is raised as `AuthorizationError`.
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
    """Open a connection, in autocommit mode, whose loss both ends notice within seconds.

    Postgres must notice it too, so that the advisory lock of a dead run is released soon.
    """
    url_parameters = conninfo_to_dict(url)
    server_side = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    return psycopg.connect(
        url,
        application_name=application_name,
        autocommit=True,
        connect_timeout=url_parameters.get("connect_timeout", CONNECT_TIMEOUT_S),
        options=f"{url_parameters.get('options', '')} {server_side}".strip(),
        keepalives_idle=5,
        keepalives_interval=5,
        keepalives_count=3,
        # Keepalives do not cover data that was sent but never acknowledged.
        tcp_user_timeout=20_000,
    )


def explain_postgres_error(error: PostgresError, role: str) -> str:
    """The message for a missing privilege; Postgres itself names the table."""
    reason = str(error).strip().splitlines()[0]
    return (
        f"Postgres refused role {role}: {reason}. "
        f"Run `promo-assets ledger apply --grant-to {role}` as the owner of the tables"
    )
