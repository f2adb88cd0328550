"""`campaigns waiting`: list the campaigns that wait for their start."""

import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from promo_assets.commands import console
from promo_assets.commands.console import printable
from promo_assets.commands.postgres_client import open_ledger
from promo_assets.settings import load_settings
from promo_assets.stream.ledger.waiting import read_waiting, utc


def list_waiting_campaigns(as_json: bool) -> None:
    with open_ledger(load_settings()) as connection:
        if as_json or not sys.stdout.isatty():
            for campaign in read_waiting(connection):
                print(json.dumps(asdict(campaign)))
            return
        table = Table("restaurant", "campaign", "starts (UTC)", "ends (UTC)", "datetime_created")
        for campaign in read_waiting(connection):
            cells = (
                campaign.restaurant_id,
                campaign.adv_campaign_id,
                utc(campaign.adv_campaign_datetime_start),
                utc(campaign.adv_campaign_datetime_end),
                str(campaign.datetime_created),
            )
            table.add_row(*(Text(printable(cell)) for cell in cells))
    if table.row_count:
        Console().print(table)
    else:
        console.info("no campaign is waiting for its start")
