"""Everything that Dagster loads; the first file to read.

`make dev` shows it. The assets are defined in `stream/defs/assets.py` and `lake/defs/assets.py`.
"""

import warnings

import dagster as dg

from promo_assets.lake.defs.assets import build_assets
from promo_assets.lake.defs.jobs import build_jobs
from promo_assets.lake.defs.partitions import define_days_to_today, define_past_days
from promo_assets.resources import build_resources
from promo_assets.settings import Settings, load_settings
from promo_assets.stream.defs.assets import STREAM_ASSETS, promo_stream
from promo_assets.stream.defs.jobs import promo_retention, promo_retention_schedule
from promo_assets.stream.defs.sensor import promo_stream_sensor


def build_definitions(settings: Settings) -> dg.Definitions:
    """Builds the definitions for these settings; tests build their own."""
    past_days = define_past_days(settings.lake_start)
    days_to_today = define_days_to_today(settings.lake_start)
    with warnings.catch_warnings():
        # Single-run backfills and observable source assets are beta in this version of Dagster.
        warnings.simplefilter("ignore", dg.BetaWarning)
        lake_assets = build_assets(past_days, days_to_today, settings.lake_depth)
    lake_jobs, lake_schedules = build_jobs(past_days, days_to_today)
    return dg.Definitions(
        assets=[*STREAM_ASSETS, *lake_assets],
        jobs=[promo_stream, promo_retention, *lake_jobs],
        sensors=[promo_stream_sensor],
        schedules=[promo_retention_schedule, *lake_schedules],
        resources=build_resources(settings),
        executor=dg.in_process_executor,  # one JVM per run instead of one per step
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build_definitions(load_settings())
