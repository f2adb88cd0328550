"""The sensor's judgement on literal runs, and its sensor where there is no Postgres or no Kafka."""

from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster import DagsterRunStatus as Status
from dagster._core.definitions.sensor_definition import SensorExecutionData

from promo_assets.definitions import build_definitions
from promo_assets.settings import Settings
from promo_assets.stream.defs.sensor import Decision, LostLock, Run, decide
from promo_assets.stream.ledger.lease import Heartbeat
from promo_assets_tests.support.world import World

NOW = 1_000_000.0
BEAT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

NEVER = Heartbeat(None, None, None, None, locked=False)
A_STREAMS = Heartbeat("dagster run a", BEAT, BEAT, None, locked=True)
A_STREAMED = Heartbeat("dagster run a", BEAT, BEAT, None, locked=False)
A_IS_IN_TROUBLE = Heartbeat("dagster run a", BEAT, BEAT, "no connection", locked=True)
BY_HAND = Heartbeat("promo-assets stream run (pid 7)", BEAT, BEAT, None, locked=True)
BY_HAND_ONCE = Heartbeat("promo-assets stream run (pid 7)", BEAT, BEAT, None, locked=False)


def run(
    run_id: str,
    status: Status,
    changed: float,
    started: float | None = None,
    ended: float | None = None,
) -> Run:
    """Times in seconds before NOW."""
    at = [None if seconds is None else NOW - seconds for seconds in (started, ended)]
    return Run(run_id, status, NOW - changed, at[0], at[1])


def failed(run_id: str, ended: float, lived: float = 20) -> Run:
    return run(run_id, Status.FAILURE, ended, ended + lived, ended)


LOST = "its stream no longer holds the lock in Postgres, so its process is gone; last sign of life: 2026-01-02 03:04:05+00:00"
NEVER_TAKEN = "its stream has not taken the lock in Postgres within 90 s of its start"

