"""Topics before a start: checks change nothing, only the start of the stream raises a limit."""

from dataclasses import replace

import dagster as dg
import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from promo_assets.definitions import build_definitions
from promo_assets.stream.errors import StreamError
from promo_assets.stream.kafka.topic_limits import OVERHEAD_BYTES, raise_topic_limits
from promo_assets.stream.kafka.topics import check_topics
from promo_assets.stream.pipeline.run import _make_stream_error
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World

LIMIT = "max.message.bytes"
RETENTION = "retention.ms"


def set_config(world: World, topic: str, name: str, value: int) -> None:
    entry = ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient(world.kafka_client)
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result()


def read_config(world: World, topic: str, name: str) -> int:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient(world.kafka_client)  # kept until its answer has arrived
    (answer,) = admin.describe_configs([resource]).values()
    return int(answer.result()[name].value)


def read_limits(world: World) -> dict[str, int]:
    """Return the limit of each topic in bytes.

    The broker applies changes in order and with a delay. So this makes one more change and waits
    for it: then all earlier changes are visible, too.
    """
    names = (world.topic_in, world.topic_out, world.topic_dead_letters)
    retention_ms = read_config(world, world.topic_in, RETENTION) + 1
    set_config(world, world.topic_in, RETENTION, retention_ms)
    wait_for(
        lambda: read_config(world, world.topic_in, RETENTION) == retention_ms,
        "a changed configuration",
    )
    return {name: read_config(world, name, LIMIT) for name in names}


def assert_raised(world: World, before: dict[str, int]) -> None:
    """The topics that the stream writes take more than the input topic, which is as it was."""
    needed = before[world.topic_in] + OVERHEAD_BYTES
    raised = {world.topic_out: needed, world.topic_dead_letters: needed}
    assert read_limits(world) == before | raised


def test_check_topics_changes_no_topic(world: World) -> None:
    before = read_limits(world)
    assert len(set(before.values())) == 1, "the limits are equal, so a start would raise two"
    topics = check_topics(world.settings)
    assert topics.out_partitions == 3
    assert read_limits(world) == before


def test_the_sensor_asks_for_a_run_and_changes_no_topic(world: World) -> None:
    before = read_limits(world)
    with dg.DagsterInstance.ephemeral() as instance:
        definitions = build_definitions(world.settings)
        context = dg.build_sensor_context(
            instance=instance, definitions=definitions, resources={"settings": world.settings}
        )
        result = definitions.resolve_sensor_def("promo_stream_sensor").evaluate_tick(context)
    assert result.run_requests, "the sensor has checked the topics, as it does before each run"
    assert read_limits(world) == before


def test_explaining_a_failed_authorization_changes_no_topic(world: World) -> None:
    before = read_limits(world)
    refused = Exception(
        "org.apache.kafka.common.errors.TopicAuthorizationException: Not authorized for topics"
    )
    _make_stream_error(world.settings, refused)
    assert read_limits(world) == before


def test_the_start_of_the_stream_raises_the_limits_of_the_topics_that_it_writes(
    world: World, catch_up
) -> None:
    before = read_limits(world)
    catch_up(world)
    assert_raised(world, before)


def test_a_limit_that_is_large_enough_is_left_alone(world: World) -> None:
    large = 5_000_000
    set_config(world, world.topic_out, LIMIT, large)
    before = read_limits(world)
    assert before[world.topic_out] == large
    for _ in range(2):
        raise_topic_limits(world.settings)
        needed = before[world.topic_in] + OVERHEAD_BYTES
        assert read_limits(world) == before | {world.topic_dead_letters: needed}


def test_a_missing_topic_is_named_with_the_command_that_creates_it(world: World) -> None:
    other = replace(world, topic_out=f"{world.topic_out}-missing")
    with pytest.raises(StreamError, match=f"{other.topic_out}.*promo-assets up"):
        check_topics(other.settings)
