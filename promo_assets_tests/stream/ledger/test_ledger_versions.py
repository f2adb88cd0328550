"""A ledger of another version: an older one is upgraded in place, a newer one is refused."""

from collections.abc import Iterator

import dagster as dg
import psycopg
import pytest
from psycopg import sql

from promo_assets.definitions import build_definitions
from promo_assets.local.services import ServiceError, up
from promo_assets.stream.errors import LedgerError, StreamError
from promo_assets.stream.ledger import schema
from promo_assets.stream.ledger.schema import apply_ddl
from promo_assets.stream.pipeline import preflight
from promo_assets.stream.pipeline.run import StreamRun, run_stream
from promo_assets_tests.support.ledger import (
    ADDED_COLUMNS,
    NEW_VERSION,
    UPGRADE_STEP,
    read_shape,
)
from promo_assets_tests.support.world import World

NEWER = f"has version 99, but this release supports only versions up to {schema.LEDGER_VERSION}"


@pytest.fixture
def newer_release(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The world's ledger is of the present version, and this process runs a newer release."""
    monkeypatch.setitem(schema.UPGRADES, NEW_VERSION, UPGRADE_STEP)
    for module in (schema, preflight):
        monkeypatch.setattr(module, "LEDGER_VERSION", NEW_VERSION)


def read_version(world: World) -> int:
    return world.execute("SELECT version FROM promo_ledger.stream")[0][0]


def refuse_to_run(world: World) -> str:
    """The error of a run of the stream that ends before it needs Spark."""
    run = StreamRun(world.settings, lambda: pytest.fail("the stream started Spark"), "test")
    with pytest.raises(StreamError) as error:
        run_stream(run)
    return str(error.value)


def read_skip_reason(world: World) -> str:
    """Why the sensor starts no run."""
    definitions = build_definitions(world.settings)
    sensor = definitions.resolve_sensor_def("promo_stream_sensor")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance=instance, definitions=definitions, resources={"settings": world.settings}
        )
        tick = sensor.evaluate_tick(context)
    assert not tick.run_requests
    return tick.skip_message or ""


def test_a_new_ledger_has_the_newest_version_and_applying_again_changes_nothing(
    world: World,
) -> None:
    shape = read_shape(world)
    assert read_version(world) == schema.LEDGER_VERSION
    apply_ddl(world.postgres_url)
    assert (read_shape(world), read_version(world)) == (shape, schema.LEDGER_VERSION)
    assert world.execute("SELECT count(*) FROM promo_ledger.batches") == [(1,)]


def test_an_older_ledger_is_upgraded_once_and_keeps_its_rows(world: World, newer_release) -> None:
    shape, rows = read_shape(world), read_rows(world)
    world.execute(
        "DROP INDEX promo_ledger.campaigns_to_clean; DROP VIEW promo_ledger.decided_campaigns"
    )
    for _ in range(2):
        apply_ddl(world.postgres_url)
        upgraded = read_shape(world)
        assert shape <= upgraded
        assert {row[:2] for row in upgraded - shape} == ADDED_COLUMNS
        assert read_version(world) == NEW_VERSION
        assert read_rows(world) == rows
    assert world.execute("SELECT channel FROM promo_ledger.decided_campaigns") == [("push",)]


def read_rows(world: World) -> list[tuple]:
    """The ledger's identity, and a decided campaign that the first call inserts."""
    world.execute(
        """INSERT INTO promo_ledger.campaigns
        VALUES ('k', 'r', 'c', 'text', 'owner', 'contact', 0, 9, 1,
                '00000000-0000-0000-0000-000000000000', 0, 0, 0, 0, 'due', 5)
        ON CONFLICT DO NOTHING"""
    )
    return world.execute(
        """SELECT ledger_id, epoch, campaign_key, adv_campaign_content, state, query_id, batch_id
        FROM promo_ledger.stream, promo_ledger.campaigns"""
    )


