"""Edge: campaigns that wait for their start: which there are, and to cancel one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg.rows import class_row

from promo_assets.stream.messages import Campaign

# A campaign whose micro-batch is not finished yet is not decided: an earlier message of its key may still take its place.
_WAITING = """SELECT restaurant_id, adv_campaign_id, adv_campaign_datetime_start, adv_campaign_datetime_end, datetime_created
    FROM promo_ledger.campaigns c
    WHERE state = 'waiting' AND EXISTS (SELECT FROM promo_ledger.batches b WHERE (b.query_id, b.batch_id) = (c.query_id, c.batch_id))
    ORDER BY adv_campaign_datetime_start, restaurant_id, adv_campaign_id, datetime_created LIMIT %s"""
_CANCEL = """UPDATE promo_ledger.campaigns c SET state = 'cancelled'
    WHERE campaign_key = %s AND state = 'waiting'
      AND EXISTS (SELECT FROM promo_ledger.batches b WHERE (b.query_id, b.batch_id) = (c.query_id, c.batch_id))"""


@dataclass(frozen=True)
class WaitingCampaign:
    """Times are unix seconds, UTC."""

    restaurant_id: str
    adv_campaign_id: str
    adv_campaign_datetime_start: int
    adv_campaign_datetime_end: int
    datetime_created: int


def read_waiting(
    connection: psycopg.Connection, at_most: int | None = None
) -> Iterator[WaitingCampaign]:
    """In the order of their starts."""
    with (
        connection.transaction(),
        connection.cursor("waiting", row_factory=class_row(WaitingCampaign)) as cursor,
    ):
        yield from cursor.execute(_WAITING, (at_most,))


def cancel_waiting(
    connection: psycopg.Connection, restaurant_id: str, adv_campaign_id: str, datetime_created: int
) -> tuple[bool, str | None]:
    """Whether it was this call that cancelled it, and the campaign's state now; None for one that was never ingested.

    The stream and this cannot both have it: whichever comes first makes it no longer waiting.
    """
    key = Campaign(restaurant_id, adv_campaign_id, "", "", "", 0, 0, datetime_created).key
    cancelled = connection.execute(_CANCEL, (key,)).rowcount == 1
    row = connection.execute(
        "SELECT state FROM promo_ledger.campaigns WHERE campaign_key = %s", (key,)
    ).fetchone()
    return cancelled, row[0] if row else None


def utc(unix_seconds: int) -> str:
    """Any time that a campaign may have: also one before the year 1, which no calendar here shows."""
    try:
        return f"{datetime.fromtimestamp(unix_seconds, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return str(unix_seconds)
