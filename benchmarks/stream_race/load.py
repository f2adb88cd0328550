"""The load of the benchmark: favourites, campaigns, and the number of their pairs."""

import json
import time

import psycopg

from promo_assets.settings import Settings
from promo_assets.stream.messages import FIELDS

RESTAURANTS = 10_000
FOLLOWERS = 100  # of each restaurant, among the first million favourites
CAMPAIGNS = 1_000
PAIRS = CAMPAIGNS * FOLLOWERS
COLUMNS = (*FIELDS, "client_id", "trigger_datetime_created")
TEXT = "Two bowls of noodles for the price of one, today until six, at all our places in town. " * 2


def fill_favourites(settings: Settings, first: int, last: int) -> None:
    """Insert the favourites with the numbers `first` to `last` - 1.

    Number n belongs to client n / 10,000 and to restaurant n % 10,000. Each million has restaurants
    of its own, with 100 followers each.
    """
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO subscribers_restaurants (client_id, restaurant_id)
            SELECT 'client-' || lpad((n / %(restaurants)s)::text, 8, '0'),
                'restaurant-' || (n / 1000000) || lpad((n %% %(restaurants)s)::text, 5, '0')
            FROM generate_series(%(first)s, %(last)s - 1) n""",
            {"restaurants": RESTAURANTS, "first": first, "last": last},
        )
        connection.execute("VACUUM ANALYZE subscribers_restaurants")


def make_campaign(contestant: str, number: int) -> bytes:
    """Return the message of a campaign that is due now."""
    now = int(time.time())
    campaign = {
        "restaurant_id": f"restaurant-0{number * 7 % RESTAURANTS:05d}",
        "adv_campaign_id": f"{contestant}-{number}",
        "adv_campaign_content": TEXT,
        "adv_campaign_owner": "Ivan Petrov",
        "adv_campaign_owner_contact": "ivan.petrov@restaurant.example",
        "adv_campaign_datetime_start": now - 60,
        "adv_campaign_datetime_end": now + 86_400,
        "datetime_created": now,
    }
    return json.dumps(campaign).encode()
