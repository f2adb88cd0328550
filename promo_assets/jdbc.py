"""How Spark's JDBC reader reaches Postgres, for the stream and the lake."""

from urllib.parse import urlencode

from psycopg.conninfo import conninfo_to_dict

FETCH_ROWS = 10_000


def jdbc_source(database_url: str) -> tuple[str, dict[str, str]]:
    """libpq's URL as JDBC's, and the properties that go with it: user and password stay out of the URL."""
    parts = conninfo_to_dict(database_url)
    properties = {
        "driver": "org.postgresql.Driver",
        "fetchsize": str(FETCH_ROWS),
        "tcpKeepAlive": "true",
    }
    properties |= {key: str(parts[key]) for key in ("user", "password") if parts.get(key)}
    hosts = str(parts["host"]).split(",")
    ports = str(parts.get("port", 5432)).split(",")
    addresses = ",".join(f"{host}:{ports[min(index, len(ports) - 1)]}" for index, host in enumerate(hosts))
    passed_on = {"sslmode": "sslmode", "sslrootcert": "sslrootcert", "target_session_attrs": "targetServerType"}
    options = urlencode({jdbc: parts[libpq] for libpq, jdbc in passed_on.items() if libpq in parts})
    return f"jdbc:postgresql://{addresses}/{parts['dbname']}" + (f"?{options}" if options else ""), properties
