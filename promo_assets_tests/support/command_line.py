"""`promo-assets` as its users meet it: a process with arguments, two outputs and an exit status."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from promo_assets_tests.conftest import Services

COMMAND = str(Path(sys.executable).with_name("promo-assets"))
UNREACHABLE_KAFKA = "127.0.0.1:1"
UNREACHABLE_POSTGRES = "postgresql://promo:hidden@127.0.0.1:1/promo"

Record = tuple[bytes | None, bytes | None]  # key and value


def run(
    env: Mapping[str, str], *arguments: str, input: bytes = b"", timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [COMMAND, *arguments],
        env=os.environ | env,
        input=input,
        capture_output=True,
        timeout=timeout,
        cwd="/",
    )


def started(env: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    """Start the command in the background, with a terminal's signal handling.

    The tests' own runner may ignore some signals, which a child process would inherit.
    """

    def listen_to_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(
        [COMMAND, *arguments],
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=listen_to_signals,
    )


def one_line(done: subprocess.CompletedProcess[bytes], status: int) -> str:
    """Return a failed command's error, which must be the last and only such line.

    There must be no stack trace.
    """
    output = done.stderr.decode()
    assert done.returncode == status, output
    lines = [line for line in output.splitlines() if line.startswith("promo-assets: ")]
    assert len(lines) == 1, output
    assert output.rstrip().endswith(lines[0])
    assert "Traceback" not in output
    return lines[0].removeprefix("promo-assets: ")


@pytest.fixture
def env(services: Services) -> dict[str, str]:
    """The session's services, with topics of the test's own."""
    name = uuid.uuid4().hex[:8]
    topics = {
        "PROMO_TOPIC_IN": f"in-{name}",
        "PROMO_TOPIC_OUT": f"out-{name}",
        "PROMO_TOPIC_DEAD_LETTERS": f"dead-{name}",
    }
    env = services.env | topics
    done = run(env, "up")
    assert done.returncode == 0, done.stderr
    return env


def campaign(**changed: object) -> dict[str, object]:
    now = int(time.time())
    return {
        "restaurant_id": "r-1",
        "adv_campaign_id": "c-1",
        "adv_campaign_content": "Пицца",
        "adv_campaign_owner": "Ann",
        "adv_campaign_owner_contact": "ann@r.example",
        "adv_campaign_datetime_start": now - 60,
        "adv_campaign_datetime_end": now + 3600,
        "datetime_created": now,
    } | changed


def lines(*campaigns: Mapping[str, object] | bytes) -> bytes:
    """Return the input of `campaigns send`: campaigns as JSON lines, bytes as they are."""
    return b"".join(
        (each if isinstance(each, bytes) else json.dumps(each, ensure_ascii=False).encode()) + b"\n"
        for each in campaigns
    )


def messages(env: Mapping[str, str], topic: str) -> list[Record]:
    """Return all that a topic of three partitions holds, partition by partition."""
    conf = {
        "bootstrap.servers": env["PROMO_KAFKA_BOOTSTRAP_SERVERS"],
        "group.id": "test",
        "enable.partition.eof": "true",
    }
    consumer = Consumer(conf | {"enable.auto.commit": "false"})
    found: list[Record] = []
    try:
        for partition in range(3):
            consumer.assign([TopicPartition(env[topic], partition, OFFSET_BEGINNING)])
            while True:
                message = consumer.poll(20)
                assert message is not None
                if message.error():
                    break
                found.append((message.key(), message.value()))
    finally:
        consumer.close()
    return found


def put(
    env: Mapping[str, str], topic: str, *records: tuple[bytes | None, bytes | None, dict[str, str]]
) -> None:
    """Write (key, value, headers) into partition 0 of a topic."""
    producer = Producer({"bootstrap.servers": env["PROMO_KAFKA_BOOTSTRAP_SERVERS"]})
    for key, value, headers in records:
        producer.produce(env[topic], value=value, key=key, headers=headers, partition=0)
    assert producer.flush(20) == 0
