"""`push`: each notification is pushed once, whatever ends it and however many run at once."""

import signal
import subprocess
import threading
import time

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation

from promo_assets.commands.kafka_client import end_offsets, find_topic
from promo_assets.commands.push import CONSUMER, PushService
from promo_assets_tests.support.push import PUSH, notify, push, read_feedback
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World, world

__all__ = ["world"]

# A transaction that has written feedback waits, before its commit, for a lock that the test holds.
BLOCK_FEEDBACK = """
CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql
  AS 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';
CREATE TRIGGER held AFTER UPDATE ON subscribers_feedback EXECUTE FUNCTION held()"""


def test_each_notification_is_pushed_once_and_a_client_answers_once(world: World) -> None:
    notify(world, "ann", "bob")
    assert "pushed 2 notifications, 0 repeats, 2 clients answered" in push(
        world, "--feedback-share", "1"
    )
    answers = read_feedback(world)
    assert all(answers.values())
    notify(world, "eve")
    assert "pushed 1 notification, 0 repeats, 1 client answered" in push(
        world, "--feedback-share", "1"
    )
    assert read_feedback(world) | answers == read_feedback(world)


def test_a_repeated_message_is_known_by_its_id(world: World) -> None:
    notify(world, "ann")
    notify(world, "ann", rows=False)
    assert "pushed 1 notification, 1 repeat, 1 client answered" in push(
        world, "--feedback-share", "1"
    )


def test_a_message_of_an_aborted_transaction_is_not_pushed(world: World) -> None:
    producer = Producer(
        {"bootstrap.servers": world.kafka, "transactional.id": f"{world.topic_out}-taken-back"}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(world.topic_out, b"{}", headers={"notification_id": b"0" * 32})
    producer.flush(30)
    producer.abort_transaction(30)
    notify(world, "ann")
    output = push(world, "--feedback-share", "0")
    assert "pushed 1 notification" in output
    assert "skipped a message" not in output


def test_killed_between_its_work_and_its_commit_it_starts_again_and_writes_nothing_else(
    world: World,
) -> None:
    notify(world, "ann", "bob", "eve")
    world.execute(BLOCK_FEEDBACK)
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
    wait_for(lambda: all(read_feedback(world).values()), "its answers in Postgres", 30)
    answers = read_feedback(world)
    world.execute("UPDATE subscribers_feedback SET feedback = 'mine' WHERE client_id = 'bob'")
    assert "pushed 3 notifications, 0 repeats, 0 clients answered" in push(
        world, "--feedback-share", "1"
    )
    assert read_feedback(world) == answers | {"bob": "mine"}
    assert "pushed 0 notifications" in push(world, "--feedback-share", "1")


@pytest.mark.whole
def test_a_member_whose_work_takes_too_long_for_kafka_joins_its_group_again(
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


def test_a_new_group_reads_from_its_start_offsets_and_leaves_other_groups_alone(
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
    assert {client[:3] for client, answer in read_feedback(world).items() if answer} == {"new"}
    assert "pushed 40 notifications, 0 repeats, 20 clients answered" in push(
        world, "--feedback-share", "1"
    )


def test_a_second_member_takes_partitions_over_and_no_client_is_left_out(world: World) -> None:
    notify(world, *(f"client-{number}" for number in range(400)))
    first = subprocess.Popen(
        [*PUSH, "--rate", "100", "--feedback-share", "1"],
        env=world.env,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: any(read_feedback(world).values()), "the first one's first answers", 30)
        assert " answered" in push(world, "--feedback-share", "1")
        wait_for(lambda: all(read_feedback(world).values()), "everybody's answer", 60)
    finally:
        first.send_signal(signal.SIGTERM)
        _, output = first.communicate(timeout=30)
    assert (first.returncode, " answered" in output) == (130, True), output


def test_it_pushes_no_faster_than_the_rate(world: World) -> None:
    notify(world, *(f"client-{number}" for number in range(30)))
    started = time.monotonic()
    assert "pushed 30 notifications" in push(world, "--rate", "5")
    assert time.monotonic() - started >= 30 / 5


@pytest.mark.parametrize(("argument", "value"), [("--rate", "0"), ("--feedback-share", "1.1")])
def test_a_wrong_argument_is_one_line(world: World, argument: str, value: str) -> None:
    assert push(world, argument, value, status=2).strip().count("\n") == 0
