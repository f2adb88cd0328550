"""Postgres URLs as libpq reads them. A password may hold what other readers take for the end of the host, `#` or `?` say,
so nothing here or elsewhere takes them apart in another way."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from psycopg import Error as PostgresError
from psycopg.conninfo import conninfo_to_dict

from promo_assets.certificates import read_certificates

# What may follow the question mark where Spark reads, too: libpq and Spark's JDBC driver both obey it (`jdbc.py` translates).
POSTGRES_PARAMETERS = (
    "sslmode",
    "sslrootcert",
    "channel_binding",
    "target_session_attrs",
    "options",
    "connect_timeout",
)


def check_url(url: str, for_spark: bool) -> None:
    """Raises `ValueError`, which shows nothing of the URL's login."""
    problem = "a URL like postgresql://user:password@host:5432/database is needed"
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError(problem)
    try:
        parts = conninfo_to_dict(url)
    except PostgresError:
        raise ValueError(problem) from None
    ports = [
        port for port in str(parts.get("port", "")).split(",") if port
    ]  # one that is not named is 5432
    if (
        not parts.get("host")
        or not parts.get("dbname")
        or not all(port.isdigit() and 0 < int(port) < 65536 for port in ports)
    ):
        raise ValueError(problem)
    if for_spark:
        _check_parameters(parts)


def _check_parameters(parts: Mapping[str, Any]) -> None:
    """libpq knows more than Spark's JDBC driver: what only one of them would obey is refused."""
    for name, value in parts.items():
        if name not in (*POSTGRES_PARAMETERS, "user", "password", "host", "port", "dbname"):
            known = ", ".join(POSTGRES_PARAMETERS)
            raise ValueError(
                f"the parameter {name} cannot be used, as Spark's reader would not obey it; these can be: {known}"
            )
        if name == "target_session_attrs" and value not in ("any", "read-write", "primary"):
            raise ValueError(
                f"target_session_attrs={value} may lead to a server that takes no writes"
            )
    if any(host.startswith("/") for host in str(parts.get("host")).split(",")):
        raise ValueError("Spark's reader needs a host that listens on TCP, not a socket's folder")
    if root := parts.get("sslrootcert"):
        if root == "system":
            raise ValueError(
                "sslrootcert=system cannot be used, as Spark's reader would not obey it: name the file with the authorities"
            )
        try:
            read_certificates(Path(root))
        except ValueError as error:
            raise ValueError(f"sslrootcert: {error}") from None


def without_password(url: str) -> str:
    """To be shown: an outside database's password is not ours to tell."""
    parts = conninfo_to_dict(url)
    parts.pop("password", None)
    return _url(parts)


def with_database(url: str, database: str) -> str:
    """The same server, login and parameters, another database."""
    return _url(conninfo_to_dict(url) | {"dbname": database})


def addresses(parts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Host and port of each server that libpq's parts name: an address of IPv6 in brackets, a port that is not named is 5432."""
    hosts = str(parts["host"]).split(",")
    ports = str(parts.get("port") or "").split(",")
    in_brackets = [f"[{host}]" if ":" in host else host for host in hosts]
    return [
        (host, ports[min(index, len(ports) - 1)] or "5432")
        for index, host in enumerate(in_brackets)
    ]


def _url(parts: Mapping[str, Any]) -> str:
    rest = {
        name: value
        for name, value in parts.items()
        if name not in ("user", "password", "host", "port", "dbname")
    }
    login = ":".join(
        quote(str(parts[name]), safe="") for name in ("user", "password") if parts.get(name)
    )
    where = ",".join(f"{quote(host, safe='[]:')}:{port}" for host, port in addresses(parts))
    query = urlencode(rest, quote_via=quote)
    return f"postgresql://{login}{'@' if login else ''}{where}/{quote(str(parts['dbname']), safe='')}{'?' if query else ''}{query}"
