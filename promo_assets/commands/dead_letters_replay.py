"""`dead-letters replay`: send dead letters to the input topic again.

Kafka itself records what was sent again: as offsets of a consumer group of the dead-letter topic,
committed in the transaction that sends the messages. So a replay that dies half-way has recorded
exactly what it sent. Letters that were sent by `--id` are listed in the offset's metadata.

Kafka deletes such offsets some time after the last replay (`offsets.retention.minutes`, 7 days by
default). A valid campaign that is sent once more after that still notifies nobody twice, because
the stream knows its key.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AclOperation
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from promo_assets.commands import console
from promo_assets.commands.console import CommandError, UserError, count_of, spinner
from promo_assets.commands.dead_letters_list import DeadLetter, parse_dead_letter
from promo_assets.commands.kafka_client import (
    KAFKA_TIMEOUT_S,
    Topic,
    as_command_error,
    find_topic,
    read_to_end,
)
from promo_assets.commands.transactional_sender import TransactionalSender
from promo_assets.settings import Settings, load_settings
from promo_assets.stream.kafka.progress import fetch_committed, is_transient
from promo_assets.stream.kafka.topics import reader

LETTERS_PER_TRANSACTION = 5_000
METADATA_CHARACTERS = 4_000  # Kafka's own limit is 4096


@dataclass
class SentOffsets:
    """Which letters of a partition were sent again: all below an offset, and single ones above."""

    all_below: int = 0
    single_ones: set[int] = field(default_factory=set)

    def __contains__(self, offset: int) -> bool:
        return offset < self.all_below or offset in self.single_ones

    def add(self, offset: int, with_all_before: bool) -> None:
        if with_all_before:
            self.all_below = max(self.all_below, offset + 1)
            self.single_ones = {single for single in self.single_ones if single >= self.all_below}
        elif offset not in self:
            self.single_ones.add(offset)

    def as_committed(self, topic: str, partition: int) -> TopicPartition:
        """Return the offset and metadata to commit; `_read_sent` reads them back."""
        metadata = ",".join(map(str, sorted(self.single_ones)))
        if len(metadata) > METADATA_CHARACTERS:
            raise CommandError(
                "Too many letters of one partition were sent by --id to record them one by one: "
                "run `promo-assets dead-letters replay` without --id first"
            )
        return TopicPartition(topic, partition, self.all_below, metadata)


def replay_dead_letters(ids: list[str]) -> None:
    settings = load_settings()
    places = [_parse_id(letter_id) for letter_id in dict.fromkeys(ids)]
    letters_topic = find_topic(settings, settings.topic_dead_letters, AclOperation.READ)
    input_topic = find_topic(settings, settings.topic_in, AclOperation.WRITE)
    # All replays of the topic have one name, so that a later one ends an earlier one.
    name = f"promo-assets-replay-{letters_topic.topic_id}"
    with spinner("looking for dead letters"), reader(settings, group_id=name) as consumer:
        sender = TransactionalSender(settings, input_topic, name)
        # Read after the sender exists: from then on no other replay can send.
        sent = _read_sent(settings, consumer, letters_topic, name)
        letters = (
            _read_chosen(settings, letters_topic, places)
            if places
            else _read_unsent(settings, letters_topic, sent)
        )
        count = 0
        while batch := list(islice(letters, LETTERS_PER_TRANSACTION)):
            for letter in batch:
                sent[letter.partition].add(letter.offset, with_all_before=not places)
            with sender.transaction():
                for letter in batch:
                    sender.send(letter.key, letter.value, f"dead letter {letter.letter_id}")
                partitions = sorted({letter.partition for letter in batch})
                offsets = [sent[each].as_committed(letters_topic.name, each) for each in partitions]
                sender.commit_offsets(offsets, consumer)
            count += len(batch)
    reason = "" if places or count else ": all were sent before, or there are none"
    letters_sent = count_of(count, "dead letters")
    console.info(f"sent {letters_sent} to topic {input_topic.name} again{reason}")


def _parse_id(text: str) -> tuple[int, int]:
    """Return (partition, offset)."""
    partition, _, offset = text.partition("-")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise UserError(
            f"--id {text}: not an id. `promo-assets dead-letters list` shows the ids, such as 0-12"
        )
    return int(partition), int(offset)


@retry(
    retry=retry_if_exception(
        lambda error: isinstance(error, KafkaException) and is_transient(error.args[0])
    ),
    wait=wait_fixed(0.2),
    stop=stop_after_delay(KAFKA_TIMEOUT_S),
    reraise=True,
)
def _read_committed(consumer: Consumer, topic: Topic) -> list[TopicPartition]:
    return fetch_committed(
        consumer, [TopicPartition(topic.name, each) for each in topic.partitions]
    )


def _read_sent(
    settings: Settings, consumer: Consumer, topic: Topic, group: str
) -> dict[int, SentOffsets]:
    """Return by partition what former replays sent."""
    try:
        offsets = _read_committed(consumer, topic)
    except KafkaException as error:
        right = f"READ on topic {topic.name}"
        raise as_command_error(settings, error.args[0], topics=right, group=group) from None
    return {
        each.partition: SentOffsets(
            max(each.offset, 0),
            {int(offset) for offset in (each.metadata or "").split(",") if offset},
        )
        for each in offsets
    }


def _read_unsent(
    settings: Settings, topic: Topic, sent: dict[int, SentOffsets]
) -> Iterator[DeadLetter]:
    # A copy of what was sent before the replay, as `sent` changes while the letters are read.
    before = {
        partition: replace(offsets, single_ones=set(offsets.single_ones))
        for partition, offsets in sent.items()
    }
    start = {partition: offsets.all_below for partition, offsets in before.items()}
    for message in read_to_end(settings, topic, start):
        letter = parse_dead_letter(message)
        if letter.offset not in before[letter.partition]:
            yield letter


def _read_chosen(
    settings: Settings, topic: Topic, places: list[tuple[int, int]]
) -> Iterator[DeadLetter]:
    """Return the letters at these (partition, offset).

    Raises `UserError` where one does not exist, before any is sent.
    """
    start: dict[int, int] = {}
    for partition, offset in places:
        start[partition] = min(offset, start.get(partition, offset))
    read_partitions = [partition for partition in topic.partitions if partition in start]
    messages = read_to_end(settings, replace(topic, partitions=read_partitions), start)
    all_letters = (parse_dead_letter(message) for message in messages)
    wanted = set(places)
    letters = {
        (letter.partition, letter.offset): letter
        for letter in all_letters
        if (letter.partition, letter.offset) in wanted
    }
    for partition, offset in places:
        if (partition, offset) not in letters:
            raise UserError(
                f"--id {partition}-{offset}: topic {topic.name} has no such dead letter. "
                "Nothing was sent"
            )
    return (letters[place] for place in places)
