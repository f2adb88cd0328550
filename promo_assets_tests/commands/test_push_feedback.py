"""The feedback that `push` writes: for whom, and never over what others wrote."""

import pytest
from confluent_kafka import Producer

from promo_assets_tests.support.push import (
    CAMPAIGN,
    INSERT_ROW,
    TRIGGERED_AT,
    notify,
    push,
    read_feedback,
)
from promo_assets_tests.support.world import World, world

__all__ = ["world"]

ID = b"0" * 32
NOTIFICATION = (
    b'{"restaurant_id": "r", "adv_campaign_id": "c", "client_id": "%b", '
    b'"datetime_created": 50, "trigger_datetime_created": %b}'
)


def test_an_answer_that_a_client_has_already_given_stays(world: World) -> None:
    notify(world, "ann", "bob")
    world.execute("UPDATE subscribers_feedback SET feedback = 'mine' WHERE client_id = 'ann'")
    assert "2 notifications, 0 repeats, 1 client answered" in push(world, "--feedback-share", "1")
    assert read_feedback(world)["ann"] == "mine"


def test_a_row_of_another_campaign_or_time_gets_no_feedback(world: World) -> None:
    notify(world, "ann", rows=False)
    other = CAMPAIGN._replace(adv_campaign_id="other")
    for campaign, trigger in (
        (other, TRIGGERED_AT),
        (CAMPAIGN, TRIGGERED_AT + 1),
        (CAMPAIGN._replace(datetime_created=51), TRIGGERED_AT),
    ):
        world.execute(INSERT_ROW, (*campaign, "ann", trigger))
    assert "pushed 1 notification, 0 repeats, 0 clients answered" in push(
        world, "--feedback-share", "1"
    )


def test_about_as_many_clients_answer_as_the_share_says(world: World) -> None:
    clients = [f"client-{number}" for number in range(1_000)]
    notify(world, *clients)
    push(world, "--feedback-share", "0.2")
    answered = {client for client, answer in read_feedback(world).items() if answer}
    assert 150 < len(answered) < 250  # 200, give or take four standard deviations
    assert len({answer for answer in read_feedback(world).values() if answer}) > 3


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (b"{}", {"notification_id": ID}),
        (b"broken", {"notification_id": ID}),
        (b"{}", {}),
        (None, {"notification_id": None}),
        (NOTIFICATION % (b"a\\u0000", b"500"), {"notification_id": ID}),
        (NOTIFICATION % (b"a\\ud800", b"500"), {"notification_id": ID}),
        (b"[" * 100_000, {"notification_id": ID}),
        (NOTIFICATION % (b"a", b"3000000000"), {"notification_id": ID}),
        (NOTIFICATION % (b"a", b"true"), {"notification_id": ID}),
    ],
)
def test_a_message_that_is_no_notification_is_skipped_and_named(
    world: World, value: bytes | None, headers: dict
) -> None:
    producer = Producer({"bootstrap.servers": world.kafka})
    producer.produce(world.topic_out, value, partition=1, headers=headers)
    assert producer.flush(30) == 0
    notify(world, "ann")
    output = push(world, "--feedback-share", "1")
    assert "skipped a message that is no notification: partition 1, offset 0" in output
    assert "pushed 1 notification, 0 repeats, 1 client answered" in output
