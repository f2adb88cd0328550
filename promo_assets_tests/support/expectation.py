"""What must come out of what was put in, told by the specification alone: nothing here uses the stream's code."""

import hashlib
import json
from collections import Counter, defaultdict

from promo_assets_tests.support.world import ROW_FIELDS, World

Favourites = set[tuple[str, str]]  # (client_id, restaurant_id)


def campaign(
    restaurant: str, name: str, start: int, end: int, created: int = 1_700_000_000, **other: object
) -> dict:
    """A campaign message as a restaurant would send it."""
    return {
        "restaurant_id": restaurant,
        "adv_campaign_id": name,
        "adv_campaign_content": f"Two for one at {restaurant}: «{name}»",
        "adv_campaign_owner": "Иван Иванов",
        "adv_campaign_owner_contact": "ivan@example.com",
        "adv_campaign_datetime_start": start,
        "adv_campaign_datetime_end": end,
        "datetime_created": created,
        **other,
    }


def problems(world: World, campaigns: list[dict], snapshots: list[Favourites]) -> list[str]:
    """Everything that is wrong with the sinks, in words; empty when the delivery promise was kept.

    campaigns: the due ones, first message of each key only. snapshots: the favourites at the times between which they changed:
    a campaign's audience must be that of one of them, whole.
    """
    found: list[str] = []
    rows = world.rows()
    messages = world.messages()
    row_of = {_pair(row): row for row in rows}
    message_of = {_pair(json.loads(message.value())): message for message in messages}
    for what, counted in (
        ("row", map(_pair, rows)),
        ("message", (_pair(json.loads(message.value())) for message in messages)),
    ):
        found += [
            f"{count} {what}s for {pair}" for pair, count in Counter(counted).items() if count > 1
        ]
    found += [f"a row without a message: {pair}" for pair in row_of.keys() - message_of.keys()]
    found += [f"a message without a row: {pair}" for pair in message_of.keys() - row_of.keys()]
    sent = {
        (value["restaurant_id"], value["adv_campaign_id"], value["datetime_created"]): value
        for value in campaigns
    }
    for pair, message in message_of.items():
        found += _wrong_fields(message, row_of.get(pair), sent.get(pair[:3]))
    followers = [defaultdict(set) for _ in snapshots]
    for by_restaurant, favourites in zip(followers, snapshots, strict=True):
        for client, restaurant in favourites:
            by_restaurant[restaurant].add(client)
    audience = defaultdict(set)
    for *key, client in row_of:
        audience[tuple(key)].add(client)
    for key in sent:
        possible = [by_restaurant[key[0]] for by_restaurant in followers]
        if audience[key] not in possible:
            missed, extra = min(
                ((len(one - audience[key]), len(audience[key] - one)) for one in possible), key=sum
            )
            found.append(f"{key}: {missed} of its clients missed, {extra} too many")
    return found


def _pair(value: dict) -> tuple:
    return (
        value["restaurant_id"],
        value["adv_campaign_id"],
        value["datetime_created"],
        value["client_id"],
    )


def _wrong_fields(message, row: dict | None, sent: dict | None) -> list[str]:
    value = json.loads(message.value())
    found = []
    if sent is None:
        return [f"nobody sent the campaign of {value}"]
    if tuple(value) != ROW_FIELDS:
        found.append(f"fields {tuple(value)}")
    if row is not None and value != row:
        found.append(f"row and message differ: {row} {value}")
    for name in ROW_FIELDS[:8]:
        expected = (
            int(sent[name])
            if name.startswith(("adv_campaign_datetime", "datetime"))
            else sent[name]
        )
        if value[name] != expected or type(value[name]) is not type(expected):
            found.append(f"{name} is {value[name]!r}, sent was {sent[name]!r}")
    if (
        not value["adv_campaign_datetime_start"]
        <= value["trigger_datetime_created"]
        < value["adv_campaign_datetime_end"]
    ):
        found.append(f"not active when triggered: {value}")
    if message.key() != value["client_id"].encode():
        found.append(f"key {message.key()!r} of client {value['client_id']}")
    identity = [
        value["restaurant_id"],
        value["adv_campaign_id"],
        value["client_id"],
        value["datetime_created"],
    ]
    digest = hashlib.sha256(
        json.dumps(identity, ensure_ascii=False, separators=(",", ":")).encode()
    ).hexdigest()[:32]
    if message.headers() != [("notification_id", digest.encode())]:
        found.append(f"headers {message.headers()}, expected notification_id {digest}")
    return found
