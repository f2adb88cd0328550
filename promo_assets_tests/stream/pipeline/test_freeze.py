"""An audience is frozen as a whole.

This holds even if Spark runs a task again while one that it presumed dead is still writing.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import psycopg
import pyarrow as pa
import pytest

from promo_assets.stream.errors import StaleTask
from promo_assets.stream.ledger.ledger import Dispatch, Ledger
from promo_assets.stream.pipeline.freeze import record_shard
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World

QUERY_ID = "00000000-0000-0000-0000-000000000001"


def make_pairs(*clients: str) -> Iterator[pa.RecordBatch]:
    yield pa.RecordBatch.from_pydict(
        {"dispatch_position": pa.array([1] * len(clients), pa.int32()), "client_id": list(clients)}
    )


@pytest.fixture
def ledger(world: World) -> Ledger:
    """A ledger with one campaign that is due."""
    world.execute(
        """INSERT INTO promo_ledger.campaigns
        VALUES ('k', 'r', 'c', 'text', 'owner', 'contact', 0, 9, 1, %s, 0, 0, 0, 0, 'due', 5)""",
        (QUERY_ID,),
    )
    made = Ledger(world.postgres_url, epoch=0)
    made.finish_batch(QUERY_ID, 0, messages=1, rejected=0)
    return made


def open_dispatch(ledger: Ledger, shards: int) -> Dispatch:
    dispatch = ledger.open_dispatch("out", shards)
    assert dispatch
    return dispatch


def record(world: World, dispatch: Dispatch, shard: int, batches: Iterator[pa.RecordBatch]) -> int:
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        return record_shard(connection, 0, dispatch, shard, batches)


def read_audience(world: World) -> dict[tuple[int, int], list[str]]:
    """Return the client_ids by (shard, chunk)."""
    rows = world.execute("SELECT shard, chunk, pairs FROM promo_ledger.audience")
    return {
        (shard, chunk): [client for _, clients in pairs for client in clients]
        for shard, chunk, pairs in rows
    }


def test_a_repeated_task_replaces_what_the_first_one_recorded(world: World, ledger: Ledger) -> None:
    dispatch = open_dispatch(ledger, shards=2)
    assert record(world, dispatch, 0, make_pairs("ann", "bob")) == 2
    assert record(world, dispatch, 1, make_pairs("eve")) == 1
    assert record(world, dispatch, 0, make_pairs("ann")) == 1
    assert read_audience(world) == {(0, 0): ["ann"], (1, 0): ["eve"]}


def test_a_late_task_of_an_earlier_attempt_writes_nothing(world: World, ledger: Ledger) -> None:
    """It had other shards: its shard 0 is another class of clients, and would remove some."""
    former = open_dispatch(ledger, shards=3)
    dispatch = open_dispatch(ledger, shards=2)
    assert (dispatch.dispatch_id, dispatch.shards, dispatch.attempt) == (
        former.dispatch_id,
        2,
        former.attempt + 1,
    )
    record(world, dispatch, 0, make_pairs("ann", "bob"))
    with pytest.raises(StaleTask, match=f"too late.*{dispatch.dispatch_id}"):
        record(world, former, 0, make_pairs("ann"))
    assert read_audience(world) == {(0, 0): ["ann", "bob"]}


def test_after_the_freeze_a_late_task_writes_nothing(world: World, ledger: Ledger) -> None:
    dispatch = open_dispatch(ledger, shards=1)
    record(world, dispatch, 0, make_pairs("ann"))
    ledger.freeze(dispatch, pairs=1)
    with pytest.raises(StaleTask, match="frozen"):
        record(world, dispatch, 0, make_pairs("ann", "bob"))
    assert read_audience(world) == {(0, 0): ["ann"]}


@pytest.mark.parametrize("act", ["a new attempt", "the freeze"])
def test_a_new_attempt_and_the_freeze_wait_for_a_task_that_is_writing(
    world: World, ledger: Ledger, act: str
) -> None:
    dispatch = open_dispatch(ledger, shards=1)
    began, go_on = Queue[None](), Queue[None]()

    def delayed_pairs() -> Iterator[pa.RecordBatch]:
        began.put(None)
        go_on.get(timeout=60)
        yield from make_pairs("ann", "bob")

    with ThreadPoolExecutor() as threads:
        writing = threads.submit(record, world, dispatch, 0, delayed_pairs())
        began.get(timeout=60)
        end_attempt = {
            "a new attempt": lambda: ledger.open_dispatch("out", 1),
            "the freeze": lambda: ledger.freeze(dispatch, 2),
        }
        ending = threads.submit(end_attempt[act])
        waiting = "SELECT pid FROM pg_locks WHERE NOT granted"
        wait_for(lambda: world.execute(waiting), f"{act} to wait for the task's lock")
        go_on.put(None)
        assert writing.result(60) == 2
        ending.result(60)
    assert read_audience(world) == ({} if act == "a new attempt" else {(0, 0): ["ann", "bob"]})
