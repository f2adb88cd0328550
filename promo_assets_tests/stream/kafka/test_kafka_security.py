"""A restarting broker and a revoked permission, while the stream runs on a secured Kafka."""

import time

import pytest
from confluent_kafka.admin import AclBinding

from promo_assets_tests.support.expectation import problems
from promo_assets_tests.support.secure_kafka import SecureKafka
from promo_assets_tests.support.secure_world import (
    ACLS,
    FOLLOWERS,
    describe_permission,
    due,
    get_ledger_acl,
    kafka,
    world,
)
from promo_assets_tests.support.stream_process import StreamProcess, wait_for
from promo_assets_tests.support.world import World

__all__ = ["kafka", "world"]


@pytest.mark.whole
def test_the_stream_waits_for_a_restarting_broker_and_ends_when_a_permission_is_revoked(
    world: World, kafka: SecureKafka
) -> None:
    acls = {
        (acl.name, acl.operation.name): get_ledger_acl(world, acl)
        for acl in ACLS
        if acl.principal == "User:promo_stream"
    }
    world.favour(FOLLOWERS)
    campaigns = due("before", "after the restart", "without the output", "without the input")
    world.send(campaigns[0])
    stream = StreamProcess(world)
    try:
        wait_for(lambda: len(world.messages()) == 100, "the first notifications", 90)
        kafka.restart()
        world.send(campaigns[1])
        wait_for(lambda: len(world.messages()) == 200, "notifications after the restart", 90)
        check_revoked(world, kafka, stream, acls["promo_notifications", "WRITE"], campaigns[2])
    finally:
        stream.end()
    stream = StreamProcess(world)
    try:
        wait_for(
            lambda: len(world.messages()) == 300,
            "the notifications that the stream before was not allowed to publish",
            90,
        )
        check_revoked(world, kafka, stream, acls["promo_campaigns", "READ"], campaigns[3])
    finally:
        stream.end()
    assert problems(world, campaigns[:3], [FOLLOWERS]) == []


def check_revoked(
    world: World, kafka: SecureKafka, stream: StreamProcess, acl: AclBinding, sent: dict
) -> None:
    kafka.revoke(acl)
    try:
        world.send(sent)
        sent_at = time.monotonic()
        assert stream.process.wait(60) == 1, stream.tail()
        assert time.monotonic() - sent_at < 30  # transient errors are retried for 120 s
    finally:
        kafka.grant(acl)
    message = stream.log.read_text().splitlines()[-1]
    assert message.startswith("promo-assets: ")
    assert describe_permission(acl) in message
