"""A ledger of another release: an older one becomes this one's, a newer one is left alone."""

from pathlib import Path

import dagster as dg
import psycopg
import pytest
from psycopg import sql

from promo_assets.definitions import build_definitions
from promo_assets.local.services import ServiceError, up
from promo_assets.stream.errors import LedgerError, StreamError
from promo_assets.stream.ledger.ledger import LEDGER_VERSION, apply_ddl
from promo_assets.stream.pipeline.run import StreamRun, run_stream
from promo_assets_tests.support.world import World

V1 = Path(__file__).with_name("ledger_v1.sql")
NEWER = (
    f"the ledger is of version 99, this release knows {LEDGER_VERSION}: install the newer release"
)


def make_v1(world: World) -> None:
    world.execute(
        "DROP SCHEMA promo_ledger CASCADE; DROP TABLE subscribers_restaurants, subscribers_feedback"
    )
    world.execute(V1.read_text())


def shape(world: World) -> set[tuple]:
    """Every column, index and constraint of the database's own schemas, as Postgres tells them."""
    columns = """SELECT table_schema || '.' || table_name, column_name, data_type || coalesce(column_default, '') || is_nullable
        FROM information_schema.columns WHERE table_schema IN ('public', 'promo_ledger')"""
    indexes = "SELECT schemaname, indexname, indexdef FROM pg_indexes WHERE schemaname IN ('public', 'promo_ledger')"
    constraints = """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace IN ('public'::regnamespace, 'promo_ledger'::regnamespace)"""
    return {row for query in (columns, indexes, constraints) for row in world.execute(query)}


def refused(world: World) -> str:
    with pytest.raises(StreamError) as problem:
        run_stream(
            StreamRun(
                world.settings, lambda: pytest.fail("the stream went as far as Spark"), "test"
            )
        )
    return str(problem.value)


def test_an_upgraded_ledger_has_the_shape_of_a_new_one_and_upgrading_again_changes_nothing(
    world: World,
) -> None:
    new = shape(world)
    make_v1(world)
    assert shape(world) != new
    for _ in range(2):
        apply_ddl(world.postgres_url)
        assert shape(world) == new
        assert world.execute("SELECT version FROM promo_ledger.stream") == [(LEDGER_VERSION,)]
    assert world.execute("SELECT count(*) FROM promo_ledger.batches") == [(1,)]


def test_a_newer_ledger_is_refused_in_one_line_and_not_touched(world: World, services) -> None:
    world.execute(
        "UPDATE promo_ledger.stream SET version = 99; DROP INDEX promo_ledger.campaigns_due"
    )
    world.execute(
        "CREATE OR REPLACE VIEW promo_ledger.open_dispatch_followers AS SELECT ''::text AS restaurant_id, ''::text AS client_id"
    )
    before = shape(world)
    assert refused(world) == f"{NEWER}. Nothing was touched"
    with pytest.raises(LedgerError, match=NEWER):
        apply_ddl(world.postgres_url)
    with pytest.raises(ServiceError, match=NEWER):
        up(world.settings, print)
    assert keeper_says(world) == NEWER
    assert shape(world) == before


def test_an_upgrade_does_not_wait_for_ever_for_those_who_hold_the_tables(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promo_assets.stream.ledger.ledger._DDL_WAITS", "500ms")
    make_v1(world)
    before = shape(world)
    with psycopg.connect(world.postgres_url) as holder:
        holder.execute("SELECT FROM promo_ledger.campaigns")
        assert (
            refused(world)
            == "the tables cannot be upgraded while others hold on to them: stop the old stream first"
        )
    assert shape(world) == before


def keeper_says(world: World) -> str:
    definitions = build_definitions(world.settings)
    sensor = definitions.resolve_sensor_def("promo_stream_sensor")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance=instance, definitions=definitions, resources={"settings": world.settings}
        )
        said = sensor.evaluate_tick(context)
    assert not said.run_requests
    return said.skip_message or ""


@pytest.fixture
def guest(world: World, services) -> World:
    """A role that may read and write the ledger, and make nothing."""
    role = world.postgres_url.rpartition("/")[2] + "_guest"
    names = {"role": sql.Identifier(role), "password": sql.Literal("guest")}
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {role} LOGIN PASSWORD {password}").format(**names))
    make_v1(world)
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        for what in (
            "USAGE ON SCHEMA promo_ledger",
            "ALL ON ALL TABLES IN SCHEMA promo_ledger, public",
        ):
            connection.execute(sql.SQL("GRANT " + what + " TO {role}").format(**names))
    host = world.postgres_url.partition("@")[2]
    world.extra_env["PROMO_POSTGRES_URL"] = f"postgresql://{role}:guest@{host}"
    yield world
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {role}; DROP ROLE {role}").format(**names))


def test_a_role_that_may_not_upgrade_says_who_must(guest: World) -> None:
    must = "run `promo-assets ledger apply` as the owner of the tables. Nothing was touched"
    before = shape(guest)
    assert (
        refused(guest) == f"the ledger is of version 1, this release needs {LEDGER_VERSION}: {must}"
    )
    assert shape(guest) == before
    guest.execute("DROP SCHEMA promo_ledger CASCADE")
    assert refused(guest) == f"the ledger is missing: {must}"
