"""`push`: a stand-in for the push service, for demos and tests, and an example for the real one.

Every reader of the notifications must do three things:

- read with `isolation.level=read_committed`; other readers also see messages of aborted
  transactions;
- be idempotent by the header `notification_id`: a reader that dies between its work and its commit
  reads the same messages again, and after a database was restored from a backup the stream may
  publish a message a second time;
- commit its offsets after its work, never before.
"""

import json
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import closing

import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AclOperation

from promo_assets.commands import console
from promo_assets.commands.console import INTERRUPTED, count_of, stop_on_signals
from promo_assets.commands.kafka_client import Topic, as_command_error, end_offsets, find_topic
from promo_assets.commands.postgres_client import postgres_errors
from promo_assets.commands.push_feedback import Answer, choose_answer, store_feedback
from promo_assets.settings import Settings, load_settings
from promo_assets.stream.kafka.topics import quiet_client
from promo_assets.stream.ledger.connection import connect

GROUP = "promo-assets-push"
CONSUMER = {
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": "false",
    "enable.partition.eof": "true",
    # How long after a member was killed its partitions are given to another one.
    "session.timeout.ms": "10000",
}
MESSAGES_PER_POLL = 1_000
POLL_S, REPORT_INTERVAL_S = 0.2, 5
# These errors of a commit mean that the partitions belong to another member by now, which reads
# them from the offset that was committed before.
PARTITIONS_REASSIGNED = (
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError._ASSIGNMENT_LOST,
    KafkaError._NO_OFFSET,
)
# A real service keeps the ids where they outlive it. This one forgets them when it ends, and pushes
# again what it had not committed.
REMEMBERED_IDS = 1_000_000


def run_push(rate: float | None, feedback_share: float, until_caught_up: bool) -> None:
    settings = load_settings()
    stop = threading.Event()
    with stop_on_signals(stop):
        topic = find_topic(settings, settings.topic_out, AclOperation.READ)
        service = PushService(settings, topic, rate, feedback_share)
        service.run(stop, end_offsets(settings, topic) if until_caught_up else None)
    pushed = count_of(service.pushed, "notifications")
    repeated = count_of(service.repeated, "repeats")
    console.info(f"pushed {pushed}, {repeated}, {count_of(service.answered, 'clients')} answered")
    if stop.is_set():
        sys.exit(INTERRUPTED)


class PushService:
    """A member of the consumer group; several can run at once, each with some of the partitions.

    rate: at most so many notifications per second. feedback_share: how many of the clients answer.
    start: the offsets from which a new group reads; without them it reads from the beginning.
    campaigns: clients only answer to campaigns whose id begins with this.
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
        self._rate = rate
        self._feedback_share = feedback_share
        self._group = group
        self._start = start
        self._campaigns = campaigns
        self._seen_ids: OrderedDict[str, None] = OrderedDict()
        self.pushed = self.repeated = self.answered = 0

    def run(self, stop: threading.Event, ends: dict[int, int] | None) -> None:
        """Push until `stop` is set, or until the offsets `ends` of its partitions are reached.

        Raises `CommandError` if Kafka or Postgres fails.
        """
        conf = quiet_client(self._settings) | CONSUMER | {"group.id": self._group}
        try:
            with (
                postgres_errors(self._settings),
                closing(Consumer(conf)) as consumer,
                connect(self._settings.database_url, GROUP) as connection,
            ):
                self._push_messages(consumer, connection, stop, ends)
        except KafkaException as error:
            right = f"READ on topic {self._topic.name}"
            raise as_command_error(
                self._settings, error.args[0], topics=right, group=self._group
            ) from None

    def _push_messages(
        self,
        consumer: Consumer,
        connection: psycopg.Connection,
        stop: threading.Event,
        ends: dict[int, int] | None,
    ) -> None:
        if self._start:
            offsets = [TopicPartition(self._topic.name, *each) for each in self._start.items()]
            consumer.commit(offsets=offsets, asynchronous=False)
        consumer.subscribe([self._topic.name])
        reported_at = time.monotonic()
        finished: set[int] = set()
        while not stop.is_set():
            messages = consumer.consume(self._messages_per_poll(), POLL_S)
            finished |= _find_finished_partitions(messages, ends or {})
            self._push(connection, list(self._parse_new(messages)), stop)
            if any(message.error() is None for message in messages):
                _commit(consumer)
            # During a rebalance no partition is assigned.
            assigned = {each.partition for each in consumer.assignment()}
            if ends is not None and assigned and finished >= assigned:
                return
            if time.monotonic() - reported_at > REPORT_INTERVAL_S:
                console.info(f"pushed {self.pushed:,}, {self.answered:,} answered")
                reported_at = time.monotonic()

    def _messages_per_poll(self) -> int:
        if self._rate is None:
            return MESSAGES_PER_POLL
        return max(1, min(MESSAGES_PER_POLL, int(self._rate * POLL_S)))

    def _parse_new(self, messages: list[Message]) -> Iterator[Answer | None]:
        """Yield, for each notification that was not pushed before, its client's answer or None."""
        for message in messages:
            if message.error() is not None:
                continue
            try:
                notification_id = _read_notification_id(message)
                notification = json.loads(message.value() or b"")
                answer = choose_answer(
                    notification_id, notification, self._feedback_share, self._campaigns
                )
            except (KeyError, TypeError, ValueError, RecursionError):
                place = f"partition {message.partition()}, offset {message.offset()}"
                console.info(f"skipped a message that is no notification: {place}")
                continue
            if notification_id in self._seen_ids:
                self.repeated += 1
            else:
                self._seen_ids[notification_id] = None
                yield answer
        while len(self._seen_ids) > REMEMBERED_IDS:
            self._seen_ids.popitem(last=False)

    def _push(
        self, connection: psycopg.Connection, answers: list[Answer | None], stop: threading.Event
    ) -> None:
        """Push notifications, given by their clients' answers, and store the answers.

        A real service would send them to the phone makers' services here; this one waits for as
        long as that may take.
        """
        if self._rate is not None and answers:
            stop.wait(len(answers) / self._rate)
        self.pushed += len(answers)
        self.answered += store_feedback(connection, [each for each in answers if each is not None])


def _find_finished_partitions(messages: list[Message], ends: dict[int, int]) -> set[int]:
    """Return the partitions that were read to their end; raises `KafkaException` for an error."""
    finished: set[int] = set()
    for message in messages:
        error, partition = message.error(), message.partition() or 0
        if error is None:
            continue
        if error.code() == KafkaError._PARTITION_EOF:
            if (message.offset() or 0) >= ends.get(partition, 0):
                finished.add(partition)
        # A member whose work took too long leaves the group, and joins it again by itself.
        elif error.code() != KafkaError._MAX_POLL_EXCEEDED:
            raise KafkaException(error)
    return finished


def _read_notification_id(message: Message) -> str:
    header = dict(message.headers() or [])["notification_id"]
    return header.decode("ascii") if isinstance(header, bytes) else str(header)


def _commit(consumer: Consumer) -> None:
    try:
        consumer.commit(asynchronous=False)
    except KafkaException as error:
        if error.args[0].code() not in PARTITIONS_REASSIGNED:
            raise
