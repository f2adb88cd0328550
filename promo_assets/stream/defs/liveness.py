"""Decides which runs of the stream are dead, and whether to start one; it does no I/O.

A run is alive if its stream holds the lock in Postgres (`ledger/lease.py`). Dagster's records are
not enough: they still show a run as started after its whole machine was killed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dagster import DagsterRunStatus as Status

from promo_assets.stream.ledger.lease import Heartbeat

# A started run checks Kafka and Postgres, then waits up to 30 s for the lock.
START_TIMEOUT_S = 90
# Dagster itself allows three minutes from the launch of a run to its start.
LAUNCH_TIMEOUT_S = 180
# A run that held the lock reacquires it within seconds when Postgres is available again.
REACQUIRE_TIMEOUT_S = 10
CANCEL_TIMEOUT_S = 30
MIN_BACKOFF_S, MAX_BACKOFF_S = 5, 300
HEALTHY_RUN_S = 600

HOLDER = "dagster run "
UNFINISHED = [
    Status.QUEUED,
    Status.NOT_STARTED,
    Status.MANAGED,
    Status.STARTING,
    Status.STARTED,
    Status.CANCELING,
]
FINISHED = [Status.SUCCESS, Status.FAILURE, Status.CANCELED]


@dataclass(frozen=True)
class Run:
    """A run of the job `promo_stream`; times are unix seconds."""

    run_id: str
    status: Status
    changed_at: float
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class LostLock:
    """The unfinished run that held the lock last, and since when (unix time) nobody holds it."""

    run_id: str
    since: float


@dataclass(frozen=True)
class Decision:
    """Which runs to report as ended, as (run_id, reason), and whether to launch one.

    `reason` says why no run is launched. `lost_lock` is for the next decision.
    """

    dead: tuple[tuple[str, str], ...] = ()
    launch: bool = False
    reason: str = ""
    lost_lock: LostLock | None = None


def decide(
    runs: Sequence[Run], heartbeat: Heartbeat, lost_lock: LostLock | None, now: float
) -> Decision:
    """Decide about the runs of the stream, newest first, at unix time `now`.

    `lost_lock` is that of the decision before this one.
    """
    lost_lock = _find_lost_lock(runs, heartbeat, lost_lock, now)
    unfinished = [run for run in runs if run.status in UNFINISHED]
    death_reasons = {
        run: reason
        for run in unfinished
        if (reason := _explain_death(run, heartbeat, lost_lock, now))
    }
    dead = tuple((run.run_id, reason) for run, reason in death_reasons.items())

    for run in unfinished:
        if run not in death_reasons:
            return Decision(dead, reason=_describe_run(run, heartbeat, now), lost_lock=lost_lock)
    if heartbeat.locked:
        return Decision(dead, reason=_describe_holder(runs, heartbeat), lost_lock=lost_lock)
    if dead:  # at the next tick they have ended, and the back-off after a failure applies
        run_ids = ", ".join(run_id for run_id, _ in dead)
        return Decision(dead, reason=f"reported as ended: {run_ids}", lost_lock=lost_lock)
    failures, launch_at = _back_off([run for run in runs if run.status in FINISHED])
    if now < launch_at:
        failed = f"the last {failures} runs" if failures > 1 else "the last run"
        reason = f"{failed} failed: the next one starts in {launch_at - now:.0f} s"
        return Decision(reason=reason, lost_lock=lost_lock)
    return Decision(launch=True, lost_lock=lost_lock)


def _is_holder(run: Run, heartbeat: Heartbeat) -> bool:
    """Whether the run holds the lock, or held it last."""
    return heartbeat.holder == HOLDER + run.run_id


def _find_lost_lock(
    runs: Sequence[Run], heartbeat: Heartbeat, lost_lock: LostLock | None, now: float
) -> LostLock | None:
    if heartbeat.locked:
        return None
    for run in runs:
        if run.status in UNFINISHED and _is_holder(run, heartbeat):
            if lost_lock and lost_lock.run_id == run.run_id:
                return lost_lock
            return LostLock(run.run_id, now)
    return None


def _explain_death(
    run: Run, heartbeat: Heartbeat, lost_lock: LostLock | None, now: float
) -> str | None:
    """Why an unfinished run is dead, or None. A queued run has no process that could have died."""
    if heartbeat.locked and _is_holder(run, heartbeat):
        return None
    unchanged_s = now - run.changed_at
    if run.status == Status.CANCELING and unchanged_s >= CANCEL_TIMEOUT_S:
        return "it was asked to stop, and its process has ended"
    if run.status == Status.STARTED and lost_lock:
        if lost_lock.run_id == run.run_id and now - lost_lock.since >= REACQUIRE_TIMEOUT_S:
            return (
                "its stream no longer holds the lock in Postgres, so its process has ended; "
                f"last heartbeat: {heartbeat.beat_at}"
            )
    elif run.status == Status.STARTED:
        if now - (run.started_at or run.changed_at) >= START_TIMEOUT_S:
            return (
                "its stream has not acquired the lock in Postgres within "
                f"{START_TIMEOUT_S} s of its start"
            )
    elif run.status in (Status.NOT_STARTED, Status.STARTING) and unchanged_s >= LAUNCH_TIMEOUT_S:
        return f"it has not started within {LAUNCH_TIMEOUT_S} s of its launch"
    return None


def _describe_run(run: Run, heartbeat: Heartbeat, now: float) -> str:
    if heartbeat.locked and _is_holder(run, heartbeat):
        error = f"; its last error: {heartbeat.last_error}" if heartbeat.last_error else ""
        return f"run {run.run_id} is streaming{error}"
    status = f"run {run.run_id} has been {run.status.value} for {now - run.changed_at:.0f} s"
    if heartbeat.locked:
        return f"{status}, and {heartbeat.holder} holds the lock"
    return f"{status} and does not hold the lock yet"


def _describe_holder(runs: Sequence[Run], heartbeat: Heartbeat) -> str:
    marked = [
        f", although that run is marked {run.status.value}"
        for run in runs
        if _is_holder(run, heartbeat) and run.status in FINISHED
    ]
    contradiction = marked[0] if marked else ""
    holder = heartbeat.holder or ""
    return f"the stream is already running: {holder} holds the lock{contradiction}"


def _back_off(finished: Sequence[Run]) -> tuple[int, float]:
    """The number of failures in a row, and the unix time at which the next run may start.

    A termination is not a failure. A run that lived for `HEALTHY_RUN_S` is the first of its row.
    """
    failures = 0
    for run in finished:
        if run.status != Status.FAILURE:
            break
        failures += 1
        if (run.ended_at or 0) - (run.started_at or run.ended_at or 0) > HEALTHY_RUN_S:
            break
    if not failures:
        return 0, 0.0
    back_off_s = min(MAX_BACKOFF_S, MIN_BACKOFF_S * 2 ** (failures - 1))
    return failures, (finished[0].ended_at or finished[0].changed_at) + back_off_s
