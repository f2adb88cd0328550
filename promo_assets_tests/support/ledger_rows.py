"""Rows in the ledger's tables, made directly, and what a cleaning of the ledger leaves."""

import time
from uuid import uuid4

from promo_assets.stream.ledger.retention import CleanedTable, clean_ledger
from promo_assets_tests.support.world import World

NOW = int(time.time())
DAY_S = 86_400
RETENTION_DAYS = 90
LIMIT = NOW - RETENTION_DAYS * DAY_S
QUERY_ID, OTHER_QUERY_ID = str(uuid4()), str(uuid4())


def years_later() -> int:
    """A time of cleaning by which everything that is settled is old."""
    return int(time.time()) + 1_000 * DAY_S


def put_batch(world: World, query_id: str, batch_id: int, finished_at: int = LIMIT - 1) -> None:
    world.execute(
        "INSERT INTO promo_ledger.batches VALUES (%s, %s, to_timestamp(%s), 1, 0, 0, 0, 0, 1)",
        (query_id, batch_id, finished_at),
    )


def put_dispatch(world: World, finished_at: int | None = LIMIT - 1) -> str:
    """Its id; it is open if `finished_at` is None."""
    rows = world.execute(
        "INSERT INTO promo_ledger.dispatches (topic, shards, campaigns, finished_at)"
        " VALUES ('t', 1, 1, to_timestamp(%s)) RETURNING dispatch_id",
        (finished_at,),
    )
    return rows[0][0]


def put_campaign(
    world: World,
    name: str,
    state: str,
    ends_at: int = LIMIT - 1,
    batch_id: int = 0,
    dispatch_id: str | None = None,
) -> None:
    trigger = None if state in ("waiting", "cancelled") else ends_at - 5
    times = (ends_at - 10, ends_at)
    dispatch = (dispatch_id, dispatch_id and 1)
    world.execute(
        """INSERT INTO promo_ledger.campaigns VALUES (sha256(%s::bytea), 'r', %s,
            'content', 'owner', 'contact', %s, %s, 1, %s, %s, 1, 0, 0, %s, %s, %s, %s)""",
        (name, name, *times, QUERY_ID, batch_id, state, trigger, *dispatch),
    )


def campaigns_with_texts(world: World) -> set[str]:
    """The ids of the campaigns that are not cleaned; a cleaned one has lost all three texts."""
    rows = world.execute(
        """SELECT adv_campaign_id, adv_campaign_content, adv_campaign_owner,
            adv_campaign_owner_contact FROM promo_ledger.campaigns"""
    )
    assert {row[1:] for row in rows} <= {("content", "owner", "contact"), ("", "", "")}
    return {row[0] for row in rows if row[1]}


def clean(world: World, now: int = NOW) -> dict[str, int]:
    """Clean the world's ledger; returns the number of cleaned rows by table."""
    return rows_by_table(clean_ledger(world.postgres_url, RETENTION_DAYS, now))


def rows_by_table(tables: list[CleanedTable]) -> dict[str, int]:
    return {table.table: table.rows for table in tables}
