"""The made-up RAW days: their events and users."""

from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql.pandas.types import from_arrow_schema

from promo_assets.lake.tables import RAW_EVENTS
from promo_assets.local.sample.days import Sample, sample_batches, sample_day
from promo_assets.local.sample.people import make_people
from promo_assets_tests.support.lake.raw import RAW_SCHEMA

DAY = date(2022, 5, 4)
SAMPLE = Sample(events_per_day=50_000, users=2_000, channels=200)


@pytest.fixture(scope="module")
def events() -> pa.Table:
    return sample_day(SAMPLE, DAY)


def field(events: pa.Table, *path: str) -> pa.ChunkedArray:
    return pc.struct_field(events["event"], list(path))


def of_type(events: pa.Table, kind: str) -> pa.Table:
    return events.filter(pc.equal(events["event_type"], kind))


# The events


def test_the_schema_is_that_of_raw(events: pa.Table):
    assert from_arrow_schema(events.schema) == RAW_EVENTS.schema
    assert events.schema.equals(RAW_SCHEMA)


def test_the_same_numbers_give_the_same_day_and_other_numbers_give_another_day(events: pa.Table):
    assert sample_day(SAMPLE, DAY).equals(events)
    others = [
        Sample(50_000, 2_000, 200, seed=2),
        Sample(50_000, 2_001, 200),
        Sample(50_000, 2_000, 201),
    ]
    assert not any(sample_day(other, DAY).equals(events) for other in others)
    assert not sample_day(SAMPLE, DAY + timedelta(days=1))["lat"].equals(events["lat"])


def test_there_are_more_subscriptions_than_reactions_and_more_reactions_than_messages(
    events: pa.Table,
):
    counts = {
        entry["values"]: entry["counts"]
        for entry in pc.value_counts(events["event_type"]).to_pylist()
    }
    shares = {kind: counts[kind] / len(events) for kind in ("message", "reaction", "subscription")}
    assert shares == pytest.approx(
        {"message": 0.05, "reaction": 0.25, "subscription": 0.70}, abs=0.005
    )


def test_channels_follow_zipfs_law(events: pa.Table):
    channels = np.bincount(
        field(of_type(events, "subscription"), "subscription_channel").to_numpy(), minlength=201
    )
    assert channels[0] == 0 and channels[1:].min() > 0 and len(channels) == 201
    # By the law of 1/n, each doubling of n has the same share.
    doublings = [channels[low : 2 * low].sum() for low in (1, 2, 4, 8, 16, 32, 64)]
    assert max(doublings) < 1.1 * min(doublings)


def test_times_are_in_one_column_or_the_other_and_written_in_all_ways(events: pa.Table):
    at, stamp = field(events, "datetime"), field(events, "message_ts")
    assert pc.sum(pc.and_(pc.is_valid(at), pc.is_null(stamp))).as_py() > 30_000
    assert pc.sum(pc.and_(pc.is_null(at), pc.is_valid(stamp))).as_py() > 3_000
    times = pc.coalesce(at, stamp)
    for shape in (
        r" \d\d:\d\d:\d\d$",
        r"T\d\d:\d\d:\d\d$",
        r" \d\d:\d\d:\d\d\.\d{3}$",
        r"T\d\d:\d\d:\d\d\.\d{6}$",
    ):
        assert pc.sum(pc.match_substring_regex(times, "^2022-05-04" + shape)).as_py() > 1_000


def reasons_against(events: pa.Table) -> list[set[str]]:
    """Return why each event cannot be used, by an independent version of the rules of RAW."""
    found = []
    for row in events.to_pylist():
        event, reasons = row["event"], set()
        user = {"message": event["message_from"], "reaction": event["reaction_from"]}.get(
            row["event_type"], event["user"] or event["subscription_user"]
        )
        if row["event_type"] not in ("message", "reaction", "subscription"):
            reasons.add("type")
        elif not str(user).isdigit():
            reasons.add("user")
        text = event["datetime"] if event["datetime"] is not None else event["message_ts"]
        try:
            time = datetime.fromisoformat(text or "")
            if time.tzinfo or len(text) < 19:
                reasons.add("time")
            elif time.date() != DAY:
                reasons.add("day")
        except ValueError:
            reasons.add("time")
        if abs(row["lat"] or 0) > 90 or abs(row["lon"] or 0) > 180:
            reasons.add("position")
        found.append(reasons)
    return found


