"""The stand-in for the push service: each notification once, feedback where the client answered, nothing of others overwritten."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation

from promo_assets.commands.kafka import end_offsets, find_topic
from promo_assets.commands.push import CONSUMER, PushService
from promo_assets.stream.messages import Campaign, NotificationTemplate, client_json
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World, world

__all__ = ["world"]
CAMPAIGN = Campaign("r", "c", "Two for one", "Ann", "ann@example.com", 100, 900, 50)
TRIGGERED = 500
ID = b"0" * 32
ODD = b'{"restaurant_id": "r", "adv_campaign_id": "c", "client_id": "%b", "datetime_created": 50, "trigger_datetime_created": %b}'
# Whoever writes feedback waits, once it is written and not yet for all to see, for the lock that the test holds.
HELD = """
CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';
CREATE TRIGGER held AFTER UPDATE ON subscribers_feedback EXECUTE FUNCTION held()"""
PUSH = [str(Path(sys.executable).with_name("promo-assets")), "push"]


def push(world: World, *arguments: str, status: int = 0) -> str:
    """What it says."""
    done = subprocess.run(
        [*PUSH, "--until-caught-up", *arguments],
        env=world.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    return done.stderr


def notify(world: World, *clients: str, trigger: int = TRIGGERED, rows: bool = True) -> None:
    """Rows and messages as the stream leaves them."""
    producer = Producer({"bootstrap.servers": world.kafka})
    template = NotificationTemplate(CAMPAIGN, trigger)
    for client in clients:
        encoded = client_json(client)
        producer.produce(
            world.topic_out,
            template.value(encoded),
            client.encode(),
            headers={"notification_id": template.notification_id(encoded)},
        )
    assert producer.flush(30) == 0
    if rows:
        values = ", ".join(["%s"] * 10)
        for client in clients:
            world.execute(
                f"INSERT INTO subscribers_feedback VALUES (DEFAULT, {values}, NULL)",
                (*CAMPAIGN, client, trigger),
            )


def feedback(world: World) -> dict[str, str | None]:
    return dict(world.execute("SELECT client_id, feedback FROM subscribers_feedback"))


def test_each_notification_is_pushed_once_and_a_client_answers_once(world: World) -> None:
    notify(world, "ann", "bob")
    assert "pushed 2 notifications, 0 repeats, 2 clients answered" in push(
        world, "--feedback-share", "1"
    )
    answers = feedback(world)
    assert all(answers.values())
    notify(world, "eve")
    assert "pushed 1 notification, 0 repeats, 1 client answered" in push(
        world, "--feedback-share", "1"
    )
    assert feedback(world) | answers == feedback(world)


def test_a_repeated_message_is_known_by_its_id(world: World) -> None:
    notify(world, "ann")
    notify(world, "ann", rows=False)
    assert "pushed 1 notification, 1 repeat, 1 client answered" in push(
        world, "--feedback-share", "1"
    )


def test_what_a_client_has_answered_already_stays(world: World) -> None:
    notify(world, "ann", "bob")
    world.execute("UPDATE subscribers_feedback SET feedback = 'mine' WHERE client_id = 'ann'")
    assert "2 notifications, 0 repeats, 1 client answered" in push(world, "--feedback-share", "1")
    assert feedback(world)["ann"] == "mine"


def test_a_pair_of_another_campaign_or_time_is_not_taken_for_it(world: World) -> None:
    notify(world, "ann", rows=False)
    other = CAMPAIGN._replace(adv_campaign_id="other")
    values = ", ".join(["%s"] * 10)
    for campaign, trigger in (
        (other, TRIGGERED),
        (CAMPAIGN, TRIGGERED + 1),
        (CAMPAIGN._replace(datetime_created=51), TRIGGERED),
    ):
        world.execute(
            f"INSERT INTO subscribers_feedback VALUES (DEFAULT, {values}, NULL)",
            (*campaign, "ann", trigger),
        )
    assert "pushed 1 notification, 0 repeats, 0 clients answered" in push(
        world, "--feedback-share", "1"
    )


def test_the_share_of_clients_that_answer_is_about_what_was_asked_for(world: World) -> None:
    clients = [f"client-{number}" for number in range(1_000)]
    notify(world, *clients)
    push(world, "--feedback-share", "0.2")
    answered = {client for client, answer in feedback(world).items() if answer}
    assert 150 < len(answered) < 250  # 200, give or take four standard deviations
    assert len({answer for answer in feedback(world).values() if answer}) > 3


def test_what_was_taken_back_is_not_pushed(world: World) -> None:
    producer = Producer(
        {"bootstrap.servers": world.kafka, "transactional.id": f"{world.topic_out}-taken-back"}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(world.topic_out, b"{}", headers={"notification_id": b"0" * 32})
    producer.flush(30)
    producer.abort_transaction(30)
    notify(world, "ann")
    told = push(world, "--feedback-share", "0")
    assert "pushed 1 notification" in told
    assert "no notification" not in told


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (b"{}", {"notification_id": ID}),
        (b"broken", {"notification_id": ID}),
        (b"{}", {}),
        (None, {"notification_id": None}),
        (ODD % (b"a\\u0000", b"500"), {"notification_id": ID}),
        (ODD % (b"a\\ud800", b"500"), {"notification_id": ID}),
        (b"[" * 100_000, {"notification_id": ID}),
        (ODD % (b"a", b"3000000000"), {"notification_id": ID}),
        (ODD % (b"a", b"true"), {"notification_id": ID}),
    ],
)
def test_what_is_no_notification_is_told_and_passed_over(
    world: World, value: bytes | None, headers: dict
) -> None:
    producer = Producer({"bootstrap.servers": world.kafka})
    producer.produce(world.topic_out, value, partition=1, headers=headers)
    assert producer.flush(30) == 0
    notify(world, "ann")
    told = push(world, "--feedback-share", "1")
    assert "no notification: partition 1, offset 0" in told
    assert "pushed 1 notification, 0 repeats, 1 client answered" in told


def test_one_that_is_killed_between_its_work_and_its_commit_is_begun_again_and_writes_nothing_else(
    world: World,
) -> None:
    notify(world, "ann", "bob", "eve")
    world.execute(HELD)
    with psycopg.connect(world.postgres_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(1)")
        with subprocess.Popen(
            [*PUSH, "--feedback-share", "1"], env=world.env, stderr=subprocess.DEVNULL
        ) as killed:
            try:
                wait_for(
                    lambda: world.execute(
                        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                    ),
                    "its answers",
                    60,
                )
            finally:
                killed.kill()
    wait_for(lambda: all(feedback(world).values()), "its answers in Postgres", 30)
    answers = feedback(world)
    world.execute("UPDATE subscribers_feedback SET feedback = 'mine' WHERE client_id = 'bob'")
    assert "pushed 3 notifications, 0 repeats, 0 clients answered" in push(
        world, "--feedback-share", "1"
    )
    assert feedback(world) == answers | {"bob": "mine"}
    assert "pushed 0 notifications" in push(world, "--feedback-share", "1")


@pytest.mark.whole
def test_one_whose_work_takes_too_long_for_kafka_joins_its_group_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two notifications of eight seconds each, where a member must come back within six."""
    monkeypatch.setitem(CONSUMER, "session.timeout.ms", "6000")
    monkeypatch.setitem(CONSUMER, "max.poll.interval.ms", "6000")
    notify(world, "ann", "bob")
    topic = find_topic(world.settings, world.topic_out, AclOperation.READ)
    service = PushService(world.settings, topic, 1 / 8, 1)
    service.run(threading.Event(), end_offsets(world.settings, topic))
    assert (service.pushed, service.answered) == (2, 2)
    assert service.repeated > 0, "its first commit came too late"
    assert "pushed 0 notifications" in push(world)


