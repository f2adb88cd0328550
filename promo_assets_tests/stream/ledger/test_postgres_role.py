"""The stream as a role that owns nothing in Postgres: it does its work and may do nothing else."""

import secrets
import time
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import dagster as dg
import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from promo_assets.stream.defs.assets import subscribers_restaurants
from promo_assets.stream.errors import StreamError
from promo_assets.stream.ledger.grants import required_privileges
from promo_assets.stream.pipeline.run import StreamRun, prepare_database
from promo_assets_tests.stream.pipeline import test_identifiers as identifiers
from promo_assets_tests.support.command_line import one_line, run
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import ROW_FIELDS, World

# These tests run here once more, with the role.
test_a_checkpoint_put_back = (
    identifiers.test_a_restored_checkpoint_gives_the_same_batch_numbers_to_other_messages
)
test_a_truncated_table = (
    identifiers.test_a_feedback_table_truncated_with_its_sequence_gets_only_new_rows
)
test_a_sequence_set_back = (
    identifiers.test_a_sequence_set_back_below_ids_in_use_is_lifted_and_no_row_is_lost
)

ROLE = 'promo "stream"'  # a name that must be quoted
NOW = int(time.time())
FOLLOWERS = {(f"client-{number}", "r") for number in range(50)}


@pytest.fixture(scope="module")
def password(services) -> Iterator[str]:
    """The role's password; the role exists while the module's tests run."""
    password = secrets.token_urlsafe(12)
    with psycopg.connect(services.postgres_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(ROLE), password)
        )
        yield password
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(ROLE)))


@pytest.fixture
def world(world: World, password: str) -> World:
    """The stream connects as the role, the test itself as the owner."""
    done = run({"PROMO_POSTGRES_URL": world.postgres_url}, "ledger", "apply", "--grant-to", ROLE)
    assert done.returncode == 0, done.stderr
    parts = urlsplit(world.postgres_url)
    address = parts.netloc.rpartition("@")[2]
    world.extra_env["PROMO_POSTGRES_URL"] = parts._replace(
        netloc=f"{quote(ROLE)}:{password}@{address}"
    ).geturl()
    return world


def as_owner(world: World, statement: str) -> None:
    world.execute(sql.SQL(statement).format(role=sql.Identifier(ROLE)))  # pyright: ignore[reportArgumentType]


def test_the_whole_stream_runs_as_the_role(world: World) -> None:
    world.favour(FOLLOWERS)
    later = campaign("r", "later", NOW + 80_000, NOW + 86_400)
    due = [campaign("r", name, NOW - 100, NOW + 86_400) for name in ("a", "b")]
    world.send(*due, due[0], b"broken", later, campaign("r", "over", 1, 2))
    done = run(world.env, "stream", "run", "--until-caught-up", timeout=120)
    assert done.returncode == 0, done.stderr
    assert (
        b"2 campaigns, 100 notifications, 1 rejected, 1 repeated, 1 expired, 1 waiting"
        in done.stderr
    )
    assert problems(world, due, [FOLLOWERS]) == []
    assert [letter.value() for letter in world.dead_letters()] == [b"broken"]
    writers = world.execute("SELECT DISTINCT holder IS NOT NULL FROM promo_ledger.heartbeat")
    assert writers == [(True,)]


FEEDBACK = ", ".join(ROW_FIELDS)
ROW = "'', '', '', '', '', 1, 2, 3, '', 4"
REFUSED = [
    "CREATE TABLE mine (n int)",
    "CREATE TABLE promo_ledger.mine (n int)",
    "CREATE SCHEMA mine",
    "CREATE ROLE another",
    "CREATE OR REPLACE VIEW promo_ledger.open_dispatch_followers AS"
    " SELECT ''::text AS restaurant_id, ''::text AS client_id",
    "UPDATE promo_ledger.decided_campaigns SET state = 'cancelled'",
    "DROP TABLE promo_ledger.audience",
    "ALTER TABLE subscribers_feedback ADD COLUMN mine int",
    "TRUNCATE promo_ledger.audience",
    "UPDATE promo_ledger.stream SET ledger_id = gen_random_uuid()",
    "DELETE FROM promo_ledger.stream",
    "DELETE FROM promo_ledger.campaigns",
    "UPDATE promo_ledger.audience SET pairs = '[]'",
    "UPDATE subscribers_feedback SET feedback = 'mine'",
    "DELETE FROM subscribers_feedback",
    "TRUNCATE subscribers_feedback",
    "SELECT feedback FROM subscribers_feedback",
    f"INSERT INTO subscribers_feedback ({FEEDBACK}, feedback) VALUES ({ROW}, 'mine')",
    f"INSERT INTO subscribers_feedback ({FEEDBACK}, id) VALUES ({ROW}, 7)",
    "INSERT INTO subscribers_restaurants (client_id, restaurant_id) VALUES ('', '')",
    "UPDATE subscribers_restaurants SET client_id = ''",
    "DELETE FROM subscribers_restaurants",
    "SELECT * FROM of_others",
    "SELECT pg_read_file('postgresql.conf')",
    "COPY subscribers_restaurants TO PROGRAM 'true'",
]


