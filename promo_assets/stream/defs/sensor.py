"""Keeps exactly one run of the stream alive.

A run is alive when its stream holds the lock in Postgres (`lease.py`), not when Dagster's records say so: they go on
saying so when the whole machine was killed.
"""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import dagster as dg
import psycopg
from dagster import DagsterRunStatus as Status

from promo_assets.settings import Settings
from promo_assets.stream.defs.assets import promo_stream
from promo_assets.stream.errors import LedgerError, StreamError, first_line
from promo_assets.stream.kafka.topics import check_topics
from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.lease import Heartbeat, read_heartbeat
from promo_assets.stream.ledger.ledger import ledger_version

TICK_S = 5
# A started run asks Kafka and Postgres for what it needs, then waits up to 30 s for the lock.
START_TIMEOUT_S = 90
# Dagster itself gives a run three minutes from its launch to its start.
LAUNCH_TIMEOUT_S = 180
# A run that had the lock takes it up again within seconds after Postgres was away.
REACQUIRE_TIMEOUT_S = 10
CANCEL_TIMEOUT_S = 30
MIN_BACKOFF_S, MAX_BACKOFF_S = 5, 300
HEALTHY_RUN_S = 600
# As many failures in a row lead to the last back-off.
FINISHED_RUNS_READ = 8

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

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What the sensor must know of a run; times are unix seconds."""

    run_id: str
    status: Status
    changed_at: float
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class LostLock:
    """The run that was the last to hold the lock, and since when nobody does."""

    run_id: str
    since: float


@dataclass(frozen=True)
class Decision:
    """What is to be done: runs to report as ended, with the reason why; then one to launch, or a reason not to."""

    dead: tuple[tuple[str, str], ...] = ()
    launch: bool = False
    reason: str = ""
    lost_lock: LostLock | None = None


def decide(
    runs: Sequence[Run], heartbeat: Heartbeat, lost_lock: LostLock | None, now: float
) -> Decision:
    """What to do about the runs of the stream, newest first; `lost_lock` is what the decision before this one remembered."""
    holder = heartbeat.holder or ""
    lost_lock = _find_lost_lock(runs, heartbeat, lost_lock, now)
    unfinished = [run for run in runs if run.status in UNFINISHED]
    found_dead = {
        run: why for run in unfinished if (why := _why_dead(run, heartbeat, lost_lock, now))
    }
    dead = tuple((run.run_id, why) for run, why in found_dead.items())

    for run in unfinished:
        if run not in found_dead:
            return Decision(dead, reason=_what_it_does(run, heartbeat, now), lost_lock=lost_lock)
    if heartbeat.locked:
        marked = [
            run.status.value
            for run in runs
            if holder == HOLDER + run.run_id and run.status in FINISHED
        ]
        seen = f", although that run is marked {marked[0]}" if marked else ""
        return Decision(
            dead,
            reason=f"the stream runs already: {holder} holds the lock{seen}",
            lost_lock=lost_lock,
        )
    if dead:  # the next look sees them ended, and waits as after any failure
        return Decision(
            dead,
            reason="reported as ended: " + ", ".join(run_id for run_id, _ in dead),
            lost_lock=lost_lock,
        )
    failures, allowed_at = _backoff([run for run in runs if run.status in FINISHED])
    if now < allowed_at:
        in_a_row = f"{failures} runs in a row" if failures > 1 else "the last run"
        return Decision(
            reason=f"{in_a_row} failed: the next one starts in {allowed_at - now:.0f} s",
            lost_lock=lost_lock,
        )
    return Decision(launch=True, lost_lock=lost_lock)


def _find_lost_lock(
    runs: Sequence[Run], heartbeat: Heartbeat, lost_lock: LostLock | None, now: float
) -> LostLock | None:
    for run in runs:
        if (
            not heartbeat.locked
            and run.status in UNFINISHED
            and heartbeat.holder == HOLDER + run.run_id
        ):
            return (
                lost_lock
                if lost_lock and lost_lock.run_id == run.run_id
                else LostLock(run.run_id, now)
            )
    return None


def _why_dead(run: Run, heartbeat: Heartbeat, lost_lock: LostLock | None, now: float) -> str | None:
    if heartbeat.locked and heartbeat.holder == HOLDER + run.run_id:
        return None
    if run.status == Status.CANCELING and now - run.changed_at >= CANCEL_TIMEOUT_S:
        return "it was asked to stop, and its process is gone"
    if (
        run.status == Status.STARTED
        and lost_lock
        and lost_lock.run_id == run.run_id
        and now - lost_lock.since >= REACQUIRE_TIMEOUT_S
    ):
        return f"its stream no longer holds the lock in Postgres, so its process is gone; last sign of life: {heartbeat.beat_at}"
    if (
        run.status == Status.STARTED
        and not lost_lock
        and now - (run.started_at or run.changed_at) >= START_TIMEOUT_S
    ):
        return (
            f"its stream has not taken the lock in Postgres within {START_TIMEOUT_S} s of its start"
        )
    if (
        run.status in (Status.NOT_STARTED, Status.STARTING)
        and now - run.changed_at >= LAUNCH_TIMEOUT_S
    ):
        return f"it has not started within {LAUNCH_TIMEOUT_S} s of its launch"
    return None  # a queued one has no process that could die, and its turn comes


def _what_it_does(run: Run, heartbeat: Heartbeat, now: float) -> str:
    if heartbeat.locked and heartbeat.holder == HOLDER + run.run_id:
        return f"run {run.run_id} streams" + (
            f"; its last trouble: {heartbeat.last_error}" if heartbeat.last_error else ""
        )
    waits = f"run {run.run_id} is {run.status.value} for {now - run.changed_at:.0f} s"
    return (
        f"{waits}, and {heartbeat.holder} holds the lock"
        if heartbeat.locked
        else f"{waits} and does not hold the lock yet"
    )


def _backoff(finished: Sequence[Run]) -> tuple[int, float]:
    """(failures in a row, when the next run may start). A termination is no failure; a long life ends the row."""
    failures = 0
    for run in finished:
        if run.status != Status.FAILURE:
            break
        failures += 1
        if (run.ended_at or 0) - (run.started_at or run.ended_at or 0) > HEALTHY_RUN_S:
            break
    if not failures:
        return 0, 0.0
    return failures, (finished[0].ended_at or finished[0].changed_at) + min(
        MAX_BACKOFF_S, MIN_BACKOFF_S * 2 ** (failures - 1)
    )


@dg.sensor(
    job=promo_stream, default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=TICK_S
)
def promo_stream_sensor(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult:
    """Keeps exactly one run of `promo_stream` alive: a crashed one is followed by a new one, later and later while they keep failing.

    To stop the stream for good, turn this off, then terminate the run.
    """
    try:
        heartbeat = _read_heartbeat(settings)
    except psycopg.Error as error:
        # Without Postgres nothing can be judged, and nothing started now would live.
        return dg.SensorResult(
            skip_reason=f"waits for Postgres: {first_line(error)}", cursor=_encode_cursor(None)
        )
    except LedgerError as problem:
        return dg.SensorResult(skip_reason=str(problem), cursor=_encode_cursor(None))
    decision = decide(
        _runs(context.instance), heartbeat, _decode_cursor(context.cursor), time.time()
    )
    for run_id, why in decision.dead:
        _report_ended(context.instance, run_id, why)
    cursor = _encode_cursor(decision.lost_lock)
    if not decision.launch:
        return dg.SensorResult(skip_reason=decision.reason, cursor=cursor)
    try:
        check_topics(settings)
    except StreamError as problem:
        return dg.SensorResult(skip_reason=f"waits for Kafka: {problem}", cursor=cursor)
    # No run key: with one, Dagster would launch the stream once and never again.
    return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=cursor)


def _encode_cursor(lost_lock: LostLock | None) -> str:
    """As the sensor's cursor; never empty, because Dagster keeps the former cursor then."""
    return json.dumps(asdict(lost_lock) if lost_lock else None)


