"""The campaigns that wait for their start: list them, and cancel one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg.rows import class_row

from promo_assets.stream.messages import campaign_key

_READ_WAITING = """
SELECT restaurant_id, adv_campaign_id, adv_campaign_datetime_start, adv_campaign_datetime_end,
       datetime_created
FROM promo_ledger.decided_campaigns
WHERE state = 'waiting'
ORDER BY adv_campaign_datetime_start, restaurant_id, adv_campaign_id, datetime_created
LIMIT %s
"""
# The state is checked on the table's own row: the stream may start the campaign at the same moment.
_CANCEL = """
UPDATE promo_ledger.campaigns c
SET state = 'cancelled'
WHERE campaign_key = %s
  AND state = 'waiting'
  AND EXISTS (
      SELECT FROM promo_ledger.decided_campaigns d
      WHERE (d.campaign_key, d.query_id, d.batch_id) = (c.campaign_key, c.query_id, c.batch_id))
"""
_READ_STATE = "SELECT state FROM promo_ledger.campaigns WHERE campaign_key = %s"


@dataclass(frozen=True)
class WaitingCampaign:
    """A decided campaign that waits for its start; times are unix seconds, UTC."""

    restaurant_id: str
    adv_campaign_id: str
    adv_campaign_datetime_start: int
    adv_campaign_datetime_end: int
    datetime_created: int


def read_waiting(
    connection: psycopg.Connection, at_most: int | None = None
) -> Iterator[WaitingCampaign]:
    """The waiting campaigns, ordered by start; `at_most` is their maximum number, None for all."""
    with (
        connection.transaction(),
        connection.cursor("waiting", row_factory=class_row(WaitingCampaign)) as cursor,
    ):
        yield from cursor.execute(_READ_WAITING, (at_most,))


def cancel_waiting(
    connection: psycopg.Connection, restaurant_id: str, adv_campaign_id: str, datetime_created: int
) -> tuple[bool, str | None]:
    """Cancel a campaign if it waits for its start.

    Returns whether this call cancelled it, and its state now, which is None for a campaign that was
    never ingested. If the stream starts the campaign at the same moment, only one of them succeeds.
    """
    key = campaign_key(restaurant_id, adv_campaign_id, datetime_created)
    cancelled = connection.execute(_CANCEL, (key,)).rowcount == 1
    row = connection.execute(_READ_STATE, (key,)).fetchone()
    return cancelled, row[0] if row else None


def utc(unix_seconds: int) -> str:
    """A campaign's time as text; the number itself if no calendar has it (before the year 1)."""
    try:
        return f"{datetime.fromtimestamp(unix_seconds, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return str(unix_seconds)
