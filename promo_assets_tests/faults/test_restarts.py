"""Kafka or Postgres dies under load and comes back: the stream goes on by itself, and the sinks are as if nothing had been."""

import contextlib

import psutil
import pytest

from promo_assets.local import services as local_services
from promo_assets_tests.faults.test_kill import NOW, Load
from promo_assets_tests.support.expectation import campaign
from promo_assets_tests.support.stream_process import StreamProcess, kill_all, wait_for
from promo_assets_tests.support.world import World


def kill_listener(port: int) -> None:
    """kill -9 of the service that listens on a port, and of its children."""
    found = [
        c.pid
        for c in psutil.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port
    ]
    service = psutil.Process(found[0])
    kill_all([service, *service.children(recursive=True)])


@pytest.mark.timeout(400)
def test_kafka_and_postgres_killed_under_load_the_stream_recovers_by_itself(
    world: World, services
) -> None:
    load = Load(world, seed=5)
    load.send_some(10)
    stream = StreamProcess(world)
    try:
        wait_for(lambda: world.rows(), "the first rows", 90)
        for port in (
            int(services.kafka.rpartition(":")[2]),
            int(services.postgres_url.rpartition(":")[2].partition("/")[0]),
        ):
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
def test_one_campaign_to_a_million_followers_passes_with_the_driver_at_one_gib(
    world: World,
) -> None:
    world.execute(
        "INSERT INTO subscribers_restaurants (client_id, restaurant_id) SELECT 'client-' || n, 'famous' FROM generate_series(1, 1000000) n"
    )
    everyone = campaign("famous", "everyone", NOW - 100, NOW + 86_400)
    world.send(everyone)
    stream = StreamProcess(world, "--until-caught-up", env={"JAVA_TOOL_OPTIONS": ""})
    try:
        wait_for(
            lambda: "-Xmx1g" in _java_options(stream), "the stream's JVM with a heap of 1 GiB", 60
        )
        assert stream.process.wait(300) == 0, stream.tail()
    finally:
        stream.end()
    counted = "SELECT count(*), count(DISTINCT client_id), min(adv_campaign_id), max(adv_campaign_id) FROM subscribers_feedback"
    assert world.execute(counted) == [(1_000_000, 1_000_000, "everyone", "everyone")]
    keys = [message.key() for message in world.messages()]
    assert (len(keys), len(set(keys))) == (1_000_000, 1_000_000)


def _java_options(stream: StreamProcess) -> list[str]:
    """The arguments of all processes below the stream's own."""
    options: list[str] = []
    for child in psutil.Process(stream.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            options += child.cmdline()
    return options
