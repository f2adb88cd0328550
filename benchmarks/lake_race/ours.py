"""The contestant *ours*: the project's own lake."""

from datetime import UTC, datetime
from pathlib import Path

from lake_race.steps import (
    AS_OF,
    DDS,
    DEPTH,
    FRIENDS,
    GEO,
    OWNER,
    REJECTED,
    START,
    STG,
    THREADS,
    USERS,
    Steps,
)
from promo_assets.jvm.session import open_session
from promo_assets.lake import steps, tables
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.transform.calendar_days import days_between
from promo_assets.settings import Settings


def open_ours(root: Path) -> Steps:
    settings = Settings(home=root / "home", spark_master=f"local[{THREADS}]")
    lake = Lake(open_session(settings, "bench"), str(root), OWNER)
    cities, days = steps.ensure_cities(lake), days_between(START, AS_OF)
    history = {
        table.name: lambda table=table: steps.build_history(lake, table, days)
        for table in tables.HISTORY
    }
    return {
        STG: lambda: steps.stage_events(lake, days),
        DDS: lambda: steps.clean_events(lake, cities, days),
        REJECTED: lambda: steps.reject_events(lake, days),
        **history,
        USERS: lambda: steps.build_users(lake, cities, AS_OF, DEPTH),
        GEO: lambda: steps.build_geo(lake, AS_OF, DEPTH),
        FRIENDS: lambda: steps.build_friends(lake, cities, AS_OF, DEPTH, datetime.now(UTC)),
    }
