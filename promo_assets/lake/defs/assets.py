"""The map: every asset of the lake, RAW -> STG -> DDS -> marts, day by day, and next to it the
stream's feedback, Postgres -> STG -> marts.

This page shows which asset is made from which, and for which days. How a table is made is in
`steps.py`, what it is in `tables.py`, what Dagster knows of it in `specs.py`, what a run reports in
`reporting.py`, and what must be true of it in `checks.py`.
"""

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from promo_assets.lake import steps, tables
from promo_assets.lake.defs import checks, reporting
from promo_assets.lake.defs.cancellation import cancellable
from promo_assets.lake.defs.mart_config import MartConfig
from promo_assets.lake.defs.partitions import map_to_history, map_to_window
from promo_assets.lake.defs.specs import asset_key, asset_spec, describe_asset
from promo_assets.lake.storage.feedback import TABLE, FeedbackSource
from promo_assets.lake.storage.files import LakeError
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.tables import Table

LakeParam = dg.ResourceParam[Lake]
SourceParam = dg.ResourceParam[FeedbackSource]
MartsParam = dg.ResourceParam[MartConfig]


def build_assets(
    past_days: dg.DailyPartitionsDefinition,
    days_to_today: dg.DailyPartitionsDefinition,
    depth: int,
) -> list:
    """Returns the lake's assets.

    The campaigns have `days_to_today` as partitions, all other assets `past_days`. `depth` is what
    the marts' lineage shows; a run's own config decides what it reads.
    """
    by_day: dict[str, Any] = {
        "partitions_def": past_days,
        "backfill_policy": dg.BackfillPolicy.single_run(),
    }
    by_day_to_today: dict[str, Any] = by_day | {"partitions_def": days_to_today}
    window, history = map_to_window(depth), map_to_history()

    def dep(table: Table, days: dg.PartitionMapping | None = None) -> dg.AssetDep:
        return dg.AssetDep(asset_key(table), partition_mapping=days)

    @dg.observable_source_asset(**describe_asset(tables.RAW_EVENTS), partitions_def=past_days)
    @cancellable
    def raw_events(context: dg.OpExecutionContext, lake: LakeParam) -> dg.DataVersionsByPartition:
        return reporting.observe_raw_days(context, lake, past_days)

    @dg.asset(
        **describe_asset(tables.STG_EVENTS),
        **by_day,
        deps=[dep(tables.RAW_EVENTS)],
        check_specs=checks.build_specs(tables.STG_EVENTS),
    )
    @cancellable
    def stg_events(context: dg.AssetExecutionContext, lake: LakeParam) -> dg.MaterializeResult:
        done, failed = steps.stage_events(lake, list_days(context))
        return reporting.report_days(context, lake, tables.STG_EVENTS, done, failed)

    @dg.asset(**describe_asset(tables.GEO))
    @cancellable
    def dds_geo(lake: LakeParam) -> dg.MaterializeResult:
        return reporting.report_cities(steps.ensure_cities(lake))

    @dg.multi_asset(
        name="dds_events",
        specs=[
            asset_spec(table, deps=[dep(tables.STG_EVENTS), dep(tables.GEO)])
            for table in (tables.EVENTS, tables.REJECTED_EVENTS)
        ],
        check_specs=[
            *checks.build_specs(tables.EVENTS),
            *checks.build_specs(tables.REJECTED_EVENTS),
        ],
        **by_day,
    )
    @cancellable
    def dds_events(context: dg.AssetExecutionContext, lake: LakeParam):
        kept = steps.clean_events(lake, steps.ensure_cities(lake), list_days(context))
        rejected = steps.reject_events(lake, list_days(context))
        return (
            reporting.report_days(
                context,
                lake,
                tables.EVENTS,
                kept,
                more_checks=checks.check_rejections(lake, kept, rejected),
            ),
            reporting.report_days(context, lake, tables.REJECTED_EVENTS, rejected),
        )

    def build_history_asset(table: Table):
        @dg.asset(
            **describe_asset(table),
            **by_day,
            deps=[dep(tables.EVENTS)],
            check_specs=checks.build_specs(table),
        )
        @cancellable
        def history(context: dg.AssetExecutionContext, lake: LakeParam) -> dg.MaterializeResult:
            done = steps.build_history(lake, table, list_days(context))
            return reporting.report_days(context, lake, table, done)

        return history

    @dg.asset(
        **describe_asset(tables.USERS),
        **by_day,
        deps=[dep(tables.VISITS, history), dep(tables.GEO)],
        check_specs=checks.build_specs(tables.USERS),
    )
    @cancellable
    def mart_users(
        context: dg.AssetExecutionContext, lake: LakeParam, marts: MartsParam
    ) -> dg.MaterializeResult:
        cities = steps.ensure_cities(lake)
        done = {
            day: steps.build_users(lake, cities, day, marts.depth) for day in list_days(context)
        }
        return reporting.report_days(context, lake, tables.USERS, done, depth=marts.depth)

    @dg.asset(
        **describe_asset(tables.GEO_MART),
        **by_day,
        deps=[dep(tables.EVENTS, window), dep(tables.FIRST_MESSAGES, history)],
        check_specs=checks.build_specs(tables.GEO_MART),
    )
    @cancellable
    def mart_geo(
        context: dg.AssetExecutionContext, lake: LakeParam, marts: MartsParam
    ) -> dg.MaterializeResult:
        done = {day: steps.build_geo(lake, day, marts.depth) for day in list_days(context)}
        return reporting.report_days(context, lake, tables.GEO_MART, done, depth=marts.depth)

    @dg.asset(
        **describe_asset(tables.FRIENDS),
        **by_day,
        deps=[
            dep(tables.LAST_POSITIONS, window),
            dep(tables.EVENTS, window),
            dep(tables.CORRESPONDENTS, history),
            dep(tables.GEO),
        ],
        check_specs=checks.build_specs(tables.FRIENDS),
    )
    @cancellable
    def mart_friend_recomendation(
        context: dg.AssetExecutionContext, lake: LakeParam, marts: MartsParam
    ) -> dg.MaterializeResult:
        cities, now = steps.ensure_cities(lake), datetime.now(UTC)
        done = {
            day: steps.build_friends(lake, cities, day, marts.depth, now)
            for day in list_days(context)
        }
        return reporting.report_days(context, lake, tables.FRIENDS, done, depth=marts.depth)

    @dg.asset(
        **describe_asset(tables.SUBSCRIBERS_FEEDBACK),
        **by_day_to_today,
        deps=[dg.AssetDep(TABLE)],
        check_specs=checks.build_specs(tables.SUBSCRIBERS_FEEDBACK),
    )
    @cancellable
    def stg_subscribers_feedback(
        context: dg.AssetExecutionContext, lake: LakeParam, feedback_source: SourceParam
    ) -> dg.MaterializeResult:
        try:
            done = steps.stage_feedback(lake, feedback_source, list_days(context))
        except LakeError as error:
            raise dg.Failure(str(error)) from None
        return reporting.report_days(context, lake, tables.SUBSCRIBERS_FEEDBACK, done)

    @dg.asset(
        **describe_asset(tables.CAMPAIGN_RESULTS),
        **by_day_to_today,
        deps=[dep(tables.SUBSCRIBERS_FEEDBACK)],
        check_specs=checks.build_specs(tables.CAMPAIGN_RESULTS),
    )
    @cancellable
    def mart_campaign_results(
        context: dg.AssetExecutionContext, lake: LakeParam
    ) -> dg.MaterializeResult:
        done = steps.build_campaigns(lake, list_days(context))
        return reporting.report_days(
            context,
            lake,
            tables.CAMPAIGN_RESULTS,
            done,
            more_checks=checks.check_notifications_counted(lake, done),
        )

    @dg.asset(
        **describe_asset(tables.RESTAURANT_RESULTS),
        **by_day_to_today,
        deps=[dep(tables.SUBSCRIBERS_FEEDBACK)],
        check_specs=checks.build_specs(tables.RESTAURANT_RESULTS),
    )
    @cancellable
    def mart_restaurant_results(
        context: dg.AssetExecutionContext, lake: LakeParam
    ) -> dg.MaterializeResult:
        done = steps.build_restaurants(lake, list_days(context))
        return reporting.report_days(context, lake, tables.RESTAURANT_RESULTS, done)

    history_assets = [build_history_asset(table) for table in tables.HISTORY]
    campaigns = [stg_subscribers_feedback, mart_campaign_results, mart_restaurant_results]
    marts = [mart_users, mart_geo, mart_friend_recomendation]
    return [raw_events, stg_events, dds_geo, dds_events, *history_assets, *marts, *campaigns]


def list_days(context: dg.AssetExecutionContext) -> list[date]:
    return [date.fromisoformat(key) for key in context.partition_keys]
