"""`push`: a stand-in for the push service, for demos and tests, and an example for the team that writes the real one.

What every reader of the notifications owes:
- it reads with `isolation.level=read_committed`; others also see what was taken back;
- it is idempotent by the header `notification_id`: a reader that dies between its work and its commit reads the same messages
  again, and after a database was restored from a backup the stream may publish a message a second time;
- it commits its offsets when its work is done, never before.
"""

import json
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import NamedTuple

import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AclOperation

from promo_assets.commands import console
from promo_assets.commands.console import INTERRUPTED, count_of, stop_on_signals
from promo_assets.commands.kafka import Topic, end_offsets, find_topic, unreachable_message
from promo_assets.commands.ledger_clean import told_in_one_line
from promo_assets.settings import Settings, load_settings
from promo_assets.stream.kafka.topics import quiet_client
from promo_assets.stream.ledger.connection import connect

GROUP = "promo-assets-push"
CONSUMER = {
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": "false",
    "enable.partition.eof": "true",
    "session.timeout.ms": "10000",  # of a killed one: then its partitions are another's
}
AT_ONCE = 1_000
LOOK_S, TELL_EVERY_S = 0.2, 5
# The partitions are another member's by now, who reads them from what was committed before.
TAKEN_OVER = (
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError._ASSIGNMENT_LOST,
    KafkaError._NO_OFFSET,
)
# A real service keeps the ids where they outlive it. This one forgets: what it had not committed, it pushes again.
IDS_KEPT = 1_000_000
ANSWERS = (
    "thanks!",
    "will come",
    "booked a table",
    "too far away",
    "not interested",
    "no more of these, please",
)

# Found by their trigger times, of which a batch has few and on which there is an index, then by the pair itself.
_ANSWER = """
UPDATE subscribers_feedback f SET feedback = answer.feedback
FROM unnest(%s::text[], %s::text[], %s::text[], %s::int8[], %s::int4[], %s::text[])
  AS answer (restaurant_id, adv_campaign_id, client_id, datetime_created, trigger_datetime_created, feedback)
WHERE f.trigger_datetime_created = ANY (%s::int4[]) AND f.feedback IS NULL
  AND (f.trigger_datetime_created, f.client_id, f.restaurant_id, f.adv_campaign_id, f.datetime_created)
    = (answer.trigger_datetime_created, answer.client_id, answer.restaurant_id, answer.adv_campaign_id, answer.datetime_created)"""


class Answer(NamedTuple):
    """What a client answers to a notification."""

    restaurant_id: str
    adv_campaign_id: str
    client_id: str
    datetime_created: int
    trigger_datetime_created: int
    feedback: str


def push(rate: float | None, feedback_share: float, until_caught_up: bool) -> None:
    settings = load_settings()
    stop = threading.Event()
    with stop_on_signals(stop):
        topic = find_topic(settings, settings.topic_out, AclOperation.READ)
        service = PushService(settings, topic, rate, feedback_share)
        service.run(stop, end_offsets(settings, topic) if until_caught_up else None)
    pushed, repeated = (
        count_of(service.pushed, "notifications"),
        count_of(service.repeated, "repeats"),
    )
    console.info(f"pushed {pushed}, {repeated}, {count_of(service.answered, 'clients')} answered")
    if stop.is_set():
        sys.exit(INTERRUPTED)


