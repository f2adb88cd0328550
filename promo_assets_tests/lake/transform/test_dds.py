"""STG is RAW as it is; DDS keeps an event and types it, or rejects it and says why. One Spark job judges all cases.

Each case is an event at an edge of one rule and right in all others; its `message_id` is its number.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, nan, nextafter

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from promo_assets.lake.tables import RAW_EVENTS
from promo_assets.lake.transform.cities import City
from promo_assets.lake.transform.dds import rejected_events, usable_events
from promo_assets.lake.transform.stg import split_by_type
from promo_assets_tests.support.lake.rows import Row, frame, raw_row, told

# By hand: Equator is nearest to (0, 0); North to the north pole and South to the south pole; West to (x, ±180), beyond the meridian.
CITIES = [
    City(1, "Equator", 0.0, 10.0, "UTC"),
    City(2, "North", 60.0, 0.0, "UTC"),
    City(3, "South", -60.0, 0.0, "UTC"),
    City(4, "West", 0.0, -170.0, "UTC"),
]
UNKNOWN_TYPE = "unknown event type"
NO_USER = "no user: digits are needed"
NO_TIME = "no readable time"
OTHER_DAY = "time outside of the partition's day"
BAD_LAT = "lat outside of ±90"
BAD_LON = "lon outside of ±180"
AT = "2022-05-28 10:00:00"


@dataclass(frozen=True)
class Case:
    """A row of STG and what becomes of it: the values that a kept event differs in from a plain one, or the reason."""

    label: str
    row: Row
    outcome: dict | str

    def __str__(self) -> str:
        return self.label


CASES: list[Case] = []


def case(outcome: dict | str, event_type: str | None = "message", **changed: object) -> Case:
    user = {
        "message": {"message_from": 7},
        "reaction": {"reaction_from": "7"},
        "subscription": {"user": "7"},
    }.get(str(event_type), {})
    where = {name: changed.pop(name) for name in ("lat", "lon", "date") if name in changed}
    row = raw_row(
        event_type, **where, **({"message_id": len(CASES), "message_ts": AT} | user | changed)
    )
    label = " ".join(
        [repr(event_type), *(f"{name}={value!r}" for name, value in (where | changed).items())]
    )
    CASES.append(Case(label, row, outcome))
    return CASES[-1]


def typed(event_type: str, **differing: object) -> dict:
    plain = {
        "date": "2022-05-28",
        "user_id": 7,
        "message_to": None,
        "channel_id": None,
        "event_at": AT,
    }
    return plain | {"lat": None, "lon": None, "city_id": None, "event_type": event_type} | differing


def is_case(*cases: Case):
    return pytest.mark.parametrize("case", cases, ids=str)


@pytest.fixture(scope="module")
def stg_events(spark: SparkSession) -> Iterator[DataFrame]:
    """All cases, and one event that is null as a whole, so that its number is too."""
    rows = [case.row for case in CASES]
    cached = frame(spark, RAW_EVENTS, [*rows, ("2022-05-28", None, "message", 0.0, 0.0)]).cache()
    yield cached
    cached.unpersist()


@pytest.fixture(scope="module")
def judged(stg_events: DataFrame) -> dict[int | None, list]:
    """number -> what became of the case: a kept event as a dict, a rejected one as its reason."""
    outcomes = defaultdict(list)
    kept = usable_events(stg_events, CITIES)
    for row in told(kept):
        event = dict(zip(kept.columns, row, strict=True))
        outcomes[event.pop("message_id")].append(event)
    rejected = rejected_events(stg_events).select("event.message_id", "reason")
    for number, reason in told(rejected):
        outcomes[number].append(reason)
    return outcomes


@pytest.fixture
def check(judged: dict):
    def hold(case: Case) -> None:
        outcome = (
            case.outcome
            if isinstance(case.outcome, str)
            else typed(str(case.row[2])) | case.outcome
        )
        assert judged[CASES.index(case)] == [outcome]

    return hold


@is_case(
    case({"user_id": 0}, message_from=0),
    case({"user_id": 2**63 - 1}, message_from=2**63 - 1),
    case({"user_id": 9}, message_from=9, reaction_from="x", user="y", subscription_user="z"),
    case({"user_id": 0}, "reaction", reaction_from="0"),
    case({"user_id": 7}, "reaction", reaction_from="007"),
    case({"user_id": 7}, "reaction", reaction_from="0" * 40 + "7"),
    case({"user_id": 2**63 - 1}, "reaction", reaction_from="9223372036854775807"),
    case(
        {"user_id": 9},
        "reaction",
        reaction_from="9",
        message_from=-1,
        user="y",
        subscription_user="z",
    ),
    case(
        {"user_id": 9},
        "subscription",
        user="9",
        subscription_user="8",
        message_from=-1,
        reaction_from="x",
    ),
    case({"user_id": 8}, "subscription", user=None, subscription_user="8"),
    case({"user_id": 9}, "subscription", user="9", subscription_user="x"),
)
def test_the_user_is_the_one_of_the_event_type_in_digits(check, case: Case):
    check(case)


@is_case(
    case(NO_USER, message_from=None),
    case(NO_USER, message_from=None, reaction_from="7", user="7", subscription_user="7"),
    case(NO_USER, message_from=-1),
    case(NO_USER, message_from=-(2**63)),
    case(NO_USER, "reaction", reaction_from=None, message_from=7, user="7", subscription_user="7"),
    *(
        case(NO_USER, "reaction", reaction_from=text)
        for text in (
            "",
            " ",
            "-7",
            "+7",
            " 7",
            "7 ",
            "7\n",
            "\n7",
            "7\n8",
            "7.0",
            "7e3",
            "0x7",
            "7_000",
            "7L",
            "٧",
            "seven",
        )
    ),
    case(NO_USER, "reaction", reaction_from="9223372036854775808"),
    case(NO_USER, "reaction", reaction_from="18446744073709551623"),  # 2^64 + 7
    case(NO_USER, "reaction", reaction_from="9" * 40),
    case(
        NO_USER,
        "subscription",
        user=None,
        subscription_user=None,
        message_from=7,
        reaction_from="7",
    ),
    case(NO_USER, "subscription", user="x", subscription_user="7"),
    case(NO_USER, "subscription", user="", subscription_user="7"),
    case(NO_USER, "subscription", user=None, subscription_user="7 "),
)
def test_what_is_not_all_digits_or_too_large_for_a_long_is_no_user(check, case: Case):
    check(case)


@is_case(
    case({"event_at": "2022-05-28 11:22:33"}, message_ts="2022-05-28 11:22:33"),
    case({"event_at": "2022-05-28 11:22:33"}, message_ts="2022-05-28T11:22:33"),
    case({"event_at": "2022-05-28 11:22:33"}, message_ts=None, datetime="2022-05-28 11:22:33"),
    case(
        {"event_at": "2022-05-28 11:22:33"},
        message_ts="2022-05-28 01:00:00",
        datetime="2022-05-28 11:22:33",
    ),
    case({"event_at": "2022-05-28 11:22:33"}, message_ts="rubbish", datetime="2022-05-28 11:22:33"),
    *(
        case(
            {"event_at": f"2022-05-28 11:22:33.{read}"},
            datetime=f"2022-05-28{between}11:22:33.{written}",
        )
        for between, written, read in (
            (" ", "1", "1"),
            ("T", "12", "12"),
            (" ", "123", "123"),
            ("T", "1234", "1234"),
            (" ", "12345", "12345"),
            ("T", "123456", "123456"),
            (" ", "1234567", "123456"),  # a timestamp holds microseconds; what is beyond is cut off
            ("T", "12345678", "123456"),
            (" ", "123456789", "123456"),
            ("T", "123456789999", "123456"),
            (" ", "000001", "000001"),
        )
    ),
    case({}, message_ts="2022-05-28 10:00:00.000000000"),
    case(
        {"event_at": "2024-02-29 10:00:00", "date": "2024-02-29"},
        message_ts="2024-02-29 10:00:00",
        date="2024-02-29",
    ),
    case(
        {"event_at": "1970-01-01 00:00:00", "date": "1970-01-01"},
        message_ts="1970-01-01 00:00:00",
        date="1970-01-01",
    ),
    case(
        {"event_at": "1969-12-31 23:59:59.5", "date": "1969-12-31"},
        message_ts="1969-12-31 23:59:59.5",
        date="1969-12-31",
    ),
    case({"event_at": "2022-05-28 00:00:00"}, message_ts="2022-05-28 00:00:00"),
    case({"event_at": "2022-05-28 23:59:59.999999"}, message_ts="2022-05-28 23:59:59.999999"),
    case({"event_at": "2022-05-28 23:59:59.999999"}, message_ts="2022-05-28T23:59:59.999999999"),
)
def test_a_time_is_read_with_a_blank_or_a_t_and_with_any_fraction(check, case: Case):
    check(case)


@is_case(
    case(NO_TIME, message_ts=None),
    *(
        case(NO_TIME, message_ts=text)
        for text in (
            *(
                "",
                " ",
                "2022-05-28",
                "2022-05-28 ",
                "10:00:00",
                "2022-05-28 10:00",
                "2022-05-28 10",
                "2022-05",
                "1653732000",
                "now",
            ),
            *(
                "2022-05-28 24:00:00",
                "2022-05-28 25:00:00",
                "2022-05-28 10:60:00",
                "2022-05-28 10:00:60",
                "2022-05-28 23:59:60",
            ),
            *(
                "2022-02-30 10:00:00",
                "2022-02-29 10:00:00",
                "2022-04-31 10:00:00",
                "2022-13-01 10:00:00",
                "2022-00-10 10:00:00",
            ),
            *(
                "2022-05-28 10:00:00Z",
                "2022-05-28T10:00:00Z",
                "2022-05-28 10:00:00.5Z",
                "2022-05-28 10:00:00 UTC",
            ),
            *(
                "2022-05-28 10:00:00+00:00",
                "2022-05-28T10:00:00+00",
                "2022-05-28T10:00:00-0300",
                "2022-05-28 10:00:00 Australia/Sydney",
            ),
            *(
                " 2022-05-28 10:00:00",
                "2022-05-28 10:00:00 ",
                "2022-05-28 10:00:00\n",
                "\n2022-05-28 10:00:00",
                "2022-05-28 10:00:00\t",
            ),
            *(
                "2022-05-28  10:00:00",
                "2022-05-28t10:00:00",
                "2022-05-28 T10:00:00",
                "2022-05-28_10:00:00",
                "2022-05-2810:00:00",
            ),
            *(
                "2022-05-28 10:00:00.",
                "2022-05-28 10:00:00,5",
                "2022-05-28 10:00:00.5.5",
                "2022-05-28 10:00:00.-5",
                "2022-05-28 10-00-00",
            ),
            *(
                "2022-5-28 10:00:00",
                "2022-05-28 1:00:00",
                "22-05-28 10:00:00",
                "+2022-05-28 10:00:00",
                "02022-05-28 10:00:00",
            ),
            *(
                "28.05.2022 10:00:00",
                "2022/05/28 10:00:00",
                "2022-05-28 -1:00:00",
                "٢٠٢٢-٠٥-٢٨ ١٠:٠٠:٠٠",
                "2022-05-28\u00a010:00:00",
            ),
        )
    ),
    case(NO_TIME, datetime="", message_ts=AT),
    case(NO_TIME, datetime="2022-05-28", message_ts=AT),
    case(NO_TIME, datetime="2022-05-28 24:00:00", message_ts=AT),
)
def test_any_other_time_is_unreadable_and_message_ts_does_not_stand_in_for_a_broken_datetime(
    check, case: Case
):
    check(case)


@is_case(
    case(OTHER_DAY, message_ts="2022-05-27 23:59:59.999999"),
    case(OTHER_DAY, message_ts="2022-05-27 23:59:59.999999999"),
    case(OTHER_DAY, message_ts="2022-05-29 00:00:00"),
    case(OTHER_DAY, message_ts="2022-05-29T00:00:00.000000"),
    case(OTHER_DAY, message_ts="2021-05-28 10:00:00"),
    case(OTHER_DAY, message_ts="0001-01-01 00:00:00"),
    case(OTHER_DAY, message_ts="9999-12-31 23:59:59.999999"),
    case(OTHER_DAY, datetime="2022-05-29 10:00:00", message_ts=AT),
)
def test_a_time_of_another_day_is_rejected_to_the_microsecond(check, case: Case):
    check(case)


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
def test_an_event_of_any_type_with_a_position_gets_the_nearest_city_up_to_the_limits_and_without_one_none(
    check, case: Case
):
    check(case)


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
def test_a_position_off_the_globe_is_rejected_even_if_half_of_it_is_null(check, case: Case):
    check(case)


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
def test_a_type_that_is_not_exactly_one_of_the_three_is_unknown(check, case: Case):
    check(case)


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
def test_of_several_reasons_the_first_is_told(check, case: Case):
    """In this order: type, user, time, day, lat, lon. An event of unknown type has no user that the specification would name."""
    check(case)


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
def test_the_channel_is_the_one_of_the_event_type(check, case: Case):
    check(case)


def test_an_event_that_is_null_has_no_user(judged: dict):
    assert judged[None] == [NO_USER]


def test_kept_and_rejected_are_what_was_read(judged: dict):
    assert sorted(
        (number, len(outcomes)) for number, outcomes in judged.items() if number is not None
    ) == [(n, 1) for n in range(len(CASES))]


def test_a_rejected_event_is_told_as_it_came(stg_events: DataFrame):
    first = next(n for n, case in enumerate(CASES) if case.outcome == OTHER_DAY)
    rejected = rejected_events(stg_events)
    assert rejected.columns == ["date", "event", "event_type", "lat", "lon", "reason"]
    rows = told(rejected.where((F.col("event.message_id") == first) | F.col("event").isNull()))
    assert rows == [
        ("2022-05-28", None, "message", 0.0, 0.0, NO_USER),
        (*CASES[first].row, OTHER_DAY),
    ]


def test_stg_holds_the_rows_of_raw_as_they_are(spark: SparkSession):
    """With what cannot be used, twice what came twice; a column that RAW gets one day is not STG's."""
    longs = dict.fromkeys(
        (
            "channel_id",
            "message_channel_to",
            "message_from",
            "message_group",
            "message_id",
            "message_to",
        ),
        -1,
    )
    strings = dict.fromkeys(
        (
            "datetime",
            "message",
            "message_ts",
            "reaction_from",
            "reaction_type",
            "subscription_user",
            "user",
        ),
        "x\n",
    )
    others = {
        "admins": [1, None],
        "media": ("image", None),
        "subscription_channel": 2**63 - 1,
        "tags": [],
    }
    full = raw_row("story", 1000.0, -0.5, **longs, **strings, **others)
    rows = [
        full,
        full,
        raw_row(None),
        ("2022-05-28", None, None, None, None),
        raw_row("Message", None, 0.0, date="2022-05-29"),
    ]
    raw_events = frame(spark, RAW_EVENTS, rows)
    wider = raw_events.withColumn("new_column", F.lit(1)).select(
        "new_column", "lon", "event", "lat", "event_type", "date"
    )
    assertDataFrameEqual(split_by_type(wider), raw_events)
