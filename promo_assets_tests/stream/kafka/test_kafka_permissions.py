"""The stream and the commands on a Kafka that only speaks SASL_SSL with SCRAM-SHA-512.

Each user has the documented permissions and no others.
"""

import contextlib
import json
import re
import time
import uuid
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AclBinding
from psycopg.errors import InsufficientPrivilege

from promo_assets.stream.kafka.progress import fetch_committed
from promo_assets_tests.support.authority import Authority
from promo_assets_tests.support.command_line import lines, one_line, run
from promo_assets_tests.support.expectation import problems
from promo_assets_tests.support.secure_kafka import DOCUMENT, SecureKafka
from promo_assets_tests.support.secure_world import (
    FOLLOWERS,
    describe_permission,
    due,
    get_ledger_acl,
    kafka,
    list_acl_params,
    read_ledger_id,
    world,
)
from promo_assets_tests.support.stream_process import StreamProcess
from promo_assets_tests.support.world import World

__all__ = ["kafka", "world"]

PROMPT_S = 15  # the commands themselves wait 10 s for an unreachable Kafka


def catch_up(world: World) -> None:
    stream = StreamProcess(world, "--until-caught-up")
    try:
        assert stream.process.wait(120) == 0, stream.tail()
    finally:
        stream.end()
    assert world.extra_env["PROMO_KAFKA_PASSWORD"] not in stream.log.read_text()


def test_every_user_can_do_its_part_with_the_documented_permissions(
    world: World, kafka: SecureKafka
) -> None:
    applied = run({"PROMO_POSTGRES_URL": world.postgres_url}, "ledger", "apply")
    assert applied.stdout.decode().strip() == read_ledger_id(world)
    world.favour(FOLLOWERS)
    sender, reader, operator = (
        {**world.env, **kafka.environment(user)}
        for user in ("promo_sender", "promo_reader", "promo_operator")
    )
    campaigns = due(*(f"promo-{number}" for number in range(10)))
    done = run(sender, "campaigns", "send", input=lines(*campaigns))
    assert done.returncode == 0, done.stderr
    assert run(sender, "campaigns", "send", "--raw", input=b"broken\n").returncode == 0
    catch_up(world)
    assert problems(world, campaigns, [FOLLOWERS]) == []
    assert len(world.rows()) == 1_000
    assert [letter.value() for letter in world.dead_letters()] == [b"broken"]

    watched = run(reader, "notifications", "watch", "--count", "1000", "--timeout", "30")
    assert watched.returncode == 0, watched.stderr
    values = map(json.loads, watched.stdout.splitlines())
    shown = {(value["client_id"], value["adv_campaign_id"]) for value in values}
    assert shown == {(row["client_id"], row["adv_campaign_id"]) for row in world.rows()}
    for env in (reader, operator):
        assert [
            json.loads(line)["value"]
            for line in run(env, "dead-letters", "list").stdout.splitlines()
        ] == ["broken"]
    assert b"sent 1 dead letter to" in run(operator, "dead-letters", "replay").stderr
    assert b"sent 0 dead letters to" in run(operator, "dead-letters", "replay").stderr
    assert run(reader, "status").stdout.startswith(f"kafka {kafka.address}\n".encode())
    assert sum(message.value() == b"broken" for message in world.messages(world.topic_in)) == 2


def test_the_streams_user_cannot_fence_the_commands_producers_nor_use_their_groups(
    world: World, kafka: SecureKafka
) -> None:
    conf = {"bootstrap.servers": kafka.address, **kafka.login("promo_stream")}
    ((own,),) = world.execute("SELECT 'promo-' || ledger_id FROM promo_ledger.stream")
    others = ("promo-assets-1", "promo-assets-replay-1", f"promo-{uuid.uuid4()}-shard-0")
    for name, allowed in ((f"{own}-shard-0", True), *((other, False) for other in others)):
        producer = Producer(conf | {"transactional.id": name, "log_level": 0})
        with (
            contextlib.nullcontext()
            if allowed
            else pytest.raises(KafkaException, match="TRANSACTIONAL_ID_AUTHORIZATION_FAILED")
        ):
            producer.init_transactions(PROMPT_S)
    for group in ("promo-assets-push", "promo-assets-replay-1"):
        with (
            closing(Consumer(conf | {"group.id": group})) as consumer,
            pytest.raises(KafkaException, match="GROUP_AUTHORIZATION_FAILED"),
        ):
            fetch_committed(consumer, [TopicPartition(world.topic_out, 0)])