def test_an_upgrade_that_fails_changes_nothing(
    world: World, newer_release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(schema.UPGRADES, NEW_VERSION, UPGRADE_STEP + "SELECT 1 / 0")
    shape = read_shape(world)
    with pytest.raises(psycopg.errors.DivisionByZero):
        apply_ddl(world.postgres_url)
    assert (read_shape(world), read_version(world)) == (shape, 1)


def test_steps_run_in_the_order_of_their_versions_from_the_ledgers_version_on(
    world: World, newer_release, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, step in {
        4: "ALTER TABLE promo_ledger.heartbeat RENAME COLUMN zone TO area",
        3: "ALTER TABLE promo_ledger.heartbeat RENAME COLUMN region TO zone",
    }.items():
        monkeypatch.setitem(schema.UPGRADES, version, step)
        monkeypatch.setattr(schema, "LEDGER_VERSION", 4)
    apply_ddl(world.postgres_url)
    columns = {row[1] for row in read_shape(world) if row[0] == "promo_ledger.heartbeat"}
    assert columns >= {"area"} and columns.isdisjoint({"region", "zone"})
    assert read_version(world) == 4


def test_a_newer_ledger_is_refused_and_not_changed(world: World, services) -> None:
    world.execute(
        """UPDATE promo_ledger.stream SET version = 99;
        DROP INDEX promo_ledger.campaigns_due;
        CREATE OR REPLACE VIEW promo_ledger.open_dispatch_followers AS
            SELECT ''::text AS restaurant_id, ''::text AS client_id"""
    )
    shape = read_shape(world)
    refusals = [refuse_to_run(world), read_skip_reason(world)]
    with pytest.raises(LedgerError) as refusal:
        apply_ddl(world.postgres_url)
    refusals.append(str(refusal.value))
    with pytest.raises(ServiceError) as refusal:
        up(world.settings, print)
    refusals.append(str(refusal.value))
    for text in refusals:
        assert NEWER in text and "install the newer release" in text and "\n" not in text
    assert (read_shape(world), read_version(world)) == (shape, 99)


def test_an_upgrade_does_not_wait_forever_for_a_transaction_that_holds_the_tables(
    world: World, newer_release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "DDL_LOCK_TIMEOUT", "500ms")
    shape = read_shape(world)
    with psycopg.connect(world.postgres_url) as holder:
        holder.execute("SELECT FROM promo_ledger.campaigns")
        refusal = refuse_to_run(world)
    assert "upgraded" in refusal and "stop the old stream" in refusal.lower()
    assert (read_shape(world), read_version(world)) == (shape, 1)


@pytest.fixture
def guest(world: World, services) -> Iterator[World]:
    """A role that may read and write the ledger, but not create or alter anything."""
    role = world.postgres_url.rpartition("/")[2] + "_guest"
    names = {"role": sql.Identifier(role), "password": sql.Literal("guest")}
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {role} LOGIN PASSWORD {password}").format(**names))
        for privileges in (
            "USAGE ON SCHEMA promo_ledger",
            "ALL ON ALL TABLES IN SCHEMA promo_ledger, public",
        ):
            connection.execute(sql.SQL("GRANT " + privileges + " TO {role}").format(**names))
    address = world.postgres_url.partition("@")[2]
    world.extra_env["PROMO_POSTGRES_URL"] = f"postgresql://{role}:guest@{address}"
    yield world
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {role}; DROP ROLE {role}").format(**names))


def test_a_role_that_may_not_upgrade_is_told_who_must(guest: World, newer_release) -> None:
    command = "run `promo-assets ledger apply` as the owner of the tables"
    shape = read_shape(guest)
    refusal = refuse_to_run(guest)
    assert f"has version 1, but this release needs version {NEW_VERSION}: {command}" in refusal
    assert (read_shape(guest), read_version(guest)) == (shape, 1)
    guest.execute("DROP SCHEMA promo_ledger CASCADE")
    assert f"the ledger is missing: {command}" in refuse_to_run(guest)
