"""Kafka or Postgres is killed under load and comes back: the stream recovers by itself.

Afterwards the sinks are as if nothing had happened.
"""

import contextlib
import time

import psutil
import pytest

from promo_assets.local import services as local_services
from promo_assets_tests.support.expectation import campaign
from promo_assets_tests.support.load import Load
from promo_assets_tests.support.stream_process import StreamProcess, kill_listener, wait_for
from promo_assets_tests.support.world import World

NOW = int(time.time())


@pytest.mark.timeout(400)
def test_the_stream_recovers_by_itself_after_kafka_and_postgres_were_killed_under_load(
    world: World, services
) -> None:
    load = Load(world, seed=5)
    load.send_some(10)
    stream = StreamProcess(world)
    try:
        wait_for(lambda: world.rows(), "the first rows", 90)
        kafka_port = int(services.kafka.rpartition(":")[2])
        postgres_port = int(services.postgres_url.rpartition(":")[2].partition("/")[0])
        for port in (kafka_port, postgres_port):
            load.send_some(30)
            handled = len(world.rows())
            kill_listener(port)
            local_services.up(services.settings, print)
            load.send_some(5)
            wait_for(
                lambda handled=handled: len(world.rows()) > handled, "rows after the restart", 120
            )
        load.send_some(2)
        wait_for(
            lambda: load.problems() == [] or stream.process.poll() is not None,
            "everything in both sinks",
            120,
        )
        assert stream.process.poll() is None, stream.tail()
    finally:
        stream.end()
    assert load.problems() == []


@pytest.mark.timeout(400)
def test_a_campaign_to_a_million_followers_is_delivered_with_a_driver_of_one_gib(
    world: World,
) -> None:
    world.execute(
        "INSERT INTO subscribers_restaurants (client_id, restaurant_id)"
        " SELECT 'client-' || n, 'famous' FROM generate_series(1, 1000000) n"
    )
    everyone = campaign("famous", "everyone", NOW - 100, NOW + 86_400)
    world.send(everyone)
    stream = StreamProcess(
        world, "--until-caught-up", env={"JAVA_TOOL_OPTIONS": "", "SPARK_SUBMIT_OPTS": ""}
    )  # Java as in production
    try:
        wait_for(
            lambda: "-Xmx1g" in _read_arguments(stream), "the stream's JVM with a heap of 1 GiB", 60
        )
        assert "-XX:+UseSerialGC" not in _read_arguments(stream)
        assert stream.process.wait(300) == 0, stream.tail()
    finally:
        stream.end()
    count_rows = """SELECT count(*), count(DISTINCT client_id),
        min(adv_campaign_id), max(adv_campaign_id) FROM subscribers_feedback"""
    assert world.execute(count_rows) == [(1_000_000, 1_000_000, "everyone", "everyone")]
    keys = [message.key() for message in world.messages()]
    assert (len(keys), len(set(keys))) == (1_000_000, 1_000_000)


def _read_arguments(stream: StreamProcess) -> list[str]:
    """Return the arguments of all processes that the stream's process has started."""
    arguments: list[str] = []
    for child in psutil.Process(stream.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            arguments += child.cmdline()
    return arguments
