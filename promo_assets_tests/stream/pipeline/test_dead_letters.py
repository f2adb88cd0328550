"""Invalid messages become dead letters, each exactly once, and stop nothing."""

import json
import random
import time

from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.world import World

NOW = int(time.time())
SOON, LATER = NOW - 100, NOW + 86_400
INJECTION = "x' OR '1'='1"


def read_headers(letter) -> dict[str, str]:
    return {name: value.decode() for name, value in letter.headers()}


def test_dead_letters_keep_their_bytes_and_name_the_reason_and_the_source(
    world: World, catch_up
) -> None:
    world.favour([("c", "r")])
    good = campaign("r", "good", SOON, LATER)
    world.send(b"\xff\x00 not json", None, b"{}", good, partition=2, key=b"\x00key\xff")
    stream_run = catch_up(world)
    letters = {int(read_headers(each)["source_offset"]): each for each in world.dead_letters()}
    assert {offset: (letter.key(), letter.value()) for offset, letter in letters.items()} == {
        0: (b"\x00key\xff", b"\xff\x00 not json"),
        1: (b"\x00key\xff", None),
        2: (b"\x00key\xff", b"{}"),
    }
    source = {"source_topic": world.topic_in, "source_partition": "2"}
    for offset, words in enumerate(("not UTF-8", "null", "restaurant_id")):
        headers = read_headers(letters[offset])
        assert words in headers.pop("reason")
        assert headers == source | {"source_offset": str(offset)}
    assert stream_run.metrics.rejected == 3
    assert problems(world, [good], [{("c", "r")}]) == []


def test_a_valid_and_an_invalid_message_of_the_largest_size_both_pass(
    world: World, catch_up
) -> None:
    world.favour([("c", "r")])
    size = 1_048_588 - 500  # the topic's limit, less the rest of the record
    good = campaign("r", "large", SOON, LATER, adv_campaign_content="")
    good["adv_campaign_content"] = "x" * (size - len(json.dumps(good)))
    bad = random.Random(3).randbytes(size)
    world.send(good, bad)
    catch_up(world)
    assert problems(world, [good], [{("c", "r")}]) == []
    assert [letter.value() for letter in world.dead_letters()] == [bad]


def test_5000_hostile_messages_are_notified_or_become_dead_letters_and_stop_nothing(
    world: World, catch_up
) -> None:
    followers = {("c", "r"), ("c", INJECTION)}
    world.favour(followers)
    good: list[dict] = []
    draw = random.Random(20_240_229)
    messages = [make_hostile_message(number, draw, good) for number in range(5_000)]
    for partition in range(3):
        world.send(*messages[partition::3], partition=partition)
    catch_up(world)
    assert problems(world, good, [followers]) == []
    assert len(world.rows()) == len(good) == 1_428
    letters = world.dead_letters()
    assert len(letters) == len(messages) - len(good)
    sources = set()
    for letter in letters:
        headers = read_headers(letter)
        partition, offset = int(headers["source_partition"]), int(headers["source_offset"])
        sources.add((partition, offset))
        assert letter.value() == messages[partition::3][offset]
        assert len(headers["reason"]) > 15
    assert len(sources) == len(letters)


def make_hostile_message(number: int, draw: random.Random, good: list[dict]) -> bytes:
    """Return a message of kind `number % 14`. Valid campaigns are appended to `good`."""
    value = campaign("r", f"h-{number}", SOON, LATER)
    kind = number % 14
    field = draw.choice(list(value))
    if kind < 3:
        return make_unreadable_bytes(kind, draw)
    if kind == 3:
        value[field] = draw.choice([None, True, [], {}, 1.5, -0.0, [value[field]]])
    if kind == 4:
        times = [10**13, 10**400, -(10**30), "9" * 30, "1e9", "1_000", " 17", "٣"]
        value["adv_campaign_datetime_end"] = draw.choice(times)
    if kind == 5:
        value[draw.choice(list(value)[:5])] = "nul \0 in it"
    if kind == 6:
        return json.dumps(value).replace("h-", "\\ud800h-").encode()
    if kind == 7:
        return json.dumps(value)[:-1].encode() + b',"restaurant_id":"r"}'
    if kind == 8:
        return json.dumps(value).encode() + draw.choice([b"x", b"{}", b"\0", b","])
    if kind == 9:
        value.pop(field)
    if kind == 10:
        value["restaurant_id"] = INJECTION
        value["adv_campaign_id"] += "'); DELETE FROM subscribers_feedback; --\t\\."
    if kind == 11:
        value["surprise"] = {"deep": [{}] * draw.randrange(50), "nul": "\0"}
    if kind == 12:
        value["adv_campaign_content"] = "x" * (1_000_000 if number % 700 == 12 else 2_000)
    if kind >= 10:
        good.append(value)
    return json.dumps(value).encode()


def make_unreadable_bytes(kind: int, draw: random.Random) -> bytes:
    """Return random bytes (0), a truncated message (1) or deeply nested arrays (2)."""
    if kind == 0:
        return draw.randbytes(draw.randrange(200))
    if kind == 1:
        template = json.dumps(campaign("r", "template", SOON, LATER), ensure_ascii=False)
        return template[: draw.randrange(len(template) - 1)].encode(errors="replace")
    return b'{"restaurant_id":' + b"[" * draw.randrange(1, 60_000)