def test_the_role_may_do_nothing_that_the_stream_does_not_need(world: World) -> None:
    world.execute("CREATE TABLE of_others (secret text)")
    allowed = []
    for statement in REFUSED:
        try:
            with psycopg.connect(world.settings.database_url) as connection:
                connection.execute(statement)  # pyright: ignore[reportArgumentType]
            allowed.append(statement)
        except InsufficientPrivilege:
            pass
    assert allowed == []


def test_each_missing_privilege_is_named_before_the_stream_starts(world: World) -> None:
    prepare_database(world.settings)
    for object_kind, object_name, privilege, columns in required_privileges():
        granted = f"{privilege} ({', '.join(columns)})" if columns else privilege
        of = object_name if object_kind == "table" else f"{object_kind.upper()} {object_name}"
        as_owner(world, f"REVOKE {granted} ON {of} FROM {{role}}")
        with pytest.raises(StreamError) as error:
            prepare_database(world.settings)
        assert f"{privilege} on {object_name}" in str(error.value)
        assert f"run `promo-assets ledger apply --grant-to {ROLE}`" in str(error.value)
        as_owner(world, f"GRANT {granted} ON {of} TO {{role}}")
    prepare_database(world.settings)


def test_a_privilege_revoked_from_a_running_stream_ends_it_in_one_line(world: World, spark) -> None:
    world.favour(FOLLOWERS)
    stream_run = StreamRun(world.settings, lambda: spark, "test")
    stream_run.start()
    try:
        wait_for(lambda: stream_run.query is not None, "the stream to run")
        as_owner(world, "REVOKE ALL ON subscribers_feedback FROM {role}")
        due = campaign("r", "a", NOW - 100, NOW + 86_400)
        world.send(due)
        assert stream_run.ended.wait(30), "a missing privilege must not be retried for 120 s"
    finally:
        stream_run.finish()
    reason = str(stream_run.error)
    assert "\n" not in reason
    assert f"Postgres refused role {ROLE}: permission denied" in reason
    assert "subscribers_feedback" in reason
    assert f"Run `promo-assets ledger apply --grant-to {ROLE}` as the owner" in reason
    assert world.rows() == world.messages() == []


def test_without_the_tables_the_role_is_told_who_must_create_them(world: World) -> None:
    world.execute("DROP SCHEMA promo_ledger CASCADE")
    error = one_line(run(world.env, "stream", "run"), 1)
    assert "the ledger is missing" in error
    assert "run `promo-assets ledger apply` as the owner of the tables" in error


def test_applying_again_revokes_what_the_stream_does_not_need(world: World) -> None:
    as_owner(world, "GRANT ALL ON promo_ledger.stream TO {role}")
    owner = {"PROMO_POSTGRES_URL": world.postgres_url}
    assert run(owner, "ledger", "apply", "--grant-to", ROLE).returncode == 0
    with (
        psycopg.connect(world.settings.database_url) as connection,
        pytest.raises(InsufficientPrivilege),
    ):
        connection.execute("DELETE FROM promo_ledger.stream")


def test_only_the_owner_can_apply_and_only_for_an_existing_role(world: World) -> None:
    role = {"PROMO_POSTGRES_URL": world.settings.database_url}
    error = one_line(run(role, "ledger", "apply"), 1)
    assert f"ole {ROLE} " in error and "owner" in error and "permission denied " in error
    owner = {"PROMO_POSTGRES_URL": world.postgres_url}
    error = one_line(run(owner, "ledger", "apply", "--grant-to", "nobody there"), 2)
    assert 'role "nobody there" does not exist' in error


def test_the_asset_of_the_favourites_counts_them_as_the_role(world: World) -> None:
    world.favour(FOLLOWERS)
    result = dg.materialize([subscribers_restaurants], resources={"settings": world.settings})
    (materialization,) = result.asset_materializations_for_node("subscribers_restaurants")
    assert materialization.metadata["clients"].value == 50
