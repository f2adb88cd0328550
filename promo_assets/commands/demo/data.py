"""What the demo sends: the same favourites in every run, and new campaigns in every run."""

import json
from dataclasses import dataclass, field

import psycopg

RESTAURANTS = 50
ROWS_EACH = 2_000
REPEATS_EACH = 20  # of these rows repeat a pair, which counts once
FAVOURITES = RESTAURANTS * ROWS_EACH
ACTIVE = 4
STARTS_IN_S = 20

Message = tuple[bytes, bytes | None]  # key and value


@dataclass(frozen=True)
class CampaignGroup:
    """Messages of one kind, and what should become of them.

    restaurants: the restaurant of each campaign that notifies, by adv_campaign_id. rejected: how
    many of the messages should become dead letters.
    """

    kind: str
    outcome: str
    messages: list[Message]
    restaurants: dict[str, str] = field(default_factory=dict)
    rejected: int = 0


def fill_favourites(database_url: str) -> int:
    """Add the favourites of those sample restaurants that have none, and return how many.

    A client favours about five restaurants.
    """
    names = _restaurant_names()
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        # Two demos at once must not both find them missing. Readers and the mobile backend do not
        # wait for this lock.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('promo-assets demo favourites'))")
        query = """SELECT name FROM unnest(%s::text[]) name
            WHERE NOT EXISTS (SELECT FROM subscribers_restaurants WHERE restaurant_id = name)"""
        missing = [name for (name,) in cursor.execute(query, (names,))]
        statement = "COPY subscribers_restaurants (client_id, restaurant_id) FROM STDIN"
        with cursor.copy(statement) as copy:
            for name in missing:
                first = names.index(name) * 397  # neighbours share some clients
                for row in range(ROWS_EACH):
                    client = (first + row % (ROWS_EACH - REPEATS_EACH)) % 20_000
                    copy.write_row((f"sample-client-{client:05d}", name))
    return len(missing) * ROWS_EACH


def count_followers(database_url: str) -> dict[str, int]:
    """Return how many different clients favour each sample restaurant now."""
    query = """SELECT restaurant_id, count(DISTINCT client_id) FROM subscribers_restaurants
        WHERE restaurant_id = ANY(%s) GROUP BY 1"""
    with psycopg.connect(database_url) as connection:
        return dict(connection.execute(query, (_restaurant_names(),)).fetchall())


def compose_first_groups(demo_name: str, now: int) -> list[CampaignGroup]:
    """Compose all but the campaign that has to wait; the demo's name begins every id."""
    restaurants = {
        f"{demo_name}-active-{number}": _restaurant_name(number) for number in range(ACTIVE)
    }
    active = [
        _compose_message(campaign_id, restaurant, now - 60, now + 3600, now)
        for campaign_id, restaurant in restaurants.items()
    ]
    twice_id, twice_restaurant = f"{demo_name}-twice", _restaurant_name(ACTIVE)
    repeated = _compose_message(twice_id, twice_restaurant, now - 60, now + 3600, now)
    ended = _compose_message(
        f"{demo_name}-ended", _restaurant_name(ACTIVE + 1), now - 7200, now - 3600, now
    )
    fields = {"restaurant_id": _restaurant_name(0), "adv_campaign_id": f"{demo_name}-incomplete"}
    truncated, incomplete = repeated[1][:-20], json.dumps(fields).encode()
    malformed: list[Message] = [
        (demo_name.encode(), value) for value in (truncated, incomplete, None)
    ]
    return [
        CampaignGroup("active", "notified", list(active), restaurants),
        CampaignGroup(
            "active, sent twice",
            "notified once",
            [repeated, repeated],
            {twice_id: twice_restaurant},
        ),
        CampaignGroup("already over", "expired", [ended]),
        CampaignGroup("malformed", "dead letters", malformed, rejected=len(malformed)),
    ]


def compose_late_group(demo_name: str, now: int) -> CampaignGroup:
    """Compose the campaign that starts in `STARTS_IN_S` seconds."""
    campaign_id, restaurant = f"{demo_name}-late", _restaurant_name(ACTIVE + 2)
    message = _compose_message(campaign_id, restaurant, now + STARTS_IN_S, now + 3600, now)
    kind = f"starts {STARTS_IN_S} s later"
    return CampaignGroup(kind, "waited, then notified", [message], {campaign_id: restaurant})


def _restaurant_name(number: int) -> str:
    return f"sample-restaurant-{number:02d}"


def _restaurant_names() -> list[str]:
    return [_restaurant_name(number) for number in range(RESTAURANTS)]


def _compose_message(
    campaign_id: str, restaurant_id: str, start: int, end: int, created: int
) -> tuple[bytes, bytes]:
    campaign = {
        "restaurant_id": restaurant_id,
        "adv_campaign_id": campaign_id,
        "adv_campaign_content": "Two pizzas for one, today only",
        "adv_campaign_owner": "Sample Owner",
        "adv_campaign_owner_contact": "owner@restaurant.example",
        "adv_campaign_datetime_start": start,
        "adv_campaign_datetime_end": end,
        "datetime_created": created,
    }
    return restaurant_id.encode(), json.dumps(campaign).encode()
