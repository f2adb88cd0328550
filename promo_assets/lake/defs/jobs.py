"""The lake's jobs and schedules: the initial load of every day, and the daily runs after it."""

import time
from collections.abc import Iterator
from datetime import date

import dagster as dg
from pydantic import Field

from promo_assets.lake import steps, tables
from promo_assets.lake.defs.cancellation import cancellable
from promo_assets.lake.defs.reporting import build_failure, materialize_day
from promo_assets.lake.defs.specs import asset_key
from promo_assets.lake.storage.files import LakeError
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.storage.load_markers import RawFiles, has_load_marker, write_load_marker
from promo_assets.lake.transform.cities import City

# The largest chunk of RAW. It bounds the work that a crash costs, and the files per day.
DAYS_AT_ONCE, BYTES_AT_ONCE = 31, 4 * 2**30
DAILY_RUN_HOUR = 3  # UTC; the day's RAW should be there by then
FEEDBACK_DAYS = 7  # a day's feedback is updated for so many days
TAGS = {"promo_assets/subsystem": "lake"}  # deploy/dagster.yaml limits how many run at once


class LoadConfig(dg.Config):
    again: bool = Field(
        False,
        description="Also load the days that are loaded already and have not changed in RAW since.",
    )


def build_jobs(
    past_days: dg.DailyPartitionsDefinition, days_to_today: dg.DailyPartitionsDefinition
) -> tuple[list, list]:
    """Returns the lake's jobs and schedules."""
    # The campaigns need Postgres, the rest of the lake does not.
    campaigns = dg.AssetSelection.assets(*(asset_key(table) for table in tables.CAMPAIGNS))
    daily_lake = dg.define_asset_job(
        "daily_lake",
        tags=TAGS,
        selection=dg.AssetSelection.groups("stg", "dds", "mart") - campaigns,
        description="Loads a day of RAW into STG and DDS, and builds the marts as of that day. "
        "Run config `resources: {marts: {config: {depth: N}}}` sets their days of history.",
    )
    daily_lake_schedule = dg.build_schedule_from_partitioned_job(
        daily_lake, hour_of_day=DAILY_RUN_HOUR, description="Runs yesterday's partition."
    )
    campaign_results, campaign_results_schedule = _build_campaign_results(campaigns, days_to_today)
    jobs = [_build_initial_load(past_days), daily_lake, campaign_results]
    return jobs, [daily_lake_schedule, campaign_results_schedule]


def _build_initial_load(past_days: dg.DailyPartitionsDefinition) -> dg.JobDefinition:
    @dg.op
    @cancellable
    def load_every_day(
        context: dg.OpExecutionContext, config: LoadConfig, lake: dg.ResourceParam[Lake]
    ) -> None:
        """Loads every RAW day into STG and DDS, many days at once. An interrupted load continues
        where it stopped when it is run again."""
        raw, failed = _find_days_to_load(context, lake, past_days, config.again)
        started, loaded, total = time.monotonic(), 0, len(raw) + len(failed)
        cities = steps.ensure_cities(lake)
        for chunk in _split_into_chunks(raw):
            failed |= _load_days(context, lake, cities, chunk)
            loaded += len(chunk)
            left_s = (time.monotonic() - started) / loaded * (len(raw) - loaded)
            progress = f"Loaded {loaded} of {len(raw)} days, up to {max(chunk)}"
            context.log.info(f"{progress}; about {left_s:.0f} s left.")
        if failed:
            raise build_failure(failed, total)

    @dg.job(tags=TAGS)
    def initial_load() -> None:
        """Loads every RAW day into STG and DDS; run it once, by hand. `daily_lake` builds the
        marts.

        A broken day does not stop the others; the job then fails and names it.
        """
        load_every_day()

    return initial_load


