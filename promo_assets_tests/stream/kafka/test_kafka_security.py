"""The stream and the commands on a Kafka that only speaks SASL_SSL with SCRAM-SHA-512, each user with the documented rights and no more."""

import contextlib
import json
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AclBinding, AclBindingFilter, ResourceType
from psycopg.errors import InsufficientPrivilege

from promo_assets.stream.kafka.producer import committed
from promo_assets_tests.commands.test_cli import lines, one_line, run
from promo_assets_tests.support.authority import Authority
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.secure_kafka import DOCUMENT, SecureKafka, documented_acls
from promo_assets_tests.support.stream_process import StreamProcess, wait_for
from promo_assets_tests.support.world import World, database

ID = "LEDGER"  # stands for the ledger's, which each test has anew
ACLS = documented_acls(ID)
TOPICS = ("promo_campaigns", "promo_notifications", "promo_dead_letters")
NOW = int(time.time())
FOLLOWERS = {(f"client-{number}", f"r-{number % 5}") for number in range(500)}
PROMPT_S = 15  # the commands themselves give an unreachable Kafka 10 s


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    users = {acl.principal.removeprefix("User:") for acl in ACLS}
    with SecureKafka(tmp_path_factory.mktemp("secure-kafka"), sorted(users)) as kafka:
        for acl in ACLS:
            if ID not in acl.name:
                grant(kafka, acl)
        yield kafka


@pytest.fixture
def world(kafka: SecureKafka, services, tmp_path: Path) -> Iterator[World]:
    """The topics have the documented names, so each test has them anew."""
    with database(services.postgres_url, f"w{uuid.uuid4().hex[:10]}") as url:
        made = World(
            kafka.address,
            url,
            tmp_path,
            *TOPICS,
            extra_env=kafka.environment("promo_stream"),
            kafka_login=kafka.login(),
        )
        made.create_topics(*TOPICS)
        ledger_id = run({"PROMO_POSTGRES_URL": url}, "ledger", "apply").stdout.decode().strip()
        of_ledger = [acl for acl in documented_acls(ledger_id) if acl not in ACLS]
        for acl in of_ledger:
            grant(kafka, acl)
        yield made
        for acl in of_ledger:
            revoke(kafka, acl)
        made.delete_topics(*TOPICS)


def of_this(world: World, acl: AclBinding) -> AclBinding:
    """The ACL with the ledger's id where it stands."""
    ((ledger_id,),) = world.execute("SELECT ledger_id::text FROM promo_ledger.stream")
    return documented_acls(ledger_id)[ACLS.index(acl)]


def revoke(kafka: SecureKafka, acl: AclBinding) -> None:
    wanted = (
        acl.restype,
        acl.name,
        acl.resource_pattern_type,
        acl.principal,
        acl.host,
        acl.operation,
        acl.permission_type,
    )
    (revoked,) = kafka.admin.delete_acls([AclBindingFilter(*wanted)]).values()
    assert revoked.result() == [acl]


def grant(kafka: SecureKafka, acl: AclBinding) -> None:
    (done,) = kafka.admin.create_acls([acl]).values()
    done.result()


def right(acl: AclBinding) -> str:
    kind = {ResourceType.TRANSACTIONAL_ID: "transactional id"}.get(
        acl.restype, acl.restype.name.lower()
    )
    return f"{acl.operation.name} on {kind} {acl.name}"


def of(user: str) -> list:
    return [pytest.param(acl, id=right(acl)) for acl in ACLS if acl.principal == f"User:{user}"]


def due(*names: str) -> list[dict]:
    return [
        campaign(f"r-{number % 5}", name, NOW - 100, NOW + 86_400)
        for number, name in enumerate(names)
    ]


def catch_up(world: World) -> None:
    stream = StreamProcess(world, "--until-caught-up")
    try:
        assert stream.process.wait(120) == 0, stream.tail()
    finally:
        stream.end()
    assert world.extra_env["PROMO_KAFKA_PASSWORD"] not in stream.log.read_text()


def test_every_user_does_its_part_with_the_documented_rights(
    world: World, kafka: SecureKafka
) -> None:
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
    shown = {
        (value["client_id"], value["adv_campaign_id"])
        for value in map(json.loads, watched.stdout.splitlines())
    }
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


