"""The map: every asset of the lake, RAW -> STG -> DDS -> marts, and the stream's feedback -> STG -> marts, day by day.

What belongs here: which asset is made from which, for which days. What does not: how (`steps.py`), what a table is
(`tables.py`), what its page shows (`reporting.py`), what must hold of it (`checks.py`).
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from promo_assets.lake import steps, tables
from promo_assets.lake.defs import checks, reporting
from promo_assets.lake.defs.cancellation import cancellable
from promo_assets.lake.defs.reporting import asset_args, key_of, spec_of
from promo_assets.lake.storage.feedback import TABLE, FeedbackSource
from promo_assets.lake.storage.files import LakeError
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.tables import Table
from promo_assets.settings import LONGEST_DEPTH

LakeParam = dg.ResourceParam[Lake]
SourceParam = dg.ResourceParam[FeedbackSource]
ALL_OF_HISTORY = 36_500  # days; a mapping has no "from the beginning"


@dataclass(frozen=True)
class Marts:
    """How a run makes marts. Raises `ValueError` where that is impossible."""

    depth: int

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= LONGEST_DEPTH:
            raise ValueError(f"depth: 1 to {LONGEST_DEPTH} days, not {self.depth}")


MartsParam = dg.ResourceParam[Marts]


def build_assets(
    daily: dg.DailyPartitionsDefinition, to_today: dg.DailyPartitionsDefinition, depth: int
) -> list:
    """`daily` are the lake's days, `to_today` those of the campaigns, today as far as it has come. `depth` shows in the marts' lineage,
    what a run reads is the run's."""
    by_day: dict[str, Any] = {
        "partitions_def": daily,
        "backfill_policy": dg.BackfillPolicy.single_run(),
    }
    by_day_to_today: dict[str, Any] = by_day | {"partitions_def": to_today}
    window = dg.TimeWindowPartitionMapping(
        start_offset=1 - depth, allow_nonexistent_upstream_partitions=True
    )
    history = dg.TimeWindowPartitionMapping(
        start_offset=-ALL_OF_HISTORY, allow_nonexistent_upstream_partitions=True
    )

    def of(table: Table, mapping: dg.PartitionMapping | None = None) -> dg.AssetDep:
        return dg.AssetDep(key_of(table), partition_mapping=mapping)

    @dg.observable_source_asset(**asset_args(tables.RAW_EVENTS), partitions_def=daily)
    @cancellable
    def raw_events(context: dg.OpExecutionContext, lake: LakeParam) -> dg.DataVersionsByPartition:
        return reporting.observe_raw(context, lake, daily)

    @dg.asset(
        **asset_args(tables.STG_EVENTS),
        **by_day,
        deps=[of(tables.RAW_EVENTS)],
        check_specs=checks.specs(tables.STG_EVENTS),
    )
    @cancellable
    def stg_events(context: dg.AssetExecutionContext, lake: LakeParam) -> dg.MaterializeResult:
        done, failed = steps.stage(lake, days_of(context))
        return reporting.report(context, lake, tables.STG_EVENTS, done, failed)

    @dg.asset(**asset_args(tables.GEO))
    @cancellable
    def dds_geo(lake: LakeParam) -> dg.MaterializeResult:
        return reporting.report_cities(steps.load_cities(lake))

    @dg.multi_asset(
        name="dds_events",
        specs=[
            spec_of(table, deps=[of(tables.STG_EVENTS), of(tables.GEO)])
            for table in (tables.EVENTS, tables.REJECTED_EVENTS)
        ],
        check_specs=[*checks.specs(tables.EVENTS), *checks.specs(tables.REJECTED_EVENTS)],
        **by_day,
    )
    @cancellable
    def dds_events(context: dg.AssetExecutionContext, lake: LakeParam):
        kept, rejected = (
            steps.clean(lake, steps.load_cities(lake), days_of(context)),
            steps.reject(lake, days_of(context)),
        )
        return (
            reporting.report(
                context,
                lake,
                tables.EVENTS,
                kept,
                more_checks=checks.check_rejections(lake, kept, rejected),
            ),
            reporting.report(context, lake, tables.REJECTED_EVENTS, rejected),
        )

    def history_asset(table: Table):
        @dg.asset(
            **asset_args(table), **by_day, deps=[of(tables.EVENTS)], check_specs=checks.specs(table)
        )
        @cancellable
        def history(context: dg.AssetExecutionContext, lake: LakeParam) -> dg.MaterializeResult:
            return reporting.report(
                context, lake, table, steps.build_history(lake, table, days_of(context))
            )

        return history

    @dg.asset(
        **asset_args(tables.USERS),
        **by_day,
        deps=[of(tables.VISITS, history), of(tables.GEO)],
        check_specs=checks.specs(tables.USERS),
    )
    @cancellable
    def mart_users(
        context: dg.AssetExecutionContext, lake: LakeParam, marts: MartsParam
    ) -> dg.MaterializeResult:
        cities = steps.load_cities(lake)
        done = {day: steps.build_users(lake, cities, day, marts.depth) for day in days_of(context)}
        return reporting.report(context, lake, tables.USERS, done, depth=marts.depth)

    @dg.asset(
        **asset_args(tables.GEO_MART),
        **by_day,
        deps=[of(tables.EVENTS, window), of(tables.FIRST_MESSAGES, history)],
        check_specs=checks.specs(tables.GEO_MART),
    )
    @cancellable
    def mart_geo(
        context: dg.AssetExecutionContext, lake: LakeParam, marts: MartsParam
    ) -> dg.MaterializeResult:
        done = {day: steps.build_geo(lake, day, marts.depth) for day in days_of(context)}
        return reporting.report(context, lake, tables.GEO_MART, done, depth=marts.depth)

    @dg.asset(
        **asset_args(tables.FRIENDS),
        **by_day,
        deps=[
            of(tables.LAST_POSITIONS, window),
            of(tables.EVENTS, window),
            of(tables.CORRESPONDENTS, history),
            of(tables.GEO),
        ],
        check_specs=checks.specs(tables.FRIENDS),
    )
    @cancellable
    def mart_friend_recomendation(
        context: dg.AssetExecutionContext, lake: LakeParam, marts: MartsParam
    ) -> dg.MaterializeResult:
        cities, now = steps.load_cities(lake), datetime.now(UTC)
        done = {
            day: steps.build_friends(lake, cities, day, marts.depth, now)
            for day in days_of(context)
        }
        return reporting.report(context, lake, tables.FRIENDS, done, depth=marts.depth)

    @dg.asset(
        **asset_args(tables.SUBSCRIBERS_FEEDBACK),
        **by_day_to_today,
        deps=[dg.AssetDep(TABLE)],
        check_specs=checks.specs(tables.SUBSCRIBERS_FEEDBACK),
    )
    @cancellable
    def stg_subscribers_feedback(
        context: dg.AssetExecutionContext, lake: LakeParam, feedback_source: SourceParam
    ) -> dg.MaterializeResult:
        try:
            taken = steps.take_feedback(lake, feedback_source, days_of(context))
        except LakeError as error:
            raise dg.Failure(str(error)) from None
        return reporting.report(context, lake, tables.SUBSCRIBERS_FEEDBACK, taken)

    @dg.asset(
        **asset_args(tables.CAMPAIGN_RESULTS),
        **by_day_to_today,
        deps=[of(tables.SUBSCRIBERS_FEEDBACK)],
        check_specs=checks.specs(tables.CAMPAIGN_RESULTS),
    )
    @cancellable
    def mart_campaign_results(
        context: dg.AssetExecutionContext, lake: LakeParam
    ) -> dg.MaterializeResult:
        done = steps.build_campaigns(lake, days_of(context))
        return reporting.report(
            context,
            lake,
            tables.CAMPAIGN_RESULTS,
            done,
            more_checks=checks.check_notifications_counted(lake, done),
        )

    @dg.asset(
        **asset_args(tables.RESTAURANT_RESULTS),
        **by_day_to_today,
        deps=[of(tables.SUBSCRIBERS_FEEDBACK)],
        check_specs=checks.specs(tables.RESTAURANT_RESULTS),
    )
    @cancellable
    def mart_restaurant_results(
        context: dg.AssetExecutionContext, lake: LakeParam
    ) -> dg.MaterializeResult:
        return reporting.report(
            context,
            lake,
            tables.RESTAURANT_RESULTS,
            steps.build_restaurants(lake, days_of(context)),
        )

    history = [history_asset(table) for table in tables.HISTORY]
    campaigns = [stg_subscribers_feedback, mart_campaign_results, mart_restaurant_results]
    marts = [mart_users, mart_geo, mart_friend_recomendation]
    return [raw_events, stg_events, dds_geo, dds_events, *history, *marts, *campaigns]


def days_of(context: dg.AssetExecutionContext) -> list[date]:
    return [date.fromisoformat(key) for key in context.partition_keys]
