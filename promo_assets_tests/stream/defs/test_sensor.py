"""The sensor where Postgres, Kafka or the ledger is missing, and its cursor."""

import dagster as dg
from dagster._core.definitions.sensor_definition import SensorExecutionData

from promo_assets.definitions import build_definitions
from promo_assets.settings import Settings
from promo_assets_tests.support.world import World


def evaluate_tick(
    settings: Settings, instance: dg.DagsterInstance, cursor: str | None = None
) -> SensorExecutionData:
    definitions = build_definitions(settings)
    context = dg.build_sensor_context(
        instance=instance,
        repository_def=definitions.get_repository_def(),
        cursor=cursor,
        resources={"settings": settings},
    )
    return definitions.resolve_sensor_def("promo_stream_sensor").evaluate_tick(context)


def read_skip_reason(settings: Settings) -> str:
    with dg.DagsterInstance.ephemeral() as instance:
        tick = evaluate_tick(settings, instance)
    assert tick.run_requests == []
    assert tick.skip_message is not None
    return tick.skip_message


def test_without_postgres_the_sensor_gives_the_reason_and_starts_nothing(world: World) -> None:
    world.extra_env["PROMO_POSTGRES_URL"] = "postgresql://promo:s3cret@127.0.0.1:1/promo"
    reason = read_skip_reason(world.settings)
    assert "Postgres" in reason and "connection failed" in reason
    assert "s3cret" not in reason


def test_without_its_topics_the_sensor_gives_the_reason_and_starts_nothing(world: World) -> None:
    world.extra_env["PROMO_TOPIC_OUT"] = "no-such-topic"
    reason = read_skip_reason(world.settings)
    assert "Kafka" in reason and "no-such-topic" in reason and "exist" in reason


def test_without_a_ledger_each_tick_requests_a_run_without_a_run_key(world: World) -> None:
    world.execute("DROP SCHEMA promo_ledger CASCADE")
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = [evaluate_tick(world.settings, instance) for _ in range(2)]
    run_keys = [[request.run_key for request in tick.run_requests or []] for tick in ticks]
    assert run_keys == [[None], [None]]


def test_a_lost_lock_of_a_run_that_has_ended_is_removed_from_the_cursor(world: World) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tick = evaluate_tick(world.settings, instance, cursor='{"run_id": "a", "since": 1.0}')
    assert tick.cursor == "null"  # with an empty cursor Dagster would keep the former one
