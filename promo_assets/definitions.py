"""The first code to open: everything that Dagster loads.

`make dev` shows it. Assets are defined in `stream/defs/assets.py` and `lake/defs/assets.py`.
"""

import warnings

import dagster as dg

from promo_assets.lake.defs.assets import build_assets
from promo_assets.lake.defs.jobs import build_jobs
from promo_assets.resources import build_resources
from promo_assets.settings import Settings, load_settings
from promo_assets.stream.defs.assets import STREAM_ASSETS, promo_stream
from promo_assets.stream.defs.jobs import promo_retention, promo_retention_schedule
from promo_assets.stream.defs.sensor import promo_stream_sensor


def build_definitions(settings: Settings) -> dg.Definitions:
    """New definitions for these settings; tests build their own."""
    daily = dg.DailyPartitionsDefinition(start_date=str(settings.lake_start))
    to_today = dg.DailyPartitionsDefinition(start_date=str(settings.lake_start), end_offset=1)
    with warnings.catch_warnings():
        # Backfills in one run and the observation of RAW are beta in this Dagster.
        warnings.simplefilter("ignore", dg.BetaWarning)
        lake_assets = build_assets(daily, to_today, settings.lake_depth)
    lake_jobs, lake_schedules = build_jobs(daily, to_today)
    return dg.Definitions(
        assets=[*STREAM_ASSETS, *lake_assets],
        jobs=[promo_stream, promo_retention, *lake_jobs],
        sensors=[promo_stream_sensor],
        schedules=[promo_retention_schedule, *lake_schedules],
        resources=build_resources(settings),
        executor=dg.in_process_executor,  # one JVM for a run instead of one for each step
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build_definitions(load_settings())