def test_one_event_in_200_is_broken_and_each_way_is_equally_frequent(events: pa.Table):
    reasons = [reasons for reasons in reasons_against(events) if reasons]
    assert len(reasons) == 250
    assert [
        sum(reason in each for each in reasons)
        for reason in ("user", "time", "day", "position", "type")
    ] == [50] * 5


def test_some_events_have_no_position(events: pa.Table):
    missing = pc.sum(pc.is_null(events["lon"])).as_py() / len(events)
    assert 0.015 < missing < 0.025
    assert 0 < pc.sum(pc.xor(pc.is_null(events["lat"]), pc.is_null(events["lon"]))).as_py() < 200


def test_message_ids_are_unique_across_days_and_reactions_are_to_messages(events: pa.Table):
    days = [
        of_type(sample_day(SAMPLE, DAY - timedelta(days=back)), "message") for back in (0, 1, 2)
    ]
    ids = pc.unique(
        pa.chunked_array([chunk for day in days for chunk in field(day, "message_id").chunks])
    )
    assert len(ids) == sum(len(day) for day in days)
    reacted = field(of_type(events, "reaction"), "message_id")
    known = pc.sum(pc.is_in(reacted, ids)).as_py() / len(reacted)
    assert known > 0.99  # the type of a few messages is broken


def test_messages_go_to_friends_to_channels_and_to_groups(events: pa.Table):
    messages = of_type(events, "message")
    to = {
        name: pc.is_valid(field(messages, name))
        for name in ("message_to", "message_channel_to", "message_group")
    }
    count = {name: pc.sum(valid).as_py() for name, valid in to.items()}
    assert sum(count.values()) == len(messages)
    assert count["message_to"] > count["message_channel_to"] > count["message_group"] > 0
    pairs = {
        (row["message_from"], row["message_to"])
        for row in messages["event"].to_pylist()
        if row["message_to"]
    }
    assert len(pairs) < 0.95 * count["message_to"]  # users write to the same people again
    assert all(left != right for left, right in pairs)
    for name in ("tags", "media", "admins"):
        assert 0 < pc.sum(pc.is_valid(field(messages, name))).as_py() < len(messages) / 2


@pytest.mark.parametrize(
    "numbers",
    [Sample(1, 1, 1), Sample(7, 1, 1), Sample(300, 2, 1), Sample(300, 3, 1_000_000)],
    ids=str,
)
@pytest.mark.parametrize("day", [date.min, DAY, date.max], ids=str)
def test_the_smallest_samples_and_the_first_and_last_possible_days_can_be_made(
    numbers: Sample, day: date
):
    assert len(sample_day(numbers, day)) == numbers.events_per_day


def test_message_ids_are_unique_in_a_day_of_several_batches():
    sample = Sample(events_per_day=450_000)
    parts = list(sample_batches(sample, DAY))
    assert [len(part) for part in parts] == [200_000, 200_000, 50_000]
    messages = of_type(pa.Table.from_batches(parts), "message")
    assert len(pc.unique(field(messages, "message_id"))) == len(messages)


# The users


@pytest.mark.parametrize("users", [20_000, 200_000])
def test_users_have_tens_of_neighbours_within_1_km(users: int):
    people = make_people(users, 1)
    chosen = np.random.default_rng(0).choice(users, 60, replace=False)
    north = 111.195 * (people.lat[chosen, None] - people.lat)
    east = (
        111.195
        * np.cos(np.radians(people.lat[chosen, None]))
        * (people.lon[chosen, None] - people.lon)
    )
    neighbours = (np.hypot(north, east) <= 1).sum(axis=1) - 1
    assert 70 < neighbours.mean() < 130


def test_users_stay_around_home_except_on_trips_of_days_or_weeks():
    people, rng = make_people(5_000, 1), np.random.default_rng(0)
    who, midnight_s = np.arange(5_000), (DAY - date(1970, 1, 1)).days * 86_400
    days = [
        people.positions(who, np.full(5_000, midnight_s + day * 86_400), rng) for day in range(28)
    ]
    off_km = np.array([111.195 * np.hypot(lat - people.lat, lon - people.lon) for lat, lon in days])
    away = off_km > 50
    assert 0.02 < away.mean() < 0.10  # of all days
    assert 0.10 < away.any(axis=0).mean() < 0.40  # have a trip among the 28 days
    assert 0.05 < np.median(off_km) < 0.3
    assert away.sum(axis=0).max() >= 14
    assert 4 < away.sum(axis=0)[away.any(axis=0)].mean() < 14
