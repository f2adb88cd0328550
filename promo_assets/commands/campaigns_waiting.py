"""`campaigns waiting` and `campaigns cancel`."""

import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from promo_assets.commands import console
from promo_assets.commands.console import CommandError, UserError, printable
from promo_assets.commands.ledger_clean import open_ledger
from promo_assets.settings import load_settings
from promo_assets.stream.ledger.waiting import cancel_waiting, read_waiting, utc

_TOO_LATE = {
    "due": "its start has come, and it is being sent",
    "dispatched": "it was sent already",
    "expired": "it was over before it could be sent",
}


def list_waiting(as_json: bool) -> None:
    with open_ledger(load_settings()) as connection:
        if as_json or not sys.stdout.isatty():
            for campaign in read_waiting(connection):
                print(json.dumps(asdict(campaign)))
            return
        table = Table("restaurant", "campaign", "starts (UTC)", "ends (UTC)", "datetime_created")
        for each in read_waiting(connection):
            texts = (
                each.restaurant_id,
                each.adv_campaign_id,
                utc(each.adv_campaign_datetime_start),
                utc(each.adv_campaign_datetime_end),
            )
            table.add_row(*(Text(printable(text)) for text in texts), str(each.datetime_created))
    if table.row_count:
        Console().print(table)
    else:
        console.info("no campaign waits for its start")


def cancel(restaurant_id: str, adv_campaign_id: str, datetime_created: int) -> None:
    name = f"campaign {adv_campaign_id} of restaurant {restaurant_id}, created {datetime_created}"
    with open_ledger(load_settings()) as connection:
        cancelled, state = cancel_waiting(
            connection, restaurant_id, adv_campaign_id, datetime_created
        )
    if state is None:
        raise UserError(f"{name}: no such campaign was ingested")
    if state in _TOO_LATE:
        raise UserError(f"{name}: {_TOO_LATE[state]}")
    if state == "waiting":
        raise CommandError(
            f"{name}: its micro-batch is not finished yet; try again when the stream has gone on"
        )
    console.info(
        f"{name}: {'cancelled, nobody is notified of it' if cancelled else 'was cancelled before'}"
    )
