"""The sensor that keeps exactly one run of the stream alive; `liveness.py` decides.

This module reads Dagster's runs and the heartbeat in Postgres, and carries the decision out.
"""

import json
import logging
import time
from dataclasses import asdict

import dagster as dg
import psycopg
from dagster import DagsterRunStatus as Status

from promo_assets.settings import Settings
from promo_assets.stream.defs.assets import promo_stream
from promo_assets.stream.defs.liveness import FINISHED, UNFINISHED, LostLock, Run, decide
from promo_assets.stream.errors import LedgerError, StreamError, first_line
from promo_assets.stream.kafka.topics import check_topics
from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.lease import Heartbeat, read_heartbeat
from promo_assets.stream.ledger.schema import ledger_version

TICK_S = 5
# After this many failures in a row the back-off has reached its maximum.
FINISHED_RUNS_READ = 8

log = logging.getLogger(__name__)


@dg.sensor(
    job=promo_stream, default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=TICK_S
)
def promo_stream_sensor(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult:
    """Keeps exactly one run of `promo_stream` alive.

    It starts a new run after a crash, with a growing delay while runs keep failing. To stop the
    stream for good, turn the sensor off, then terminate the run.
    """
    try:
        heartbeat = _read_heartbeat(settings)
    except psycopg.Error as error:
        # Without Postgres nobody knows which runs are alive, and a new run could not stream.
        return dg.SensorResult(
            skip_reason=f"Waiting for Postgres: {first_line(error)}", cursor=_encode_cursor(None)
        )
    except LedgerError as error:
        return dg.SensorResult(skip_reason=str(error), cursor=_encode_cursor(None))
    runs, lost_lock = _read_runs(context.instance), _decode_cursor(context.cursor)
    decision = decide(runs, heartbeat, lost_lock, time.time())
    for run_id, reason in decision.dead:
        _report_ended(context.instance, run_id, reason)
    cursor = _encode_cursor(decision.lost_lock)
    if not decision.launch:
        return dg.SensorResult(skip_reason=decision.reason, cursor=cursor)
    try:
        check_topics(settings)
    except StreamError as error:
        return dg.SensorResult(skip_reason=f"Waiting for Kafka: {error}", cursor=cursor)
    # The request has no run key: Dagster launches only one run per run key.
    return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=cursor)


def _encode_cursor(lost_lock: LostLock | None) -> str:
    """The sensor's cursor; it is never empty, because then Dagster would keep the former cursor."""
    return json.dumps(asdict(lost_lock) if lost_lock else None)


def _decode_cursor(cursor: str | None) -> LostLock | None:
    lost_lock = json.loads(cursor or "null")
    return LostLock(**lost_lock) if lost_lock else None


def _read_heartbeat(settings: Settings) -> Heartbeat:
    with connect(settings.database_url, "promo stream, sensor") as connection:
        if not ledger_version(connection):
            # The first run creates the tables.
            return Heartbeat(None, None, None, None, locked=False)
        return read_heartbeat(connection)


def _read_runs(instance: dg.DagsterInstance) -> list[Run]:
    """All unfinished runs of the stream, and the last finished ones, newest first."""
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


def _report_ended(instance: dg.DagsterInstance, run_id: str, reason: str) -> None:
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:  # it has ended by itself in the meantime
        return
    log.warning("Run %s is dead: %s", run_id, reason)
    message = f"The sensor found this run dead: {reason}"
    if run.status == Status.CANCELING:
        instance.report_run_canceled(run, message)
    else:
        instance.report_run_failed(run, message)
