"""The stream as Dagster shows it, and how a run of it ends."""

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


def columns(text: str, time: str, **others: str) -> dict[str, str]:
    return {name: {"text": text, "time": time}[kind] for name, kind in CAMPAIGN.items()} | others


FEEDBACK = {"id": "serial4"} | columns(
    "text", "int8", client_id="text", trigger_datetime_created="int4", feedback="varchar"
)
DEAD_LETTER = {
    "key": "bytes", "value": "bytes", "reason": "string", "source_topic": "string", "source_partition": "int", "source_offset": "long",
}  # fmt: skip
EXPECTED = {
    "promo_campaigns": (set(), {"kafka", "json"}, columns("string", "long")),
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
        columns("string", "long", client_id="string", trigger_datetime_created="long"),
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
    shown = {
        name: (
            {dep.asset_key.to_user_string() for dep in spec.deps},
            spec.kinds,
            {column.name: column.type for column in spec.metadata["dagster/column_schema"].columns},
        )
        for name, spec in specs.items()
    }
    assert shown == EXPECTED
    assert all(
        spec.owners == ["team:data-engineering"] and spec.description for spec in specs.values()
    )


def test_the_columns_of_the_tables_are_those_in_postgres(world: World) -> None:
    types = {
        "integer": {"serial4", "int4"},
        "bigint": {"int8"},
        "text": {"text"},
        "character varying": {"varchar"},
    }
    for table in ("subscribers_restaurants", "subscribers_feedback"):
        spec = next(
            spec
            for asset in STREAM_ASSETS
            for spec in _specs(asset)
            if spec.key == dg.AssetKey(table)
        )
        query = """SELECT column_name, data_type, is_nullable = 'YES' FROM information_schema.columns
            WHERE table_name = %s ORDER BY ordinal_position"""
        found = world.execute(query, (table,))
        described = spec.metadata["dagster/column_schema"].columns
        assert [(column.name, column.constraints.nullable) for column in described] == [
            (name, nullable) for name, _, nullable in found
        ]
        assert all(
            column.type in types[type_]
            for column, (_, type_, _) in zip(described, found, strict=True)
        )


def _specs(asset: dg.AssetSpec | dg.AssetsDefinition) -> list[dg.AssetSpec]:
    return [asset] if isinstance(asset, dg.AssetSpec) else list(asset.specs)


def counts_of(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    materialization = result.asset_materializations_for_node("subscribers_restaurants")[0]
    return {name: value.value for name, value in materialization.metadata.items()}


def test_materializing_the_subscribers_makes_the_tables_keeps_rows_and_counts(world: World) -> None:
    world.execute(
        "DROP SCHEMA promo_ledger CASCADE; DROP TABLE subscribers_restaurants, subscribers_feedback"
    )
    empty = dg.materialize([subscribers_restaurants], resources={"settings": world.settings})
    assert counts_of(empty) == {
        "dagster/row_count": 0,
        "subscriptions": 0,
        "clients": 0,
        "restaurants": 0,
    }
    world.favour([("anna", "r1"), ("anna", "r1"), ("anna", "r2"), ("boris", "r1")])
    filled = dg.materialize([subscribers_restaurants], resources={"settings": world.settings})
    assert counts_of(filled) == {
        "dagster/row_count": 4,
        "subscriptions": 3,
        "clients": 2,
        "restaurants": 2,
    }
    assert world.execute("SELECT client_id, restaurant_id FROM subscribers_restaurants ORDER BY id") == [
        ("anna", "r1"), ("anna", "r1"), ("anna", "r2"), ("boris", "r1"),
    ]  # fmt: skip
    assert world.execute("SELECT count(*) FROM subscribers_feedback") == [(0,)]


def failure_of_run(world: World) -> str:
    """What a run says that cannot stream; it ends before it needs a session."""
    resources = {"settings": world.settings, "pyspark": None}
    with dg.DagsterInstance.ephemeral() as instance:
        result = promo_stream.execute_in_process(
            resources=resources, instance=instance, raise_on_error=False
        )
    assert not result.success
    failure = result.failure_data_for_node("run_promo_stream")
    assert failure is not None
    assert failure.user_failure_data is not None
    return failure.user_failure_data.description or ""


def test_a_run_that_cannot_have_the_turn_says_who_has_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "ACQUIRE_TIMEOUT_S", 0.1)
    with lease.acquire_lease(world.postgres_url, "the one that streams"):
        said = failure_of_run(world)
    assert said.startswith("another promo stream is running (the one that streams since ")


def test_a_run_without_postgres_fails_in_one_line_without_the_password(world: World) -> None:
    world.extra_env["PROMO_POSTGRES_URL"] = "postgresql://promo:s3cret@127.0.0.1:1/promo"
    said = failure_of_run(world)
    assert said.startswith("Postgres gave no connection: ")
    assert "\n" not in said
    assert "s3cret" not in said
