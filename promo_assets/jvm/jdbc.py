"""Translates libpq URLs for Spark's JDBC reader, for the stream and the lake."""

from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

from promo_assets.postgres_url import addresses

FETCH_ROWS = 10_000


def jdbc_source(database_url: str) -> tuple[str, dict[str, str]]:
    """Return the JDBC URL of a libpq URL, and the properties to use with it.

    User and password are among the properties and not in the JDBC URL. Every parameter of
    `postgres_url.POSTGRES_PARAMETERS` is translated.
    """
    parts = conninfo_to_dict(database_url)
    properties = {
        "driver": "org.postgresql.Driver",
        "fetchsize": str(FETCH_ROWS),
        "tcpKeepAlive": "true",
    }
    same = {name: name for name in ("user", "password", "sslmode", "sslrootcert", "options")}
    renamed = {"channel_binding": "channelBinding", "connect_timeout": "connectTimeout"}
    properties |= {
        jdbc: str(parts[libpq]) for libpq, jdbc in (same | renamed).items() if parts.get(libpq)
    }
    if parts.get("target_session_attrs"):
        any_server = parts["target_session_attrs"] == "any"
        properties["targetServerType"] = "any" if any_server else "primary"
    servers = ",".join(f"{host}:{port}" for host, port in addresses(parts))
    return f"jdbc:postgresql://{servers}/{quote(str(parts['dbname']), safe='')}", properties