def test_the_push_service_works_with_the_documented_permissions_in_kafka_and_postgres(
    world: World, kafka: SecureKafka
) -> None:
    world.favour({(f"client-{number}", "r-0") for number in range(100)})
    world.send(*due("a"))
    catch_up(world)
    (statements,) = re.findall(
        r'-c "(CREATE ROLE promo_push.*)" -c "(GRANT.*)"$', DOCUMENT.read_text(), re.MULTILINE
    )
    try:
        for statement in (*statements, "ALTER ROLE promo_push PASSWORD 'secret'"):
            world.execute(statement)
        owner = urlsplit(world.postgres_url)
        url = owner._replace(netloc=f"promo_push:secret@{owner.hostname}:{owner.port}").geturl()
        env = {**world.env, **kafka.environment("promo_push"), "PROMO_POSTGRES_URL": url}
        done = run(env, "push", "--until-caught-up", "--feedback-share", "1")
        assert b"pushed 100 notifications, 0 repeats, 100 clients answered" in done.stderr, (
            done.stderr
        )
        assert b"pushed 0 notifications" in run(env, "push", "--until-caught-up").stderr
        assert world.execute(
            "SELECT count(*) FROM subscribers_feedback WHERE feedback IS NOT NULL"
        ) == [(100,)]
        for statement in (
            "DELETE FROM subscribers_feedback",
            "UPDATE subscribers_feedback SET client_id = ''",
            "TABLE promo_ledger.campaigns",
        ):
            with psycopg.connect(url) as connection, pytest.raises(InsufficientPrivilege):
                connection.execute(statement)
    finally:
        world.execute("DROP OWNED BY promo_push; DROP ROLE promo_push")


@pytest.mark.parametrize("acl", list_acl_params("promo_stream"))
def test_the_stream_names_a_missing_permission_and_does_not_start(
    world: World, kafka: SecureKafka, acl: AclBinding
) -> None:
    acl = get_ledger_acl(world, acl)
    kafka.revoke(acl)
    try:
        began = time.monotonic()
        message = one_line(run(world.env, "stream", "run"), 1)
        assert time.monotonic() - began < PROMPT_S
    finally:
        kafka.grant(acl)
    assert message.startswith(f"User promo_stream lacks {describe_permission(acl)}")
    assert f"on Kafka at {kafka.address}" in message
    assert "docs/security.md" in message


@pytest.mark.parametrize(
    ("user", "command", "acl"),
    [
        pytest.param(user, command, acl.values[0], id=f"{command}: {acl.id}")
        for user, command, kinds in (
            ("promo_sender", "campaigns send", None),
            ("promo_reader", "notifications watch --timeout 5", "promo_notifications"),
            ("promo_reader", "dead-letters list", "promo_dead_letters"),
            ("promo_operator", "dead-letters replay", None),
            ("promo_push", "push --until-caught-up", None),
        )
        for acl in list_acl_params(user)
        if kinds in (None, acl.values[0].name)
    ],
)
def test_a_command_names_a_missing_permission(
    world: World, kafka: SecureKafka, user: str, command: str, acl: AclBinding
) -> None:
    world.send(b"letter", topic=world.topic_dead_letters)
    kafka.revoke(acl)
    try:
        began = time.monotonic()
        message = one_line(
            run({**world.env, **kafka.environment(user)}, *command.split(), input=lines(*due("a"))),
            1,
        )
        assert time.monotonic() - began < PROMPT_S
    finally:
        kafka.grant(acl)
    assert message.startswith(f"User {user} lacks {describe_permission(acl)}")
    assert world.messages(world.topic_in) == []


@pytest.mark.parametrize(
    "command",
    [
        "stream run",
        "campaigns send",
        "notifications watch",
        "dead-letters list",
        "dead-letters replay",
        "up",
    ],
)
def test_a_wrong_password_or_authority_is_reported_in_one_line_that_names_the_setting(
    world: World, kafka: SecureKafka, tmp_path: Path, command: str
) -> None:
    wrong_password = {"PROMO_KAFKA_PASSWORD": "not-the-password"}
    wrong_authority = {"PROMO_KAFKA_CA_FILE": str(Authority(tmp_path, "other").file)}
    login = ("login of user promo_stream", "PROMO_KAFKA_USERNAME", "PROMO_KAFKA_PASSWORD")
    tls = ("TLS", "PROMO_KAFKA_CA_FILE", "certificate")
    for wrong, names in ((wrong_password, login), (wrong_authority, tls)):
        began = time.monotonic()
        done = run({**world.env, **wrong}, *command.split(), input=lines(*due("a")))
        assert time.monotonic() - began < PROMPT_S
        message = one_line(done, 1)
        assert all(name in message for name in (f"Kafka at {kafka.address}", *names)), message
        for secret in (world.extra_env["PROMO_KAFKA_PASSWORD"], "not-the-password"):
            assert secret.encode() not in done.stdout + done.stderr
