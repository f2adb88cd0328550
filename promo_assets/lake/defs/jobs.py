"""How the lake is run: everything once, and then day by day."""

import time
from collections.abc import Iterator
from datetime import date

import dagster as dg
from pydantic import Field

from promo_assets.lake import steps, tables
from promo_assets.lake.defs.cancellation import cancellable
from promo_assets.lake.defs.reporting import key_of, stats_metadata
from promo_assets.lake.storage.files import LakeError
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.storage.load_markers import RawFiles, has_load_marker, write_load_marker
from promo_assets.lake.transform.cities import City

DAYS_AT_ONCE, BYTES_AT_ONCE = (
    31,
    4 * 2**30,
)  # of RAW: what a crash may cost, and what keeps a day's files few
HOUR_OF_DAILY_RUN = 3  # UTC; by then the day's RAW should be there
DAYS_OF_FEEDBACK = 7  # for so long a day is brought up to date
TAGS = {"promo_assets/subsystem": "lake"}  # how many run at a time: deploy/dagster.yaml


class LoadConfig(dg.Config):
    again: bool = Field(
        False,
        description="Also the days that were loaded before and have not changed in RAW since.",
    )


def build_jobs(
    daily: dg.DailyPartitionsDefinition, to_today: dg.DailyPartitionsDefinition
) -> tuple[list, list]:
    """The lake's jobs and schedules."""

    @dg.op
    @cancellable
    def load_every_day(
        context: dg.OpExecutionContext, config: LoadConfig, lake: dg.ResourceParam[Lake]
    ) -> None:
        """Takes every RAW day to STG and DDS, many at once. Done again, it goes on where it was interrupted."""
        raw, failed = _raw_to_load(context, lake, daily, config.again)
        began, loaded, of = time.monotonic(), 0, len(raw) + len(failed)
        cities = steps.load_cities(lake)
        for chunk in _chunks(raw):
            failed |= _load(context, lake, cities, chunk)
            loaded += len(chunk)
            left_s = (time.monotonic() - began) / loaded * (len(raw) - loaded)
            context.log.info(
                f"{loaded} of {len(raw)} days, to {max(chunk)}; about {left_s:.0f} s left"
            )
        if failed:
            raise dg.Failure(
                f"{len(failed)} of {of} days failed. "
                + " · ".join(failed[day] for day in sorted(failed))
            )

    @dg.job(tags=TAGS)
    def initial_load() -> None:
        """Every RAW day to STG and DDS, by hand, once; marts are made by `daily_lake`.

        A broken day does not stop the others; the job then fails and names it.
        """
        load_every_day()

    # These need Postgres, the rest of the lake does not.
    campaigns = dg.AssetSelection.assets(*(key_of(table) for table in tables.CAMPAIGNS))
    daily_lake = dg.define_asset_job(
        "daily_lake",
        tags=TAGS,
        selection=dg.AssetSelection.groups("stg", "dds", "mart") - campaigns,
        description="A day's RAW to STG and DDS, and the marts as of that day. "
        "Run config `resources: {marts: {config: {depth: N}}}`: their days of history.",
    )
    schedule = dg.build_schedule_from_partitioned_job(
        daily_lake, hour_of_day=HOUR_OF_DAILY_RUN, description="Yesterday's partition."
    )
    campaign_results = dg.define_asset_job(
        "campaign_results",
        tags=TAGS,
        selection=campaigns,
        description="Days of the feedback in Postgres, and what came of their campaigns. Feedback comes late: run a day again.",
    )

    @dg.schedule(
        job=campaign_results, cron_schedule=f"0 {HOUR_OF_DAILY_RUN} * * *", execution_timezone="UTC"
    )
    def campaign_results_schedule(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        """The last seven days in one run, since feedback arrives later than its row, and today so far."""
        now = context.scheduled_execution_time
        days = [
            day
            for day in to_today.get_partition_keys(now)[-DAYS_OF_FEEDBACK - 1 :]
            if day <= f"{now:%Y-%m-%d}"
        ]
        if not days:
            return dg.SkipReason(f"the lake's first day, {to_today.start:%Y-%m-%d}, has not come")
        return dg.RunRequest(
            tags={
                "dagster/asset_partition_range_start": days[0],
                "dagster/asset_partition_range_end": days[-1],
            }
        )

    return [initial_load, daily_lake, campaign_results], [schedule, campaign_results_schedule]


def _raw_to_load(
    context: dg.OpExecutionContext, lake: Lake, daily: dg.DailyPartitionsDefinition, again: bool
) -> tuple[dict[date, RawFiles], dict[date, str]]:
    """The days that are not loaded yet, with their files; and those whose files cannot even be listed, and why."""
    present = lake.days(tables.RAW_EVENTS)
    if not present:
        raise dg.Failure(
            f"RAW has no day: {lake.path(tables.RAW_EVENTS)} has no folder date=YYYY-MM-DD"
        )
    days = [day for day in present if daily.has_partition_key(str(day))]
    if len(days) < len(present):
        context.log.warning(
            f"{len(present) - len(days)} RAW days are left out: the lake's days are from {daily.start:%Y-%m-%d} to yesterday"
        )
    to_load: dict[date, RawFiles] = {}
    failed: dict[date, str] = {}
    for day in days:
        try:
            raw = lake.files(tables.RAW_EVENTS, day)
        except LakeError as error:
            failed[day] = str(error)
            continue
        if again or not has_load_marker(lake, day, raw):
            to_load[day] = raw
    context.log.info(
        f"RAW has {len(days)} days, {len(days) - len(to_load) - len(failed)} of them are loaded already"
    )
    return to_load, failed


def _chunks(raw: dict[date, RawFiles]) -> Iterator[dict[date, RawFiles]]:
    """Days that are loaded together."""
    chunk: dict[date, RawFiles] = {}
    size = 0
    for day, files in raw.items():
        of_day = sum(length for _, length, _ in files)
        if chunk and (len(chunk) == DAYS_AT_ONCE or size + of_day > BYTES_AT_ONCE):
            yield chunk
            chunk, size = {}, 0
        chunk[day] = files
        size += of_day
    if chunk:
        yield chunk


def _load(
    context: dg.OpExecutionContext, lake: Lake, cities: list[City], raw: dict[date, RawFiles]
) -> dict[date, str]:
    """Takes days to STG and DDS; says which failed, and why."""
    done, failed = steps.stage(lake, [*raw])
    staged = sorted(done)
    if not staged:
        return failed
    try:
        made = {
            tables.STG_EVENTS: done,
            tables.EVENTS: steps.clean(lake, cities, staged),
            tables.REJECTED_EVENTS: steps.reject(lake, staged),
        }
        made |= {table: steps.build_history(lake, table, staged) for table in tables.HISTORY}
    except LakeError as error:
        return failed | dict.fromkeys(staged, f"{staged[0]} to {staged[-1]}: {error}")
    for day in staged:
        read, kept, rejected = (
            made[table][day].rows
            for table in (tables.STG_EVENTS, tables.EVENTS, tables.REJECTED_EVENTS)
        )
        if read != kept + rejected:
            failed[day] = f"{day}: {read} events were read, {kept} kept and {rejected} rejected"
            continue
        for table, written in made.items():
            context.log_event(
                dg.AssetMaterialization(
                    key_of(table), partition=str(day), metadata=stats_metadata(written[day])
                )
            )
        write_load_marker(lake, day, raw[day])
    return failed
