"""The contestant *loop*: one plain Python process with a Kafka transaction and COPY to Postgres."""

import json
import time
from collections.abc import Sequence

import psycopg
from confluent_kafka import Consumer, Producer

from promo_assets.settings import Settings
from promo_assets.stream.messages import (
    Campaign,
    NotificationTemplate,
    client_json,
    parse_campaign,
)
from stream_race.load import CAMPAIGNS, COLUMNS
from stream_race.process import create_feedback_table, print_delivered

CONSUMER = {
    "group.id": "loop",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": "false",
    "fetch.wait.max.ms": "20",
}
PRODUCER = {"transactional.id": "loop", "linger.ms": "5", "compression.type": "lz4"}
FOLLOWERS = """SELECT DISTINCT restaurant_id, client_id FROM subscribers_restaurants
    WHERE restaurant_id = ANY(%s)"""


def run_loop(settings: Settings) -> None:
    create_feedback_table(settings, "loop")
    consumer = Consumer(settings.kafka_client() | CONSUMER)
    consumer.subscribe([settings.topic_in])
    producer = Producer(settings.kafka_client() | PRODUCER)
    producer.init_transactions()
    connection = psycopg.connect(settings.database_url)
    delivered = 0
    while True:
        messages = [message for message in consumer.consume(CAMPAIGNS, 0.05) if not message.error()]
        if not messages:
            continue
        now = int(time.time())
        campaigns = [parse_campaign(message.value()) for message in messages]
        due = [campaign for campaign in campaigns if campaign.state_at(now) == "due"]
        producer.begin_transaction()
        delivered += deliver(due, now, connection, producer, settings.topic_out)
        connection.commit()
        producer.send_offsets_to_transaction(
            consumer.position(consumer.assignment()), consumer.consumer_group_metadata()
        )
        producer.commit_transaction()
        print_delivered(delivered)


def deliver(
    due: Sequence[Campaign],
    now: int,
    connection: psycopg.Connection,
    producer: Producer,
    topic_out: str,
) -> int:
    """Write rows and messages of the due campaigns; return the number of pairs."""
    restaurants = [campaign.restaurant_id for campaign in due]
    followers: dict[str, list[str]] = {}
    for restaurant, client in connection.execute(FOLLOWERS, (restaurants,)):
        followers.setdefault(restaurant, []).append(client)
    pairs = 0
    with connection.cursor().copy(f"COPY loop_feedback ({', '.join(COLUMNS)}) FROM STDIN") as rows:
        for campaign in due:
            template = NotificationTemplate(campaign, now)
            for client in followers.get(campaign.restaurant_id, []):
                rows.write_row((*campaign, client, now))
                fields = {"client_id": client, "trigger_datetime_created": now}
                value = json.dumps({**campaign._asdict(), **fields}).encode()
                headers = [("notification_id", template.notification_id(client_json(client)))]
                producer.produce(topic_out, value, client.encode(), headers=headers)
                pairs += 1
            producer.poll(0)
    return pairs
