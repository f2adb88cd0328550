"""kcat, which real senders use: it sends `key:{json}` lines."""

import json
import os
import shutil
import subprocess
import time
import uuid

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from promo_assets.stream.messages import parse_campaign
from promo_assets_tests.conftest import Services

needs_kcat = pytest.mark.skipif(
    shutil.which("kcat") is None and os.environ.get("CI") != "true",
    reason="kcat is not installed (apt-get install kcat)",
)


@needs_kcat
def test_what_kcat_sends_arrives_with_key_and_value(services: Services):
    now = int(time.time())
    value = json.dumps(
        {
            "restaurant_id": f"kcat-{uuid.uuid4()}",
            "adv_campaign_id": "by kcat: with a colon",
            "adv_campaign_content": "Пицца 🍕",
            "adv_campaign_owner": "Ann",
            "adv_campaign_owner_contact": "ann@r.example",
            "adv_campaign_datetime_start": str(now),
            "adv_campaign_datetime_end": str(now + 60),
            "datetime_created": now,
        },
        ensure_ascii=False,
    ).encode()
    sent = subprocess.run(
        ["kcat", "-P", "-b", services.kafka, "-t", services.settings.topic_in, "-K:"],
        input=b"first-message:" + value + b"\n",
        capture_output=True,
        timeout=60,
    )
    assert (sent.returncode, sent.stderr) == (0, b"")
    assert find_value(services, b"first-message", value)
    assert parse_campaign(value).adv_campaign_datetime_end == now + 60


def find_value(services: Services, key: bytes, value: bytes) -> bool:
    consumer = Consumer(
        {"bootstrap.servers": services.kafka, "group.id": "test", "enable.auto.commit": "false"}
    )
    consumer.assign(
        [
            TopicPartition(services.settings.topic_in, partition, OFFSET_BEGINNING)
            for partition in range(3)
        ]
    )
    deadline = time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            for message in consumer.consume(100, timeout=0.5):
                if (message.key(), message.value()) == (key, value):
                    return True
        return False
    finally:
        consumer.close()
