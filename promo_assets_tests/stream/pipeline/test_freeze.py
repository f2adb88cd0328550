"""An audience is frozen as a whole, also where Spark runs a task again while one that it gave up for lost still writes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import psycopg
import pyarrow as pa
import pytest

from promo_assets.stream.errors import StaleTask
from promo_assets.stream.ledger.ledger import Dispatch, Ledger
from promo_assets.stream.pipeline.delivery import record_shard
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World

QUERY = "00000000-0000-0000-0000-000000000001"


def pairs_of(*clients: str) -> Iterator[pa.RecordBatch]:
    yield pa.RecordBatch.from_pydict(
        {"dispatch_position": pa.array([1] * len(clients), pa.int32()), "client_id": list(clients)}
    )


@pytest.fixture
def ledger(world: World) -> Ledger:
    """With one campaign that is due."""
    world.execute(
        """INSERT INTO promo_ledger.campaigns VALUES ('k', 'r', 'c', 'text', 'owner', 'contact', 0, 9, 1, %s, 0, 0, 0, 0, 'due', 5)""",
        (QUERY,),
    )
    made = Ledger(world.postgres_url, epoch=0)
    made.finish_batch(QUERY, 0, messages=1, rejected=0)
    return made


def open_dispatch(ledger: Ledger, shards: int) -> Dispatch:
    dispatch = ledger.open_dispatch("out", shards)
    assert dispatch
    return dispatch


def note(world: World, dispatch: Dispatch, shard: int, batches: Iterator[pa.RecordBatch]) -> int:
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        return record_shard(connection, 0, dispatch, shard, batches)


def audience(world: World) -> dict[tuple[int, int], list[str]]:
    """Clients by (shard, chunk)."""
    rows = world.execute("SELECT shard, chunk, pairs FROM promo_ledger.audience")
    return {
        (shard, chunk): [client for _, clients in pairs for client in clients]
        for shard, chunk, pairs in rows
    }


def test_a_task_done_again_replaces_what_the_first_had_noted(world: World, ledger: Ledger) -> None:
    dispatch = open_dispatch(ledger, shards=2)
    assert note(world, dispatch, 0, pairs_of("ann", "bob")) == 2
    assert note(world, dispatch, 1, pairs_of("eve")) == 1
    assert note(world, dispatch, 0, pairs_of("ann")) == 1
    assert audience(world) == {(0, 0): ["ann"], (1, 0): ["eve"]}


def test_a_late_task_of_a_former_attempt_writes_nothing(world: World, ledger: Ledger) -> None:
    """It had other shards: its shard 0 is another class of clients, and would take some of them away."""
    former = open_dispatch(ledger, shards=3)
    dispatch = open_dispatch(ledger, shards=2)
    assert (dispatch.dispatch_id, dispatch.shards, dispatch.attempt) == (
        former.dispatch_id,
        2,
        former.attempt + 1,
    )
    note(world, dispatch, 0, pairs_of("ann", "bob"))
    with pytest.raises(StaleTask, match="too late"):
        note(world, former, 0, pairs_of("ann"))
    assert audience(world) == {(0, 0): ["ann", "bob"]}


def test_after_the_freeze_a_late_task_writes_nothing(world: World, ledger: Ledger) -> None:
    dispatch = open_dispatch(ledger, shards=1)
    note(world, dispatch, 0, pairs_of("ann"))
    ledger.freeze(dispatch, pairs=1)
    with pytest.raises(StaleTask, match="frozen"):
        note(world, dispatch, 0, pairs_of("ann", "bob"))
    assert audience(world) == {(0, 0): ["ann"]}


@pytest.mark.parametrize("act", ["a new attempt", "the freeze"])
def test_what_ends_an_attempt_waits_for_a_task_that_is_writing(
    world: World, ledger: Ledger, act: str
) -> None:
    dispatch = open_dispatch(ledger, shards=1)
    began, go_on = Queue[None](), Queue[None]()

    def held_up() -> Iterator[pa.RecordBatch]:
        began.put(None)
        go_on.get(timeout=60)
        yield from pairs_of("ann", "bob")

    with ThreadPoolExecutor() as threads:
        writing = threads.submit(note, world, dispatch, 0, held_up())
        began.get(timeout=60)
        ending = (
            threads.submit(ledger.open_dispatch, "out", 1)
            if act == "a new attempt"
            else threads.submit(ledger.freeze, dispatch, 2)
        )
        wait_for(
            lambda: world.execute("SELECT pid FROM pg_locks WHERE NOT granted"), "one that waits"
        )
        go_on.put(None)
        assert writing.result(60) == 2
        ending.result(60)
    assert audience(world) == ({} if act == "a new attempt" else {(0, 0): ["ann", "bob"]})