TABLE = {
    "nothing ever ran": ([], NEVER, None, Decision(launch=True)),
    "one streams": ([run("a", Status.STARTED, 500, 500)], A_STREAMS, None, Decision(reason="run a streams")),
    "one streams, in trouble": (
        [run("a", Status.STARTED, 500, 500)],
        A_IS_IN_TROUBLE,
        None,
        Decision(reason="run a streams; its last trouble: no connection"),
    ),
    "one is on its way to the lock": (
        [run("b", Status.STARTED, 89, 89), failed("a", 100)],
        A_STREAMED,
        None,
        Decision(reason="run b is STARTED for 89 s and does not hold the lock yet"),
    ),
    "one never got to the lock": (
        [run("b", Status.STARTED, 90, 90), failed("a", 100)],
        A_STREAMED,
        None,
        Decision(dead=(("b", NEVER_TAKEN),), reason="reported as ended: b"),
    ),
    "one has just lost the lock": (
        [run("a", Status.STARTED, 500, 500)],
        A_STREAMED,
        None,
        Decision(reason="run a is STARTED for 500 s and does not hold the lock yet", lost_lock=LostLock("a", NOW)),
    ),
    "one lost the lock, and may still take it up again": (
        [run("a", Status.STARTED, 500, 500)],
        A_STREAMED,
        LostLock("a", NOW - 9),
        Decision(reason="run a is STARTED for 500 s and does not hold the lock yet", lost_lock=LostLock("a", NOW - 9)),
    ),
    "one lost the lock for good": (
        [run("a", Status.STARTED, 500, 500)],
        A_STREAMED,
        LostLock("a", NOW - 10),
        Decision(dead=(("a", LOST),), reason="reported as ended: a", lost_lock=LostLock("a", NOW - 10)),
    ),
    "one took the lock up again: it is forgotten that it was missing": (
        [run("a", Status.STARTED, 500, 500)],
        A_STREAMS,
        LostLock("a", NOW - 60),
        Decision(reason="run a streams"),
    ),
    "another one was missing before": (
        [run("a", Status.STARTED, 500, 500)],
        A_STREAMED,
        LostLock("z", NOW - 60),
        Decision(reason="run a is STARTED for 500 s and does not hold the lock yet", lost_lock=LostLock("a", NOW)),
    ),
    "a dead one beside one that lives": (
        [run("b", Status.STARTED, 200, 200), run("a", Status.STARTED, 500, 500)],
        A_STREAMS,
        None,
        Decision(dead=(("b", NEVER_TAKEN),), reason="run a streams"),
    ),
    "one waits in the queue, however long": (
        [run("a", Status.QUEUED, 5_000)],
        NEVER,
        None,
        Decision(reason="run a is QUEUED for 5000 s and does not hold the lock yet"),
    ),
    "one is being launched": (
        [run("a", Status.STARTING, 179)],
        NEVER,
        None,
        Decision(reason="run a is STARTING for 179 s and does not hold the lock yet"),
    ),
    "one was launched and never started": (
        [run("a", Status.STARTING, 180)],
        NEVER,
        None,
        Decision(dead=(("a", "it has not started within 180 s of its launch"),), reason="reported as ended: a"),
    ),
    "one is stopping": (
        [run("a", Status.CANCELING, 400, 500)],
        A_STREAMS,
        None,
        Decision(reason="run a streams"),
    ),
    "one was killed while it stopped": (
        [run("a", Status.CANCELING, 30, 500)],
        A_STREAMED,
        None,
        Decision(
            dead=(("a", "it was asked to stop, and its process is gone"),), reason="reported as ended: a", lost_lock=LostLock("a", NOW)
        ),
    ),
    "the command line streams": (
        [failed("a", 900)],
        BY_HAND,
        None,
        Decision(reason="the stream runs already: promo-assets stream run (pid 7) holds the lock"),
    ),
    "the command line streamed": ([failed("a", 900)], BY_HAND_ONCE, None, Decision(launch=True)),
    "one is marked failed and still writes": (
        [failed("a", 900)],
        A_STREAMS,
        None,
        Decision(reason="the stream runs already: dagster run a holds the lock, although that run is marked FAILURE"),
    ),
    "terminated by somebody": ([run("a", Status.CANCELED, 0, 50, 0)], A_STREAMED, None, Decision(launch=True)),
    "failed a moment ago": ([failed("a", 4)], A_STREAMED, None, Decision(reason="the last run failed: the next one starts in 1 s")),
    "failed, five seconds ago": ([failed("a", 5)], A_STREAMED, None, Decision(launch=True)),
    "failed three times in a row": (
        [failed("c", 5), failed("b", 60), failed("a", 100)],
        A_STREAMED,
        None,
        Decision(reason="3 runs in a row failed: the next one starts in 15 s"),
    ),
    "failed eight times in a row": (
        [failed(name, 100 + order) for order, name in enumerate("hgfedcba")],
        A_STREAMED,
        None,
        Decision(reason="8 runs in a row failed: the next one starts in 200 s"),
    ),
    "failed after a long life: the row begins there": (
        [failed("c", 5), failed("b", 60, lived=601), failed("a", 900)],
        A_STREAMED,
        None,
        Decision(reason="2 runs in a row failed: the next one starts in 5 s"),
    ),
    "failed after a termination: the row begins behind it": (
        [failed("c", 2), run("b", Status.CANCELED, 50, 60, 50), failed("a", 70)],
        A_STREAMED,
        None,
        Decision(reason="the last run failed: the next one starts in 3 s"),
    ),
    "failed before it started": (
        [run("a", Status.FAILURE, 1, None, 1)],
        NEVER,
        None,
        Decision(reason="the last run failed: the next one starts in 4 s"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "heartbeat", "missing", "expected"), TABLE.values(), ids=TABLE.keys()
)
def test_decide(
    runs: list[Run], heartbeat: Heartbeat, missing: LostLock | None, expected: Decision
) -> None:
    assert decide(runs, heartbeat, missing, NOW) == expected


def look(
    settings: Settings, instance: dg.DagsterInstance, cursor: str | None = None
) -> SensorExecutionData:
    definitions = build_definitions(settings)
    repository = definitions.get_repository_def()
    context = dg.build_sensor_context(
        instance=instance,
        repository_def=repository,
        cursor=cursor,
        resources={"settings": settings},
    )
    return definitions.resolve_sensor_def("promo_stream_sensor").evaluate_tick(context)


def test_without_postgres_the_keeper_says_so_and_starts_nothing(world: World) -> None:
    world.extra_env["PROMO_POSTGRES_URL"] = "postgresql://promo:s3cret@127.0.0.1:1/promo"
    with dg.DagsterInstance.ephemeral() as instance:
        tick = look(world.settings, instance)
    assert tick.run_requests == []
    assert tick.skip_message is not None
    assert tick.skip_message.startswith("waits for Postgres: connection failed")
    assert "s3cret" not in tick.skip_message


def test_without_its_topics_the_keeper_says_so_and_starts_nothing(world: World) -> None:
    world.extra_env["PROMO_TOPIC_OUT"] = "no-such-topic"
    with dg.DagsterInstance.ephemeral() as instance:
        tick = look(world.settings, instance)
    assert tick.run_requests == []
    assert tick.skip_message is not None
    assert tick.skip_message.startswith("waits for Kafka: topic no-such-topic does not exist")


def test_each_look_starts_a_run_of_its_own_while_none_is_there(world: World) -> None:
    world.execute("DROP SCHEMA promo_ledger CASCADE")  # a database that the stream has never seen
    with dg.DagsterInstance.ephemeral() as instance:
        requests = [look(world.settings, instance).run_requests for _ in range(2)]
    assert [[request.run_key for request in of_tick or []] for of_tick in requests] == [
        [None],
        [None],
    ]


def test_a_run_that_was_missing_once_is_forgotten(world: World) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tick = look(world.settings, instance, cursor='{"run_id": "a", "since": 1.0}')
    assert tick.cursor == "null"  # an empty one would leave the former in place
