"""DDS: the position, type and channel of an event, and which of several reasons is given."""

from math import inf, nan, nextafter

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_assets.lake.transform.dds import rejected_events
from promo_assets_tests.support.lake.dds_cases import (
    BAD_LAT,
    BAD_LON,
    DAY,
    NO_TIME,
    NO_USER,
    OTHER_DAY,
    UNKNOWN_TYPE,
    Case,
    Cases,
    is_case,
)
from promo_assets_tests.support.lake.rows import sorted_rows

CASES = Cases()
case = CASES.add


@pytest.fixture(scope="module")
def judged(spark: SparkSession) -> dict:
    return CASES.judge(spark)


@is_case(
    *(
        case({"lat": lat, "lon": lon, "city_id": city_id}, lat=lat, lon=lon)
        for lat, lon, city_id in (
            (0.0, 0.0, 1),
            (90.0, 0.0, 2),
            (-90.0, 0.0, 3),
            (90.0, 180.0, 2),
            (-90.0, -180.0, 3),
            (0.0, 180.0, 4),
            (0.0, -180.0, 4),
            (nextafter(90, 0), nextafter(180, 0), 2),
            (None, None, None),
            (None, 180.0, None),
            (None, 10.0, None),
            (-90.0, None, None),
            (60.0, None, None),
        )
    ),
    case({"lat": 60.0, "lon": 0.5, "city_id": 2}, "reaction", lat=60.0, lon=0.5),
    case({"lat": 60.0, "lon": 0.5, "city_id": 2}, "subscription", lat=60.0, lon=0.5),
)
def test_an_event_of_any_type_gets_the_nearest_city_if_it_has_a_position(judged: dict, case: Case):
    assert judged[case.number] == [case.expected]


@is_case(
    *(
        case(BAD_LAT, lat=lat, lon=10.0)
        for lat in (nextafter(90, 91), nextafter(-90, -91), 90.5, -151.2, nan, inf, -inf)
    ),
    *(
        case(BAD_LON, lat=10.0, lon=lon)
        for lon in (nextafter(180, 181), nextafter(-180, -181), 180.5, -360.0, nan, inf, -inf)
    ),
    *(case(BAD_LAT, lat=lat, lon=None) for lat in (90.5, nan)),
    *(case(BAD_LON, lat=None, lon=lon) for lon in (180.5, -180.5, nan, inf)),
    case(BAD_LAT, "reaction", lat=91.0, lon=10.0),
    case(BAD_LON, "subscription", lat=10.0, lon=181.0),
)
def test_a_position_off_the_globe_is_rejected_even_if_half_of_it_is_null(judged: dict, case: Case):
    assert judged[case.number] == [case.expected]


@is_case(
    *(
        case(UNKNOWN_TYPE, event_type, message_from=7, reaction_from="7", user="7")
        for event_type in (
            None,
            "",
            "Message",
            "REACTION",
            "subscriptioN",
            " message",
            "message ",
            "message\n",
            "messages",
            "story",
            "null",
        )
    )
)
def test_a_type_that_is_not_exactly_one_of_the_three_is_unknown(judged: dict, case: Case):
    assert judged[case.number] == [case.expected]


@is_case(
    case(UNKNOWN_TYPE, "story", message_ts="x", lat=91.0, lon=181.0),
    case(UNKNOWN_TYPE, None, message_ts=None),
    case(NO_USER, message_from=None, message_ts="x", lat=91.0, lon=181.0),
    case(NO_USER, message_from=-1, message_ts="2022-05-29 00:00:00"),
    case(NO_TIME, message_ts="2022-05-29", lat=91.0, lon=181.0),
    case(OTHER_DAY, message_ts="2022-05-29 00:00:00", lat=91.0, lon=181.0),
    case(BAD_LAT, lat=nan, lon=nan),
    case(BAD_LAT, lat=91.0, lon=-181.0),
)
def test_of_several_reasons_the_first_one_is_given(judged: dict, case: Case):
    """The order is type, user, time, day, lat, lon.

    The rules define no user for an event of an unknown type.
    """
    assert judged[case.number] == [case.expected]


@is_case(
    case({"channel_id": 31}, message_channel_to=31, channel_id=32, subscription_channel=33),
    case(
        {"channel_id": 32},
        "reaction",
        message_channel_to=31,
        channel_id=32,
        subscription_channel=33,
    ),
    case(
        {"channel_id": 33},
        "subscription",
        message_channel_to=31,
        channel_id=32,
        subscription_channel=33,
    ),
    case({}, channel_id=32, subscription_channel=33),
    case({}, "reaction", message_channel_to=31, subscription_channel=33),
    case({}, "subscription", message_channel_to=31, channel_id=32),
    case({"message_to": 8}, message_to=8, message_group=9),
    case({"message_to": -8}, message_to=-8),
)
def test_the_channel_is_read_from_the_field_of_the_event_type(judged: dict, case: Case):
    assert judged[case.number] == [case.expected]


def test_an_event_that_is_null_has_no_user(judged: dict):
    assert judged[None] == [NO_USER]


def test_every_case_is_either_usable_or_rejected(judged: dict):
    counts = {number: len(outcomes) for number, outcomes in judged.items() if number is not None}
    assert counts == {case.number: 1 for case in CASES.cases}


def test_a_rejected_event_keeps_its_columns_as_they_were(spark: SparkSession):
    case = next(case for case in CASES.cases if case.expected == BAD_LAT)
    rejected = rejected_events(CASES.frame(spark))
    assert rejected.columns == ["date", "event", "event_type", "lat", "lon", "reason"]
    is_expected = (F.col("event.message_id") == case.number) | F.col("event").isNull()
    assert sorted_rows(rejected.where(is_expected)) == [
        (DAY, None, "message", 0.0, 0.0, NO_USER),
        (*case.row, BAD_LAT),
    ]
