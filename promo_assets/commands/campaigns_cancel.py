"""`campaigns cancel`: cancel a campaign that waits for its start."""

from promo_assets.commands import console
from promo_assets.commands.console import CommandError, UserError
from promo_assets.commands.postgres_client import open_ledger
from promo_assets.settings import load_settings
from promo_assets.stream.ledger.waiting import cancel_waiting

# Why it is too late, by the campaign's state in the ledger.
_TOO_LATE = {
    "due": "its start has come, and it is being sent",
    "dispatched": "it was already sent",
    "expired": "it ended before it could be sent",
}


def cancel_campaign(restaurant_id: str, adv_campaign_id: str, datetime_created: int) -> None:
    name = f"campaign {adv_campaign_id} of restaurant {restaurant_id}, created {datetime_created}"
    with open_ledger(load_settings()) as connection:
        cancelled, state = cancel_waiting(
            connection, restaurant_id, adv_campaign_id, datetime_created
        )
    if state is None:
        raise UserError(f"{name}, is unknown: no such campaign was ingested")
    if state in _TOO_LATE:
        raise UserError(f"{name}, cannot be cancelled: {_TOO_LATE[state]}")
    if state == "waiting":
        raise CommandError(
            f"{name}, cannot be cancelled yet: its micro-batch is not finished. "
            "Try again when the stream has finished it"
        )
    if cancelled:
        console.info(f"{name}, is cancelled: nobody will be notified of it")
    else:
        console.info(f"{name}, was already cancelled")