def _build_campaign_results(
    campaigns: dg.AssetSelection, days_to_today: dg.DailyPartitionsDefinition
) -> tuple:
    """Returns the job and its schedule."""
    campaign_results = dg.define_asset_job(
        "campaign_results",
        tags=TAGS,
        selection=campaigns,
        description="Loads days of feedback from Postgres, and builds the results of their "
        "campaigns. Feedback arrives late: run a day again to update it.",
    )

    @dg.schedule(
        job=campaign_results, cron_schedule=f"0 {DAILY_RUN_HOUR} * * *", execution_timezone="UTC"
    )
    def campaign_results_schedule(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        """Runs the last seven days and today so far in one run, since feedback arrives later than
        its row."""
        now = context.scheduled_execution_time
        last_days = days_to_today.get_partition_keys(now)[-FEEDBACK_DAYS - 1 :]
        days = [day for day in last_days if day <= f"{now:%Y-%m-%d}"]
        if not days:
            return dg.SkipReason(
                f"The lake's first day, {days_to_today.start:%Y-%m-%d}, is in the future."
            )
        return dg.RunRequest(
            tags={
                "dagster/asset_partition_range_start": days[0],
                "dagster/asset_partition_range_end": days[-1],
            }
        )

    return campaign_results, campaign_results_schedule


def _find_days_to_load(
    context: dg.OpExecutionContext, lake: Lake, past_days: dg.DailyPartitionsDefinition, again: bool
) -> tuple[dict[date, RawFiles], dict[date, str]]:
    """Returns the days that are not loaded yet with their files, and the days whose files cannot
    be listed with the reason. `again` includes the days that are loaded."""
    present = lake.days(tables.RAW_EVENTS)
    if not present:
        raise dg.Failure(
            f"RAW has no days: {lake.path(tables.RAW_EVENTS)} has no folder date=YYYY-MM-DD. "
            "Check PROMO_LAKE_ROOT."
        )
    days = [day for day in present if past_days.has_partition_key(str(day))]
    if len(days) < len(present):
        context.log.warning(
            f"Left out {len(present) - len(days)} RAW days: the lake's days are those from "
            f"{past_days.start:%Y-%m-%d} (PROMO_LAKE_START) to yesterday."
        )
    to_load: dict[date, RawFiles] = {}
    failed: dict[date, str] = {}
    for day in days:
        try:
            files = lake.files(tables.RAW_EVENTS, day)
        except LakeError as error:
            failed[day] = str(error)
            continue
        if again or not has_load_marker(lake, day, files):
            to_load[day] = files
    loaded = len(days) - len(to_load) - len(failed)
    context.log.info(f"RAW has {len(days)} days; {loaded} of them are loaded already.")
    return to_load, failed


def _split_into_chunks(raw: dict[date, RawFiles]) -> Iterator[dict[date, RawFiles]]:
    """Yields the days in chunks that are loaded together."""
    chunk: dict[date, RawFiles] = {}
    chunk_bytes = 0
    for day, files in raw.items():
        day_bytes = sum(length for _, length, _ in files)
        is_full = len(chunk) == DAYS_AT_ONCE or chunk_bytes + day_bytes > BYTES_AT_ONCE
        if chunk and is_full:
            yield chunk
            chunk, chunk_bytes = {}, 0
        chunk[day] = files
        chunk_bytes += day_bytes
    if chunk:
        yield chunk


def _load_days(
    context: dg.OpExecutionContext, lake: Lake, cities: list[City], raw: dict[date, RawFiles]
) -> dict[date, str]:
    """Loads days into STG and DDS; returns the days that failed, with the reason."""
    done, failed = steps.stage_events(lake, [*raw])
    staged = sorted(done)
    if not staged:
        return failed
    try:
        stats = {
            tables.STG_EVENTS: done,
            tables.EVENTS: steps.clean_events(lake, cities, staged),
            tables.REJECTED_EVENTS: steps.reject_events(lake, staged),
        }
        stats |= {table: steps.build_history(lake, table, staged) for table in tables.HISTORY}
    except LakeError as error:
        return failed | dict.fromkeys(staged, f"{staged[0]} to {staged[-1]}: {error}")
    for day in staged:
        counted = (tables.STG_EVENTS, tables.EVENTS, tables.REJECTED_EVENTS)
        read, kept, rejected = (stats[table][day].rows for table in counted)
        if read != kept + rejected:
            failed[day] = f"{day}: {read} events were read, {kept} kept and {rejected} rejected"
            continue
        for table, stats_by_day in stats.items():
            context.log_event(materialize_day(table, day, stats_by_day[day]))
        write_load_marker(lake, day, raw[day])
    return failed
