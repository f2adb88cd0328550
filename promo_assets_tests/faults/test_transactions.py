"""Kafka's own part of the promise: a restarted broker ends the transactions committed before."""

import threading

import pytest
from confluent_kafka import KafkaException, TopicPartition
from tenacity import stop_after_delay

from promo_assets.local import services as local_services
from promo_assets.stream.errors import HangingTransaction
from promo_assets.stream.kafka.producer import TransactionalProducer
from promo_assets.stream.writer_context import WriterContext
from promo_assets_tests.support.stream_process import kill_listener, wait_for
from promo_assets_tests.support.world import World

WRITERS = 24
KILLS = 6


def _make_context(world: World) -> WriterContext:
    settings = world.settings
    return WriterContext(
        "ledger",
        1,
        "query",
        world.topic_in,
        "topic id",
        world.topic_dead_letters,
        "",
        settings.kafka_client(),
    )


class _Abort(Exception):
    """Ends a transaction without a commit."""


class _Writer(threading.Thread):
    """Commits one transaction after another, each with a new producer, as dead-letter tasks do."""

    def __init__(self, context: WriterContext, number: int, stop: threading.Event):
        super().__init__(daemon=True)
        self.context, self.number, self.stop = context, number, stop
        self.committed = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                producer = TransactionalProducer.open(self.context, f"writer-{self.number}")
                known = producer.progress(self.context.topic_in, self.number % 3)
                offset = max(known.offset, 0) + 1
                with producer.transaction(
                    TopicPartition(self.context.topic_in, self.number % 3, offset)
                ):
                    producer.produce(self.context.topic_dead_letters, None, b"letter", {})
                self.committed += 1
            except KafkaException:
                continue  # the broker is unavailable
            except HangingTransaction as hanging:
                self.failure = hanging
                return


@pytest.mark.whole
@pytest.mark.timeout(600)
def test_a_broker_that_dies_while_transactions_end_ends_them_after_its_restart(
    world: World, services
) -> None:
    """Kafka 4.3.0 to 4.4.0 fail this within a few kills (KAFKA-20734)."""
    stop = threading.Event()
    writers = [_Writer(_make_context(world), number, stop) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(KILLS):
            before = [writer.committed for writer in writers]
            wait_for(
                lambda before=before: all(
                    w.committed > n for w, n in zip(writers, before, strict=True)
                ),
                "each writer's commit",
            )
            kill_listener(int(services.kafka.rpartition(":")[2]))
            local_services.up(services.settings, print)
            before = [writer.committed for writer in writers]
            wait_for(
                lambda before=before: all(
                    w.failure or w.committed > n + 1 for w, n in zip(writers, before, strict=True)
                ),
                "each writer's commits after the restart",
                120,
            )
            assert [writer.failure for writer in writers] == [None] * WRITERS
    finally:
        stop.set()
        for writer in writers:
            writer.join(120)


def test_a_transaction_that_never_ends_is_named_instead_of_a_time_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = _make_context(world)
    monkeypatch.setattr(TransactionalProducer._stable_progress.retry, "stop", stop_after_delay(0.1))
    progress = TopicPartition(context.topic_in, 0, 7)
    holder = TransactionalProducer.open(context, "holder")
    with pytest.raises(_Abort), holder.transaction(progress):
        holder._producer.send_offsets_to_transaction(
            [progress], holder._progress_reader.consumer_group_metadata(), 30
        )
        with pytest.raises(
            HangingTransaction,
            match=rf"promo-ledger-waiting.*{context.topic_in}-0 in group promo-ledger",
        ):
            TransactionalProducer.open(context, "waiting").progress(context.topic_in, 0)
        raise _Abort
    assert TransactionalProducer.open(context, "waiting").progress(context.topic_in, 0).offset < 0
