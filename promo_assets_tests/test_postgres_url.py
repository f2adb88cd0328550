"""Postgres URLs are parsed as libpq parses them, whatever characters the password has."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from promo_assets.jvm.jdbc import jdbc_source
from promo_assets.postgres_url import with_database, without_password

# The URL, the URL without its password, the URL with another database.
URLS = [
    ("postgresql://u:p@h:5433/d", "postgresql://u@h:5433/d", "postgresql://u:p@h:5433/other"),
    ("postgres://h/d", "postgresql://h:5432/d", "postgresql://h:5432/other"),
    (
        "postgresql://u:s3#cret@h/d",
        "postgresql://u@h:5432/d",
        "postgresql://u:s3%23cret@h:5432/other",
    ),
    (
        "postgresql://u:s3?cret@h/d",
        "postgresql://u@h:5432/d",
        "postgresql://u:s3%3Fcret@h:5432/other",
    ),
    (
        "postgresql://u:s3[cret@h/d",
        "postgresql://u@h:5432/d",
        "postgresql://u:s3%5Bcret@h:5432/other",
    ),
    (
        "postgresql://u:s3%40%2F%3Acret@h/d",
        "postgresql://u@h:5432/d",
        "postgresql://u:s3%40%2F%3Acret@h:5432/other",
    ),
    (
        "postgresql://u%40x:p@h/d%20e",
        "postgresql://u%40x@h:5432/d%20e",
        "postgresql://u%40x:p@h:5432/other",
    ),
    ("postgresql://u:p@[::1]:1/d", "postgresql://u@[::1]:1/d", "postgresql://u:p@[::1]:1/other"),
    (
        "postgresql://u:p@a,b:2/d",
        "postgresql://u@a:5432,b:2/d",
        "postgresql://u:p@a:5432,b:2/other",
    ),
    (
        "postgresql://h/d?user=u&password=s3cret&options=-c%20x%3D1&sslmode=require",
        "postgresql://u@h:5432/d?options=-c%20x%3D1&sslmode=require",
        "postgresql://u:s3cret@h:5432/other?options=-c%20x%3D1&sslmode=require",
    ),
    (
        "postgresql://u:p@/d?host=/run/postgres",
        "postgresql://u@%2Frun%2Fpostgres:5432/d",
        "postgresql://u:p@%2Frun%2Fpostgres:5432/other",
    ),
]


@pytest.mark.parametrize(("url", "shown", "other"), URLS, ids=[url for url, _, _ in URLS])
def test_the_password_can_be_removed_and_the_database_replaced(url: str, shown: str, other: str):
    assert without_password(url) == shown
    assert with_database(url, "other") == other
    parts = conninfo_to_dict(url)
    assert conninfo_to_dict(other).get("password") == parts.get("password")


def test_spark_gets_every_server_with_its_port_and_the_login_as_properties():
    url, properties = jdbc_source("postgresql://u:s3#cret@a,[::1]:2/d")
    assert url == "jdbc:postgresql://a:5432,[::1]:2/d"
    assert (properties["user"], properties["password"]) == ("u", "s3#cret")
