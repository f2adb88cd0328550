"""The stream's assets in Dagster, and how a run of the stream fails."""

import dagster as dg
import pytest

from promo_assets.definitions import build_definitions
from promo_assets.settings import Settings
from promo_assets.stream.defs.assets import STREAM_ASSETS, promo_stream, subscribers_restaurants
from promo_assets.stream.ledger import lease
from promo_assets_tests.support.world import World

CAMPAIGN = {
    "restaurant_id": "text",
    "adv_campaign_id": "text",
    "adv_campaign_content": "text",
    "adv_campaign_owner": "text",
    "adv_campaign_owner_contact": "text",
    "adv_campaign_datetime_start": "time",
    "adv_campaign_datetime_end": "time",
    "datetime_created": "time",
}


def campaign_and(text: str, time: str, **others: str) -> dict[str, str]:
    """The types of the campaign's columns and of others, by name."""
    return {name: {"text": text, "time": time}[kind] for name, kind in CAMPAIGN.items()} | others


FEEDBACK = {"id": "serial4"} | campaign_and(
    "text", "int8", client_id="text", trigger_datetime_created="int4", feedback="varchar"
)
DEAD_LETTER = {
    "key": "bytes",
    "value": "bytes",
    "reason": "string",
    "source_topic": "string",
    "source_partition": "int",
    "source_offset": "long",
}
EXPECTED = {
    "promo_campaigns": (set(), {"kafka", "json"}, campaign_and("string", "long")),
    "subscribers_restaurants": (
        set(),
        {"postgres"},
        {"id": "serial4", "client_id": "varchar", "restaurant_id": "varchar"},
    ),
    "subscribers_feedback": (
        {"promo_campaigns", "subscribers_restaurants"},
        {"postgres", "spark"},
        FEEDBACK,
    ),
    "promo_notifications": (
        {"promo_campaigns", "subscribers_restaurants"},
        {"kafka", "json", "spark"},
        campaign_and("string", "long", client_id="string", trigger_datetime_created="long"),
    ),
    "promo_dead_letters": ({"promo_campaigns"}, {"kafka"}, DEAD_LETTER),
}


def test_every_topic_and_table_is_an_asset_with_lineage_kinds_and_columns() -> None:
    definitions = build_definitions(Settings(_env_file=None))  # pyright: ignore[reportCallIssue]
    specs = {
        spec.key.to_user_string(): spec
        for spec in definitions.resolve_all_asset_specs()
        if spec.group_name == "promo_stream"
    }
    described = {
        name: (
            {dep.asset_key.to_user_string() for dep in spec.deps},
            spec.kinds,
            {column.name: column.type for column in spec.metadata["dagster/column_schema"].columns},
        )
        for name, spec in specs.items()
    }
    assert described == EXPECTED
    assert all(
        spec.owners == ["team:data-engineering"] and spec.description for spec in specs.values()
    )


@pytest.mark.parametrize("table", ["subscribers_restaurants", "subscribers_feedback"])
def test_the_described_columns_of_a_table_are_those_in_postgres(world: World, table: str) -> None:
    types = {
        "integer": {"serial4", "int4"},
        "bigint": {"int8"},
        "text": {"text"},
        "character varying": {"varchar"},
    }
    specs = [spec for asset in STREAM_ASSETS for spec in _specs(asset)]
    (spec,) = [spec for spec in specs if spec.key == dg.AssetKey(table)]
    described = spec.metadata["dagster/column_schema"].columns
    query = """SELECT column_name, data_type, is_nullable = 'YES' FROM information_schema.columns
        WHERE table_name = %s ORDER BY ordinal_position"""
    actual = world.execute(query, (table,))
    assert [(column.name, column.constraints.nullable) for column in described] == [
        (name, nullable) for name, _, nullable in actual
    ]
    for column, (_, type_, _) in zip(described, actual, strict=True):
        assert column.type in types[type_]


def _specs(asset: dg.AssetSpec | dg.AssetsDefinition) -> list[dg.AssetSpec]:
    return [asset] if isinstance(asset, dg.AssetSpec) else list(asset.specs)


def materialize_subscribers(world: World) -> dict[str, object]:
    """The counts that the materialization reports."""
    result = dg.materialize([subscribers_restaurants], resources={"settings": world.settings})
    (materialization,) = result.asset_materializations_for_node("subscribers_restaurants")
    return {name: value.value for name, value in materialization.metadata.items()}


def expected_counts(rows: int, subscriptions: int, clients: int, restaurants: int) -> dict:
    return {
        "dagster/row_count": rows,
        "subscriptions": subscriptions,
        "clients": clients,
        "restaurants": restaurants,
    }


def test_materializing_the_subscribers_creates_the_tables_keeps_rows_and_counts_them(
    world: World,
) -> None:
    world.execute(
        "DROP SCHEMA promo_ledger CASCADE; DROP TABLE subscribers_restaurants, subscribers_feedback"
    )
    assert materialize_subscribers(world) == expected_counts(0, 0, 0, 0)
    favourites = [("anna", "r1"), ("anna", "r1"), ("anna", "r2"), ("boris", "r1")]
    world.favour(favourites)
    assert materialize_subscribers(world) == expected_counts(4, 3, 2, 2)
    query = "SELECT client_id, restaurant_id FROM subscribers_restaurants ORDER BY id"
    assert world.execute(query) == favourites
    assert world.execute("SELECT count(*) FROM subscribers_feedback") == [(0,)]


def test_materializing_the_subscribers_without_postgres_fails_in_one_line(world: World) -> None:
    world.extra_env["PROMO_POSTGRES_URL"] = "postgresql://promo:s3cret@127.0.0.1:1/promo"
    result = dg.materialize(
        [subscribers_restaurants], resources={"settings": world.settings}, raise_on_error=False
    )
    reason = read_failure(result, "subscribers_restaurants")
    assert "Postgres" in reason and "connection failed" in reason
    assert "\n" not in reason and "s3cret" not in reason


def read_failure(result: dg.ExecuteInProcessResult, node: str) -> str:
    assert not result.success
    failure = result.failure_data_for_node(node)
    assert failure is not None
    assert failure.user_failure_data is not None
    return failure.user_failure_data.description or ""


def fail_to_stream(world: World) -> str:
    """The reason why a run fails that ends before it needs a Spark session."""
    resources = {"settings": world.settings, "pyspark": None}
    with dg.DagsterInstance.ephemeral() as instance:
        result = promo_stream.execute_in_process(
            resources=resources, instance=instance, raise_on_error=False
        )
    return read_failure(result, "run_promo_stream")


def test_a_run_that_cannot_acquire_the_lease_names_the_run_that_holds_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "ACQUIRE_TIMEOUT_S", 0.1)
    with lease.acquire_lease(world.postgres_url, "the one that streams"):
        reason = fail_to_stream(world)
    assert "another promo stream is running (the one that streams since " in reason


def test_a_run_without_postgres_fails_in_one_line_without_the_password(world: World) -> None:
    world.extra_env["PROMO_POSTGRES_URL"] = "postgresql://promo:s3cret@127.0.0.1:1/promo"
    reason = fail_to_stream(world)
    assert "Postgres" in reason and "connection failed" in reason
    assert "\n" not in reason
    assert "s3cret" not in reason
