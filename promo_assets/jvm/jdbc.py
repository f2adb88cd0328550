"""How Spark's JDBC reader reaches Postgres, for the stream and the lake."""

from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

from promo_assets.postgres_url import addresses

FETCH_ROWS = 10_000


def jdbc_source(database_url: str) -> tuple[str, dict[str, str]]:
    """libpq's URL as JDBC's, and the properties that go with it: user and password stay out of the URL.

    `postgres_url.POSTGRES_PARAMETERS` says what may stand in it: everything is passed on.
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
        properties["targetServerType"] = (
            "any" if parts["target_session_attrs"] == "any" else "primary"
        )
    where = ",".join(f"{host}:{port}" for host, port in addresses(parts))
    return f"jdbc:postgresql://{where}/{quote(str(parts['dbname']), safe='')}", properties
