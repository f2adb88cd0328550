"""What the demo sends: favourites that are the same in every run, and campaigns that are new in every run."""

import json
from dataclasses import dataclass, field

import psycopg

RESTAURANTS = 50
ROWS_EACH = 2_000
TWICE_EACH = 20  # of these rows repeat a pair: it counts once
FAVOURITES = RESTAURANTS * ROWS_EACH
ACTIVE = 4
STARTS_IN_S = 20

Message = tuple[bytes, bytes | None]


@dataclass
class Sample:
    """Messages of one kind, and what shall become of them; `campaigns` maps the ids of those that notify to their restaurants."""

    what: str
    becomes: str
    messages: list[Message]
    campaigns: dict[str, str] = field(default_factory=dict)
    rejected: int = 0


def restaurant(number: int) -> str:
    return f"sample-restaurant-{number:02d}"


def fill_favourites(database_url: str) -> int:
    """Rows added: those of sample restaurants that have none yet. A client favours five restaurants, fewer or more."""
    names = [restaurant(number) for number in range(RESTAURANTS)]
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        # Two at once must not both find them missing; plain readers and the mobile backend are not held up.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('promo-assets demo favourites'))")
        query = "SELECT name FROM unnest(%s::text[]) name WHERE NOT EXISTS (SELECT FROM subscribers_restaurants WHERE restaurant_id = name)"
        missing = [name for (name,) in cursor.execute(query, (names,))]
        with cursor.copy(
            "COPY subscribers_restaurants (client_id, restaurant_id) FROM STDIN"
        ) as copy:
            for name in missing:
                first = names.index(name) * 397  # neighbours share some clients
                for row in range(ROWS_EACH):
                    copy.write_row(
                        (
                            f"sample-client-{(first + row % (ROWS_EACH - TWICE_EACH)) % 20_000:05d}",
                            name,
                        )
                    )
    return len(missing) * ROWS_EACH


def audiences(database_url: str) -> dict[str, int]:
    """How many different clients favour each sample restaurant now."""
    names = [restaurant(number) for number in range(RESTAURANTS)]
    with psycopg.connect(database_url) as connection:
        query = "SELECT restaurant_id, count(DISTINCT client_id) FROM subscribers_restaurants WHERE restaurant_id = ANY(%s) GROUP BY 1"
        return dict(connection.execute(query, (names,)).fetchall())


def first_samples(run: str, now: int) -> list[Sample]:
    """All but the campaign that has to wait; `run` is this demo's name, in every id and key."""
    active = {f"{run}-active-{number}": restaurant(number) for number in range(ACTIVE)}
    twice = f"{run}-twice"
    repeated = _message(twice, restaurant(ACTIVE), now - 60, now + 3600, now)
    ended = _message(f"{run}-ended", restaurant(ACTIVE + 1), now - 7200, now - 3600, now)
    truncated, incomplete = (
        repeated[1][:-20],
        json.dumps({"restaurant_id": restaurant(0), "adv_campaign_id": f"{run}-incomplete"}),
    )
    malformed: list[Message] = [
        (run.encode(), value) for value in (truncated, incomplete.encode(), None)
    ]
    return [
        Sample(
            "active",
            "notified",
            [_message(each, name, now - 60, now + 3600, now) for each, name in active.items()],
            active,
        ),
        Sample(
            "active, sent twice", "notified once", [repeated, repeated], {twice: restaurant(ACTIVE)}
        ),
        Sample("already over", "expired", [ended]),
        Sample("malformed", "dead letters", malformed, rejected=len(malformed)),
    ]


def late_sample(run: str, now: int) -> Sample:
    late = f"{run}-late"
    message = _message(late, restaurant(ACTIVE + 2), now + STARTS_IN_S, now + 3600, now)
    return Sample(
        f"starts {STARTS_IN_S} s later",
        "waited, then notified",
        [message],
        {late: restaurant(ACTIVE + 2)},
    )


def _message(
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
