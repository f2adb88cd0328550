"""Which runs of the stream are dead, and whether one is started, decided on literal runs."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from dagster import DagsterRunStatus as Status

from promo_assets.stream.defs.liveness import LostLock, Run, decide
from promo_assets.stream.ledger.lease import Heartbeat

NOW = 1_000_000.0
BEAT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

NEVER = Heartbeat(None, None, None, None, locked=False)
A_STREAMS = Heartbeat("dagster run a", BEAT, BEAT, None, locked=True)
A_STREAMED = Heartbeat("dagster run a", BEAT, BEAT, None, locked=False)
A_RETRIES = Heartbeat("dagster run a", BEAT, BEAT, "no connection", locked=True)
CLI_STREAMS = Heartbeat("promo-assets stream run (pid 7)", BEAT, BEAT, None, locked=True)
CLI_STREAMED = Heartbeat("promo-assets stream run (pid 7)", BEAT, BEAT, None, locked=False)


@dataclass(frozen=True)
class Expected:
    """A decision: of its texts, the parts that they must name."""

    reason: tuple[str, ...] = ()
    dead: dict[str, tuple[str, ...]] = field(default_factory=dict)
    launch: bool = False
    lost_lock: LostLock | None = None


def run(
    run_id: str,
    status: Status,
    changed: float,
    started: float | None = None,
    ended: float | None = None,
) -> Run:
    """A run; its times are given in seconds before NOW."""
    started_at, ended_at = (None if ago is None else NOW - ago for ago in (started, ended))
    return Run(run_id, status, NOW - changed, started_at, ended_at)


def failed(run_id: str, ended: float, lived: float = 20) -> Run:
    return run(run_id, Status.FAILURE, ended, ended + lived, ended)


LAUNCH = Expected(launch=True)
A_RUNS = Expected(reason=("run a is streaming",))
LOST = ("no longer holds the lock", "process has ended", "2026-01-02 03:04:05+00:00")
NEVER_ACQUIRED = ("not acquired the lock", "90 s of its start")


def starting(name: str, status: str, seconds: int) -> tuple[str, ...]:
    return (f"run {name} ", f" {status} ", f" {seconds} s", "does not hold the lock yet")


TABLE = {
    "no run has ever started": ([], NEVER, None, LAUNCH),
    "a run streams": ([run("a", Status.STARTED, 500, 500)], A_STREAMS, None, A_RUNS),
    "a run streams and retries a step": (
        [run("a", Status.STARTED, 500, 500)],
        A_RETRIES,
        None,
        Expected(reason=("run a is streaming", "no connection")),
    ),
    "a run has not acquired the lock yet": (
        [run("b", Status.STARTED, 89, 89), failed("a", 100)],
        A_STREAMED,
        None,
        Expected(reason=starting("b", "STARTED", 89)),
    ),
    "a run has never acquired the lock": (
        [run("b", Status.STARTED, 90, 90), failed("a", 100)],
        A_STREAMED,
        None,
        Expected(dead={"b": NEVER_ACQUIRED}, reason=("ended", "b")),
    ),
    "a run has just lost the lock": (
        [run("a", Status.STARTED, 500, 500)],
        A_STREAMED,
        None,
        Expected(reason=starting("a", "STARTED", 500), lost_lock=LostLock("a", NOW)),
    ),
    "a run lost the lock and may still reacquire it": (
        [run("a", Status.STARTED, 500, 500)],
        A_STREAMED,
        LostLock("a", NOW - 9),
        Expected(reason=starting("a", "STARTED", 500), lost_lock=LostLock("a", NOW - 9)),
    ),
    "a run lost the lock for good": (
        [run("a", Status.STARTED, 500, 500)],
        A_STREAMED,
        LostLock("a", NOW - 10),
        Expected(dead={"a": LOST}, reason=("ended", "a"), lost_lock=LostLock("a", NOW - 10)),
    ),
    "a run has reacquired the lock, and the loss is forgotten": (
        [run("a", Status.STARTED, 500, 500)],
        A_STREAMS,
        LostLock("a", NOW - 60),
        A_RUNS,
    ),
    "another run lost the lock before": (
        [run("a", Status.STARTED, 500, 500)],
        A_STREAMED,
        LostLock("z", NOW - 60),
        Expected(reason=starting("a", "STARTED", 500), lost_lock=LostLock("a", NOW)),
    ),
    "one run is dead and another streams": (
        [run("b", Status.STARTED, 200, 200), run("a", Status.STARTED, 500, 500)],
        A_STREAMS,
        None,
        Expected(dead={"b": NEVER_ACQUIRED}, reason=A_RUNS.reason),
    ),
    "a run is queued, however long": (
        [run("a", Status.QUEUED, 5_000)],
        NEVER,
        None,
        Expected(reason=starting("a", "QUEUED", 5_000)),
    ),
    "a run is being launched": (
        [run("a", Status.STARTING, 179)],
        NEVER,
        None,
        Expected(reason=starting("a", "STARTING", 179)),
    ),
    "a run was launched and has never started": (
        [run("a", Status.STARTING, 180)],
        NEVER,
        None,
        Expected(dead={"a": ("not started", "180 s of its launch")}, reason=("ended", "a")),
    ),
    "a run is stopping": ([run("a", Status.CANCELING, 400, 500)], A_STREAMS, None, A_RUNS),
    "a run was killed while it was stopping": (
        [run("a", Status.CANCELING, 30, 500)],
        A_STREAMED,
        None,
        Expected(
            dead={"a": ("asked to stop", "process has ended")},
            reason=("ended", "a"),
            lost_lock=LostLock("a", NOW),
        ),
    ),
    "another run starts while the command line streams": (
        [run("b", Status.STARTED, 10, 10)],
        CLI_STREAMS,
        None,
        Expected(reason=("run b ", "STARTED", "promo-assets stream run (pid 7) holds the lock")),
    ),
    "the command line streams": (
        [failed("a", 900)],
        CLI_STREAMS,
        None,
        Expected(reason=("already running", "promo-assets stream run (pid 7) holds the lock")),
    ),
    "the command line streamed": ([failed("a", 900)], CLI_STREAMED, None, LAUNCH),
    "a run is marked failed and still streams": (
        [failed("a", 900)],
        A_STREAMS,
        None,
        Expected(reason=("already running", "dagster run a holds the lock", "marked FAILURE")),
    ),
    "a run was terminated": ([run("a", Status.CANCELED, 0, 50, 0)], A_STREAMED, None, LAUNCH),
    "a run failed less than five seconds ago": (
        [failed("a", 4)],
        A_STREAMED,
        None,
        Expected(reason=("the last run failed", "in 1 s")),
    ),
    "a run failed five seconds ago": ([failed("a", 5)], A_STREAMED, None, LAUNCH),
    "three runs in a row failed": (
        [failed("c", 5), failed("b", 60), failed("a", 100)],
        A_STREAMED,
        None,
        Expected(reason=("3 runs", "failed", "in 15 s")),
    ),
    "eight runs in a row failed": (
        [failed(name, 100 + order) for order, name in enumerate("hgfedcba")],
        A_STREAMED,
        None,
        Expected(reason=("8 runs", "failed", "in 200 s")),
    ),
    "the second of three failures came after a long life, and the row begins with it": (
        [failed("c", 5), failed("b", 60, lived=601), failed("a", 900)],
        A_STREAMED,
        None,
        Expected(reason=("2 runs", "failed", "in 5 s")),
    ),
    "a termination was between two failures, and the row begins after it": (
        [failed("c", 2), run("b", Status.CANCELED, 50, 60, 50), failed("a", 70)],
        A_STREAMED,
        None,
        Expected(reason=("the last run failed", "in 3 s")),
    ),
    "a run failed before it started": (
        [run("a", Status.FAILURE, 1, None, 1)],
        NEVER,
        None,
        Expected(reason=("the last run failed", "in 4 s")),
    ),
}


@pytest.mark.parametrize(
    ("runs", "heartbeat", "lost_lock", "expected"), TABLE.values(), ids=TABLE.keys()
)
def test_the_decision(
    runs: list[Run], heartbeat: Heartbeat, lost_lock: LostLock | None, expected: Expected
) -> None:
    decision = decide(runs, heartbeat, lost_lock, NOW)
    assert (decision.launch, decision.lost_lock) == (expected.launch, expected.lost_lock)
    dead = dict(decision.dead)
    assert (list(dead), len(decision.dead)) == (list(expected.dead), len(dead))
    assert [part for part in expected.reason if part not in decision.reason] == []
    for run_id, parts in expected.dead.items():
        assert [part for part in parts if part not in dead[run_id]] == []
    assert bool(decision.reason) is not decision.launch
