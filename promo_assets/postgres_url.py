"""Parses and formats Postgres URLs with libpq's own parser.

A password may contain characters that other parsers take for the end of the host, such as `#` and
`?`. No other code in this project parses or builds such a URL.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from psycopg import Error as PostgresError
from psycopg.conninfo import conninfo_to_dict

from promo_assets.certificates import read_certificates

# The URL parameters that both libpq and Spark's JDBC driver obey; `jvm/jdbc.py` translates them.
POSTGRES_PARAMETERS = (
    "sslmode",
    "sslrootcert",
    "channel_binding",
    "target_session_attrs",
    "options",
    "connect_timeout",
)
_ADDRESS_AND_LOGIN = ("user", "password", "host", "port", "dbname")


def check_url(url: str, for_spark: bool) -> None:
    """Raise `ValueError` if the URL cannot be used; the message never shows user or password.

    With `for_spark`, also refuse what libpq supports and Spark's JDBC driver does not.
    """
    problem = "expected a URL such as postgresql://user:password@host:5432/database"
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError(problem)
    try:
        parts = conninfo_to_dict(url)
    except PostgresError:
        raise ValueError(problem) from None
    # A port that is left out means 5432.
    ports = [port for port in str(parts.get("port", "")).split(",") if port]
    ports_are_valid = all(port.isdigit() and 0 < int(port) < 65536 for port in ports)
    if not parts.get("host") or not parts.get("dbname") or not ports_are_valid:
        raise ValueError(problem)
    if for_spark:
        _check_spark_obeys(parts)


def _check_spark_obeys(parts: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a parameter that only one of libpq and Spark's JDBC driver obeys."""
    for name, value in parts.items():
        if name not in (*POSTGRES_PARAMETERS, *_ADDRESS_AND_LOGIN):
            known = ", ".join(POSTGRES_PARAMETERS)
            raise ValueError(
                f"the parameter {name} cannot be used, because Spark's JDBC driver does not"
                f" obey it; expected only {known}"
            )
        if name == "target_session_attrs" and value not in ("any", "read-write", "primary"):
            raise ValueError(
                "expected target_session_attrs to be any, read-write or primary,"
                f" got {value}, which may lead to a server that takes no writes"
            )
    if any(host.startswith("/") for host in str(parts.get("host")).split(",")):
        raise ValueError(
            "expected a host that listens on TCP, got the folder of a Unix socket,"
            " which Spark's JDBC driver cannot use"
        )
    if root := parts.get("sslrootcert"):
        if root == "system":
            raise ValueError(
                "expected sslrootcert to be a file with the certificate authorities, got system,"
                " which Spark's JDBC driver does not obey"
            )
        try:
            read_certificates(Path(root))
        except ValueError as error:
            raise ValueError(f"sslrootcert: {error}") from None


def without_password(url: str) -> str:
    """Return the URL without its password, for output: users' passwords are never printed."""
    parts = conninfo_to_dict(url)
    parts.pop("password", None)
    return _format_url(parts)


def with_database(url: str, database: str) -> str:
    """Return the URL of another database on the same server, with the same login and parameters."""
    return _format_url(conninfo_to_dict(url) | {"dbname": database})


def addresses(parts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return host and port of each server in parsed libpq parameters.

    IPv6 addresses are put in brackets; a port that is left out is 5432.
    """
    hosts = str(parts["host"]).split(",")
    ports = str(parts.get("port") or "").split(",")
    in_brackets = [f"[{host}]" if ":" in host else host for host in hosts]
    return [
        (host, ports[min(index, len(ports) - 1)] or "5432")
        for index, host in enumerate(in_brackets)
    ]


def _format_url(parts: Mapping[str, Any]) -> str:
    login = ":".join(
        quote(str(parts[name]), safe="") for name in ("user", "password") if parts.get(name)
    )
    servers = ",".join(f"{quote(host, safe='[]:')}:{port}" for host, port in addresses(parts))
    database = quote(str(parts["dbname"]), safe="")
    rest = {name: value for name, value in parts.items() if name not in _ADDRESS_AND_LOGIN}
    query = urlencode(rest, quote_via=quote)
    at, question_mark = "@" if login else "", "?" if query else ""
    return f"postgresql://{login}{at}{servers}/{database}{question_mark}{query}"