class PushService:
    """One member of the group: several can run side by side, each with some of the topic's partitions.

    Clients answer to campaigns whose id begins with `campaigns`. A new group reads from the offsets `start` on, else from the beginning.
    """

    def __init__(
        self,
        settings: Settings,
        topic: Topic,
        rate: float | None,
        feedback_share: float,
        group: str = GROUP,
        start: Mapping[int, int] | None = None,
        campaigns: str = "",
    ):
        self._settings = settings
        self._topic = topic
        self._group = group
        self._start = start
        self._rate = rate
        self._feedback_share = feedback_share
        self._campaigns = campaigns
        self._ids: OrderedDict[str, None] = OrderedDict()
        self.pushed = self.repeated = self.answered = 0

    def run(self, stop: threading.Event, ends: dict[int, int] | None) -> None:
        """Until `stop`, or behind the offsets `ends` of its partitions. Raises `CommandError` where Kafka or Postgres fails it."""
        told_at = time.monotonic()
        try:
            with (
                told_in_one_line(self._settings),
                closing(
                    Consumer(quiet_client(self._settings) | CONSUMER | {"group.id": self._group})
                ) as consumer,
                connect(self._settings.database_url, GROUP) as connection,
            ):
                if self._start:
                    offsets = [
                        TopicPartition(self._topic.name, *each) for each in self._start.items()
                    ]
                    consumer.commit(offsets=offsets, asynchronous=False)
                consumer.subscribe([self._topic.name])
                read: set[int] = set()
                while not stop.is_set():
                    messages = consumer.consume(self._at_once(), LOOK_S)
                    self._handle(connection, list(self._read(messages, read, ends or {})), stop)
                    if any(message.error() is None for message in messages):
                        _commit(consumer)
                    assigned = {
                        each.partition for each in consumer.assignment()
                    }  # none while they are handed out anew
                    if ends is not None and assigned and read >= assigned:
                        return
                    if time.monotonic() - told_at > TELL_EVERY_S:
                        console.info(f"pushed {self.pushed:,}, {self.answered:,} answered")
                        told_at = time.monotonic()
        except KafkaException as error:
            raise unreachable_message(
                self._settings,
                error.args[0],
                topics=f"READ on topic {self._topic.name}",
                group=self._group,
            ) from None

    def _at_once(self) -> int:
        return AT_ONCE if self._rate is None else max(1, min(AT_ONCE, int(self._rate * LOOK_S)))

    def _read(
        self, messages: list[Message], read: set[int], ends: dict[int, int]
    ) -> Iterator[tuple[str, dict]]:
        """(notification_id, notification) of those that were not pushed before; partitions read to their end are noted in `read`."""
        for message in messages:
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    if (message.offset() or 0) >= ends.get(message.partition() or 0, 0):
                        read.add(message.partition() or 0)
                elif (
                    error.code() != KafkaError._MAX_POLL_EXCEEDED
                ):  # its work took too long: it joins again
                    raise KafkaException(error)
                continue
            try:
                header = dict(message.headers() or [])["notification_id"]
                notification_id = (
                    header.decode("ascii") if isinstance(header, bytes) else str(header)
                )
                notification = json.loads(message.value() or b"")
                self._answer(notification_id, notification)
            except (KeyError, TypeError, ValueError, RecursionError):
                console.info(
                    f"no notification: partition {message.partition()}, offset {message.offset()}"
                )
                continue
            if notification_id in self._ids:
                self.repeated += 1
            else:
                self._ids[notification_id] = None
                yield notification_id, notification
        while len(self._ids) > IDS_KEPT:
            self._ids.popitem(last=False)

    def _handle(
        self,
        connection: psycopg.Connection,
        notifications: list[tuple[str, dict]],
        stop: threading.Event,
    ) -> None:
        """Here a real service would hand them to the phones' makers; this one waits as long as that may take, and lets some answer."""
        if self._rate is not None and notifications:
            stop.wait(len(notifications) / self._rate)
        self.pushed += len(notifications)
        answers = [answer for each in notifications if (answer := self._answer(*each))]
        if answers:
            columns = [list(column) for column in zip(*answers, strict=True)]
            triggers = sorted({answer.trigger_datetime_created for answer in answers})
            self.answered += connection.execute(_ANSWER, (*columns, triggers)).rowcount

    def _answer(self, notification_id: str, notification: dict) -> Answer | None:
        """The same for the same notification, always: done again, it writes nothing else."""
        chance, choice = int(notification_id[:8], 16) / 16**8, int(notification_id[8:16], 16)
        answer = Answer._make(
            (*(notification[name] for name in Answer._fields[:-1]), ANSWERS[choice % len(ANSWERS)])
        )
        _check(answer)
        return (
            answer
            if chance < self._feedback_share and answer.adv_campaign_id.startswith(self._campaigns)
            else None
        )


def _check(answer: Answer) -> None:
    """Raises `ValueError` for what Postgres would not take: of a foreign writer, and never the stream's."""
    for text in (answer.restaurant_id, answer.adv_campaign_id, answer.client_id):
        if not isinstance(text, str) or "\0" in text:
            raise ValueError("a text without NUL is needed")
        text.encode()  # a lone surrogate is a `ValueError`, too
    for number, bits in ((answer.datetime_created, 63), (answer.trigger_datetime_created, 31)):
        if type(number) is not int or not -(2**bits) <= number < 2**bits:
            raise ValueError("a whole number of seconds is needed")


def _commit(consumer: Consumer) -> None:
    try:
        consumer.commit(asynchronous=False)
    except KafkaException as error:
        if error.args[0].code() not in TAKEN_OVER:
            raise