def test_another_group_reads_from_where_it_is_told_and_leaves_the_others_place_alone(
    world: World,
) -> None:
    notify(world, *(f"old-{number}" for number in range(20)))
    topic = find_topic(world.settings, world.topic_out, AclOperation.READ)
    start = end_offsets(world.settings, topic)
    notify(world, *(f"new-{number}" for number in range(20)))
    service = PushService(
        world.settings, topic, None, 1, group=f"{world.topic_out}-demo", start=start, campaigns="c"
    )
    service.run(threading.Event(), end_offsets(world.settings, topic))
    assert service.pushed == 20
    assert {client[:3] for client, answer in feedback(world).items() if answer} == {"new"}
    assert "pushed 40 notifications, 0 repeats, 20 clients answered" in push(
        world, "--feedback-share", "1"
    )


def test_a_second_one_takes_partitions_over_and_nobody_is_left_out(world: World) -> None:
    notify(world, *(f"client-{number}" for number in range(400)))
    first = subprocess.Popen(
        [*PUSH, "--rate", "100", "--feedback-share", "1"],
        env=world.env,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: any(feedback(world).values()), "the first one's first answers", 30)
        assert " answered" in push(world, "--feedback-share", "1")
        wait_for(lambda: all(feedback(world).values()), "everybody's answer", 60)
    finally:
        first.send_signal(signal.SIGTERM)
        _, told = first.communicate(timeout=30)
    assert (first.returncode, " answered" in told) == (130, True), told


def test_a_rate_is_kept(world: World) -> None:
    notify(world, *(f"client-{number}" for number in range(30)))
    started = time.monotonic()
    assert "pushed 30 notifications" in push(world, "--rate", "5")
    assert time.monotonic() - started >= 30 / 5


@pytest.mark.parametrize(("argument", "value"), [("--rate", "0"), ("--feedback-share", "1.1")])
def test_a_wrong_argument_is_one_line(world: World, argument: str, value: str) -> None:
    assert push(world, argument, value, status=2).strip().count("\n") == 0
