"""What the stream must deliver, by the specification alone: nothing here uses the stream's code."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable

from promo_assets_tests.support.world import ROW_FIELDS, World

Favourites = set[tuple[str, str]]  # (client_id, restaurant_id)


def campaign(
    restaurant: str, name: str, start: int, end: int, created: int = 1_700_000_000, **other: object
) -> dict:
    """Return a campaign message as a restaurant sends it. Times are unix seconds."""
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
    """Return everything that is wrong in the sinks, in words: nothing if the promise was kept.

    campaigns: those that are due, only the first message of each key. snapshots: the favourites
    before and after each change. A campaign's audience must be that of one snapshot, whole.
    """
    rows = world.rows()
    messages = world.messages()
    row_of = {_pair(row): row for row in rows}
    message_of = {_pair(json.loads(message.value())): message for message in messages}
    sent = {
        (value["restaurant_id"], value["adv_campaign_id"], value["datetime_created"]): value
        for value in campaigns
    }
    found = _repeated("row", map(_pair, rows))
    found += _repeated("message", (_pair(json.loads(each.value())) for each in messages))
    found += [f"a row without a message: {pair}" for pair in row_of.keys() - message_of.keys()]
    found += [f"a message without a row: {pair}" for pair in message_of.keys() - row_of.keys()]
    for pair, message in message_of.items():
        found += _wrong_fields(message, row_of.get(pair), sent.get(pair[:3]))
    return found + _wrong_audiences(sent, row_of, snapshots)


def _repeated(kind: str, pairs: Iterable[tuple]) -> list[str]:
    counts = Counter(pairs)
    return [f"{count} {kind}s for {pair}" for pair, count in counts.items() if count > 1]


def _wrong_audiences(
    sent: Iterable[tuple], stored: Iterable[tuple], snapshots: list[Favourites]
) -> list[str]:
    """Compare each campaign's clients with its restaurant's followers in each snapshot."""
    followers = [defaultdict(set) for _ in snapshots]
    for by_restaurant, favourites in zip(followers, snapshots, strict=True):
        for client, restaurant in favourites:
            by_restaurant[restaurant].add(client)
    audience = defaultdict(set)
    for *key, client in stored:
        audience[tuple(key)].add(client)
    found = []
    for key in sent:
        possible = [by_restaurant[key[0]] for by_restaurant in followers]
        if audience[key] not in possible:
            missed, extra = min(
                ((len(one - audience[key]), len(audience[key] - one)) for one in possible), key=sum
            )
            found.append(f"{key}: {missed} of its clients missed, {extra} too many")
    return found


def _pair(value: dict) -> tuple:
    names = ("restaurant_id", "adv_campaign_id", "datetime_created", "client_id")
    return tuple(value[name] for name in names)


def _wrong_fields(message, row: dict | None, sent: dict | None) -> list[str]:
    value = json.loads(message.value())
    if sent is None:
        return [f"nobody sent the campaign of {value}"]
    found = []
    if tuple(value) != ROW_FIELDS:
        found.append(f"fields {tuple(value)}")
    if row is not None and value != row:
        found.append(f"row and message differ: {row} {value}")
    for name in ROW_FIELDS[:8]:
        is_time = name.startswith(("adv_campaign_datetime", "datetime"))
        expected = int(sent[name]) if is_time else sent[name]
        if value[name] != expected or type(value[name]) is not type(expected):
            found.append(f"{name} is {value[name]!r}, sent was {sent[name]!r}")
    start, end = value["adv_campaign_datetime_start"], value["adv_campaign_datetime_end"]
    if not start <= value["trigger_datetime_created"] < end:
        found.append(f"not active when triggered: {value}")
    if message.key() != value["client_id"].encode():
        found.append(f"key {message.key()!r} of client {value['client_id']}")
    expected_id = _expect_notification_id(value)
    if message.headers() != [("notification_id", expected_id)]:
        found.append(f"headers {message.headers()}, expected notification_id {expected_id}")
    return found


def _expect_notification_id(value: dict) -> bytes:
    names = ("restaurant_id", "adv_campaign_id", "client_id", "datetime_created")
    identity = [value[name] for name in names]
    encoded = json.dumps(identity, ensure_ascii=False, separators=(",", ":")).encode()
    return hashlib.sha256(encoded).hexdigest()[:32].encode()
