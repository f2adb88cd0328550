"""`dead-letters replay`.

What was sent again is remembered in Kafka itself: as offsets of a consumer group of the dead-letter topic, committed in the
transaction that sends the messages. So a replay that dies half-way remembers exactly what it sent. Letters sent singly, by
--id, stand in the offset's metadata. Kafka forgets such offsets some time after the last replay (offsets.retention.minutes,
7 days by default); what is then sent once more and is a valid campaign, notifies nobody twice: the stream knows its key.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AclOperation
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from promo_assets.commands import console
from promo_assets.commands.console import CommandError, UserError, count_of, spinner
from promo_assets.commands.dead_letters_list import DeadLetter, as_dead_letter
from promo_assets.commands.kafka import (
    KAFKA_TIMEOUT_S,
    AllOrNothing,
    Topic,
    find_topic,
    read_to_end,
    unreachable_message,
)
from promo_assets.settings import Settings, load_settings
from promo_assets.stream.kafka.producer import committed, is_transient
from promo_assets.stream.kafka.topics import reader

LETTERS_AT_ONCE = 5_000
METADATA_CHARACTERS = 4_000  # Kafka takes 4096


@dataclass
class Sent:
    """What of a partition was sent again: all below `below`, and single ones above."""

    below: int = 0
    singly: set[int] = field(default_factory=set)

    def __contains__(self, offset: int) -> bool:
        return offset < self.below or offset in self.singly

    def add(self, offset: int, all_before: bool) -> None:
        if all_before:
            self.below = max(self.below, offset + 1)
            self.singly = {each for each in self.singly if each >= self.below}
        elif offset not in self:
            self.singly.add(offset)

    def committed(self, topic: str, partition: int) -> TopicPartition:
        noted = ",".join(map(str, sorted(self.singly)))
        if len(noted) > METADATA_CHARACTERS:
            raise CommandError(
                "too many letters of one partition were sent by --id to remember them singly: replay without --id first"
            )
        return TopicPartition(topic, partition, self.below, noted)


def replay_dead_letters(ids: list[str]) -> None:
    settings = load_settings()
    wanted = [_parse_id(each) for each in dict.fromkeys(ids)]
    letters_topic = find_topic(settings, settings.topic_dead_letters, AclOperation.READ)
    input_topic = find_topic(settings, settings.topic_in, AclOperation.WRITE)
    # One name for all replays of the topic: the later one ends an earlier one that is still at work.
    name = f"promo-assets-replay-{letters_topic.topic_id}"
    with spinner("looking for dead letters"), reader(settings, group_id=name) as progress:
        producer = AllOrNothing(settings, input_topic, name)
        sent = _read_sent(
            settings, progress, letters_topic, name
        )  # only now: nobody else can send any more
        letters = (
            _chosen(settings, letters_topic, wanted)
            if wanted
            else _not_sent(settings, letters_topic, sent)
        )
        count = 0
        while some := list(islice(letters, LETTERS_AT_ONCE)):
            for letter in some:
                sent[letter.partition].add(letter.offset, all_before=not wanted)
            with producer.transaction():
                for letter in some:
                    producer.send(letter.key, letter.value, f"dead letter {letter.letter_id}")
                touched = sorted({letter.partition for letter in some})
                producer.commit_with(
                    [sent[each].committed(letters_topic.name, each) for each in touched], progress
                )
            count += len(some)
    left = "" if wanted or count else ": all were sent before, or there are none"
    console.info(f"sent {count_of(count, 'dead letters')} to topic {input_topic.name} again{left}")


def _parse_id(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition("-")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise UserError(
            f"--id {text}: an id as `promo-assets dead-letters list` shows it is needed, such as 0-12"
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
def _committed(progress: Consumer, topic: Topic) -> list[TopicPartition]:
    return committed(progress, [TopicPartition(topic.name, each) for each in topic.partitions])


def _read_sent(settings: Settings, progress: Consumer, topic: Topic, group: str) -> dict[int, Sent]:
    try:
        known = _committed(progress, topic)
    except KafkaException as error:
        raise unreachable_message(
            settings, error.args[0], topics=f"READ on topic {topic.name}", group=group
        ) from None
    return {
        each.partition: Sent(
            max(each.offset, 0), {int(one) for one in (each.metadata or "").split(",") if one}
        )
        for each in known
    }


def _not_sent(settings: Settings, topic: Topic, sent: dict[int, Sent]) -> Iterator[DeadLetter]:
    # Judged by what was sent when the replay began: `sent` moves on while the letters are read.
    before = {partition: replace(part, singly=set(part.singly)) for partition, part in sent.items()}
    for message in read_to_end(
        settings, topic, {partition: part.below for partition, part in before.items()}
    ):
        letter = as_dead_letter(message)
        if letter.offset not in before[letter.partition]:
            yield letter


def _chosen(
    settings: Settings, topic: Topic, wanted: Iterable[tuple[int, int]]
) -> Iterator[DeadLetter]:
    """The letters of these ids; raises `UserError` before the first is sent where one does not exist."""
    start: dict[int, int] = {}
    for partition, offset in wanted:
        start[partition] = min(offset, start.get(partition, offset))
    some = replace(topic, partitions=[each for each in topic.partitions if each in start])
    letters = {}
    for message in read_to_end(settings, some, start):
        letter = as_dead_letter(message)
        if (letter.partition, letter.offset) in set(wanted):
            letters[letter.partition, letter.offset] = letter
    missing = [
        f"{partition}-{offset}"
        for partition, offset in wanted
        if (partition, offset) not in letters
    ]
    if missing:
        raise UserError(
            f"--id {missing[0]}: there is no such dead letter in topic {topic.name}. Nothing was sent"
        )
    return (letters[each] for each in wanted)