def _decode_cursor(cursor: str | None) -> LostLock | None:
    lost_lock = json.loads(cursor or "null")
    return LostLock(**lost_lock) if lost_lock else None


def _read_heartbeat(settings: Settings) -> Heartbeat:
    with connect(settings.database_url, "promo stream, sensor") as connection:
        if not ledger_version(connection):
            return Heartbeat(None, None, None, None, locked=False)  # the first run makes the tables
        return read_heartbeat(connection)


def _runs(instance: dg.DagsterInstance) -> list[Run]:
    """The unfinished ones, however old, and the last finished ones; newest first."""
    name = promo_stream.name
    records = [
        *instance.get_run_records(dg.RunsFilter(job_name=name, statuses=UNFINISHED)),
        *instance.get_run_records(
            dg.RunsFilter(job_name=name, statuses=FINISHED), limit=FINISHED_RUNS_READ
        ),
    ]
    return [
        Run(
            record.dagster_run.run_id,
            record.dagster_run.status,
            record.update_timestamp.timestamp(),
            record.start_time,
            record.end_time,
        )
        for record in sorted(records, key=lambda record: record.storage_id, reverse=True)
    ]


def _report_ended(instance: dg.DagsterInstance, run_id: str, why: str) -> None:
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:  # it ended by itself since it was looked at
        return
    log.warning("run %s is dead: %s", run_id, why)
    if run.status == Status.CANCELING:
        instance.report_run_canceled(run, f"The sensor found this run dead: {why}")
    else:
        instance.report_run_failed(run, f"The sensor found this run dead: {why}")