def test_the_streams_user_cannot_end_what_commands_send_nor_move_their_groups(
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
            committed(consumer, [TopicPartition(world.topic_out, 0)])


def test_the_push_service_does_its_part_with_the_documented_rights_in_kafka_and_in_postgres(
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


@pytest.mark.parametrize("acl", of("promo_stream"))
def test_without_one_of_its_rights_the_stream_says_which_and_does_not_start(
    world: World, kafka: SecureKafka, acl: AclBinding
) -> None:
    acl = of_this(world, acl)
    revoke(kafka, acl)
    try:
        began = time.monotonic()
        told = one_line(run(world.env, "stream", "run"), 1)
        assert time.monotonic() - began < PROMPT_S
    finally:
        grant(kafka, acl)
    assert told.startswith(f"user promo_stream lacks {right(acl)}")
    assert f"on Kafka at {kafka.address}: docs/security.md shows how to grant it" in told


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
        for acl in of(user)
        if kinds in (None, acl.values[0].name)
    ],
)
def test_a_command_without_one_of_its_rights_says_which(
    world: World, kafka: SecureKafka, user: str, command: str, acl: AclBinding
) -> None:
    world.send(b"letter", topic=world.topic_dead_letters)
    revoke(kafka, acl)
    try:
        began = time.monotonic()
        told = one_line(
            run({**world.env, **kafka.environment(user)}, *command.split(), input=lines(*due("a"))),
            1,
        )
        assert time.monotonic() - began < PROMPT_S
    finally:
        grant(kafka, acl)
    assert told.startswith(f"user {user} lacks {right(acl)}")
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
def test_a_wrong_password_and_a_wrong_authority_are_one_line_each(
    world: World, kafka: SecureKafka, tmp_path: Path, command: str
) -> None:
    wrong_password = {"PROMO_KAFKA_PASSWORD": "not-the-password"}
    wrong_authority = {"PROMO_KAFKA_CA_FILE": str(Authority(tmp_path, "other").file)}
    for wrong, expected in (
        (
            wrong_password,
            f"Kafka at {kafka.address} refused the login of user promo_stream, see PROMO_KAFKA_USERNAME and ",
        ),
        (
            wrong_authority,
            f"no safe connection to Kafka at {kafka.address}, see PROMO_KAFKA_CA_FILE: its certificate is of no authority",
        ),
    ):
        began = time.monotonic()
        done = run({**world.env, **wrong}, *command.split(), input=lines(*due("a")))
        assert time.monotonic() - began < PROMPT_S
        assert one_line(done, 1).startswith(expected)
        for secret in (world.extra_env["PROMO_KAFKA_PASSWORD"], "not-the-password"):
            assert secret.encode() not in done.stdout + done.stderr


@pytest.mark.whole
def test_a_restarting_broker_is_waited_for_and_a_right_taken_away_ends_the_stream_at_once(
    world: World, kafka: SecureKafka
) -> None:
    mine = {
        (acl.name, acl.operation.name): of_this(world, acl)
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
        refuse(world, kafka, stream, mine["promo_notifications", "WRITE"], campaigns[2])
    finally:
        stream.end()
    stream = StreamProcess(world)
    try:
        wait_for(
            lambda: len(world.messages()) == 300,
            "what the stream before was not allowed to publish",
            90,
        )
        refuse(world, kafka, stream, mine["promo_campaigns", "READ"], campaigns[3])
    finally:
        stream.end()
    assert problems(world, campaigns[:3], [FOLLOWERS]) == []


def refuse(
    world: World, kafka: SecureKafka, stream: StreamProcess, acl: AclBinding, sent: dict
) -> None:
    revoke(kafka, acl)
    try:
        world.send(sent)
        sent_at = time.monotonic()
        assert stream.process.wait(60) == 1, stream.tail()
        assert time.monotonic() - sent_at < 30  # a passing trouble is borne for 120 s
    finally:
        grant(kafka, acl)
    told = stream.log.read_text().splitlines()[-1]
    assert told.startswith("promo-assets: ")
    assert right(acl) in told
