"""Mart `users` as of 15 May 2022 with a depth of 28 days: 18 April 00:00 to 16 May 00:00.

The mart is computed from events, through the visits of the days. Local time in that month is UTC+10
in Sydney, UTC+9:30 in Adelaide and UTC+8 in Perth. One user is one case, and one Spark job computes
all cases.
"""

from datetime import date, datetime, timedelta

import pytest
from pyspark.sql import SparkSession

from promo_assets.lake.transform.cities import City
from promo_assets.lake.transform.history import visits
from promo_assets.lake.transform.mart_users import users
from promo_assets_tests.support.lake.rows import (
    ADELAIDE,
    CITIES,
    NOWHERE,
    PERTH,
    SYDNEY,
    Place,
    Row,
    events_frame,
    message,
    reaction,
    sorted_rows,
    subscription,
)

AS_OF, DEPTH = date(2022, 5, 15), 28
NOON = "2022-05-01 12:00:00"


def stays(*messages: tuple[str, Place]):
    """Return the events of a user who only writes these messages."""
    return lambda user: [message(user, at, place) for at, place in messages]


def wandering(since: str, to: str, *places: Place) -> list[tuple[str, Place]]:
    """Return a message every 20 days at noon, each at the next place: no visit is long."""
    first, last = (
        datetime.fromisoformat(f"{since} 12:00:00"),
        datetime.fromisoformat(f"{to} 12:00:00"),
    )
    days = range(0, (last - first).days + 1, 20)
    return [
        (str(first + timedelta(days=day)), places[n % len(places)]) for n, day in enumerate(days)
    ]


# name -> the user's events, given the user; the expected act_city, home_city, travel_count,
# travel_array and local_time.
CASES = {
    "a visit of 27 days makes no home": (
        stays(("2022-04-18 10:00:00", SYDNEY), ("2022-05-15 10:00:00", PERTH)),
        ("Perth", None, 2, ["Sydney", "Perth"], "2022-05-15 18:00:00"),
    ),
    "a visit of 27 days and a second makes a home": (
        stays(("2022-04-18 10:00:00", SYDNEY), ("2022-05-15 10:00:01", PERTH)),
        ("Perth", "Sydney", 2, ["Sydney", "Perth"], "2022-05-15 18:00:01"),
    ),
    "a visit of 27 days and a microsecond makes a home": (
        stays(("2022-04-18 10:00:00", SYDNEY), ("2022-05-15 10:00:00.000001", PERTH)),
        ("Perth", "Sydney", 2, ["Sydney", "Perth"], "2022-05-15 18:00:00.000001"),
    ),
    "a visit begins with its first message, not with the last message elsewhere": (
        stays(
            ("2022-04-18 09:00:00", PERTH),
            ("2022-04-18 10:00:00", SYDNEY),
            ("2022-05-01 10:00:00", SYDNEY),
            ("2022-05-15 10:00:00", PERTH),
        ),
        ("Perth", None, 3, ["Perth", "Sydney", "Perth"], "2022-05-15 18:00:00"),
    ),
    "the current visit lasts to 24:00 of the day: 27 days": (
        stays(("2022-04-19 00:00:00", PERTH)),
        ("Perth", None, 1, ["Perth"], "2022-04-19 08:00:00"),
    ),
    "the current visit lasts to 24:00 of the day: 27 days and a second": (
        stays(("2022-04-18 23:59:59", PERTH)),
        ("Perth", "Perth", 1, ["Perth"], "2022-04-19 07:59:59"),
    ),
    "the current visit lasts to 24:00 of the day: 27 days and a microsecond": (
        stays(("2022-04-18 23:59:59.999999", PERTH), ("2022-05-15 23:59:59.999999", PERTH)),
        ("Perth", "Perth", 1, ["Perth"], "2022-05-16 07:59:59.999999"),
    ),
    "a return is another visit": (
        stays(
            ("2022-04-20 10:00:00", SYDNEY),
            ("2022-04-25 10:00:00", PERTH),
            ("2022-05-01 10:00:00", SYDNEY),
        ),
        ("Sydney", None, 3, ["Sydney", "Perth", "Sydney"], "2022-05-01 20:00:00"),
    ),
    "two visits to one city do not add up": (
        stays(
            ("2022-04-01 10:00:00", SYDNEY),
            ("2022-04-25 10:00:00", PERTH),
            ("2022-04-25 10:00:01", SYDNEY),
        ),
        ("Sydney", None, 2, ["Perth", "Sydney"], "2022-04-25 20:00:01"),
    ),
    "there and back within a day": (
        stays(
            ("2022-05-02 10:00:00", SYDNEY),
            ("2022-05-02 11:00:00", PERTH),
            ("2022-05-02 12:00:00", SYDNEY),
        ),
        ("Sydney", None, 3, ["Sydney", "Perth", "Sydney"], "2022-05-02 22:00:00"),
    ),
    "a visit that began before the window is one visit with its full length": (
        stays(("2022-04-10 10:00:00", SYDNEY), ("2022-05-10 10:00:00", SYDNEY)),
        ("Sydney", "Sydney", 1, ["Sydney"], "2022-05-10 20:00:00"),
    ),
    "a visit of 27 days that began before the window": (
        stays(
            ("2022-04-01 10:00:00", SYDNEY),
            ("2022-04-20 10:00:00", SYDNEY),
            ("2022-04-28 10:00:00", PERTH),
        ),
        ("Perth", None, 2, ["Sydney", "Perth"], "2022-04-28 18:00:00"),
    ),
    "a visit of 27 days and a second that began before the window": (
        stays(
            ("2022-04-01 10:00:00", SYDNEY),
            ("2022-04-20 10:00:00", SYDNEY),
            ("2022-04-28 10:00:01", PERTH),
        ),
        ("Perth", "Sydney", 2, ["Sydney", "Perth"], "2022-04-28 18:00:01"),
    ),
    "a visit that ended when the window began is not a visit of the window": (
        stays(("2022-04-17 23:59:59.999999", PERTH), ("2022-04-18 00:00:00", ADELAIDE)),
        ("Adelaide", "Adelaide", 1, ["Adelaide"], "2022-04-18 09:30:00"),
    ),
    "a long visit that ended in the window without a message in it": (
        stays(("2022-03-01 10:00:00", SYDNEY), ("2022-05-01 10:00:00", PERTH)),
        ("Perth", "Sydney", 1, ["Perth"], "2022-05-01 18:00:00"),
    ),
    "home may be long before the window": (
        stays(
            ("2021-01-01 12:00:00", SYDNEY), *wandering("2021-02-01", "2022-05-07", PERTH, ADELAIDE)
        ),
        ("Adelaide", "Sydney", 1, ["Adelaide"], "2022-05-07 21:30:00"),
    ),
    "home is the last of the long visits, not the longest": (
        stays(
            ("2021-01-01 12:00:00", SYDNEY),
            ("2021-06-01 12:00:00", ADELAIDE),
            *wandering("2021-07-01", "2022-04-27", PERTH, SYDNEY),
        ),
        ("Sydney", "Adelaide", 1, ["Sydney"], "2022-04-27 22:00:00"),
    ),
    "home is the city of the current visit if it is long": (
        stays(
            ("2022-01-01 12:00:00", SYDNEY),
            ("2022-04-01 12:00:00", PERTH),
            ("2022-05-01 12:00:00", PERTH),
        ),
        ("Perth", "Perth", 1, ["Perth"], "2022-05-01 20:00:00"),
    ),
    "a short return does not change the home": (
        stays(
            ("2022-01-01 12:00:00", SYDNEY),
            ("2022-03-01 12:00:00", PERTH),
            ("2022-04-20 12:00:00", SYDNEY),
        ),
        ("Sydney", "Perth", 1, ["Sydney"], "2022-04-20 22:00:00"),
    ),
    "of simultaneous messages the one without an id is first, then the smaller id": (
        lambda user: [
            message(user, NOON, PERTH, 10),
            message(user, NOON, SYDNEY, 9),
            message(user, NOON, ADELAIDE, None),
        ],
        ("Perth", None, 3, ["Adelaide", "Sydney", "Perth"], "2022-05-01 20:00:00"),
    ),
    "a negative id comes after no id": (
        lambda user: [message(user, NOON, PERTH, -1), message(user, NOON, ADELAIDE, None)],
        ("Perth", None, 2, ["Adelaide", "Perth"], "2022-05-01 20:00:00"),
    ),
    "with the same id the smaller latitude is first, then the smaller longitude": (
        lambda user: [
            message(user, NOON, place, 5)
            for place in ((0.0, 150.0, 1), (0.0, 115.0, 2), (-1.0, 150.0, 3))
        ],
        ("Sydney", None, 3, ["Adelaide", "Perth", "Sydney"], "2022-05-01 22:00:00"),
    ),
    "the same message twice is one visit": (
        stays((NOON, PERTH), (NOON, PERTH)),
        ("Perth", None, 1, ["Perth"], "2022-05-01 20:00:00"),
    ),
    "events without a city and other events neither interrupt a visit nor are the last message": (
        lambda user: [
            message(user, "2022-05-01 10:00:00", ADELAIDE),
            message(user, "2022-05-01 11:00:00", NOWHERE),
            reaction(user, "2022-05-01 12:00:00", SYDNEY),
            message(user, "2022-05-02 10:00:00", NOWHERE),
            subscription(user, "2022-05-02 11:00:00", 5, SYDNEY),
            message(user, "2022-05-03 10:00:00", ADELAIDE),
            message(user, "2022-05-04 10:00:00", NOWHERE),
            reaction(user, "2022-05-05 10:00:00", SYDNEY),
        ],
        ("Adelaide", None, 1, ["Adelaide"], "2022-05-03 19:30:00"),
    ),
    "a visit continues in the next month": (
        stays(("2022-04-30 23:59:59.999999", SYDNEY), ("2022-05-01 00:00:00", SYDNEY)),
        ("Sydney", None, 1, ["Sydney"], "2022-05-01 10:00:00"),
    ),
    "a visit ends with the month": (
        stays(("2022-04-30 23:59:59.999999", PERTH), ("2022-05-01 00:00:00", SYDNEY)),
        ("Sydney", None, 2, ["Perth", "Sydney"], "2022-05-01 10:00:00"),
    ),
    "more than nine visits of a day stay in order": (
        stays(
            *(
                (f"2022-05-02 {hour:02}:00:00", (PERTH, SYDNEY, ADELAIDE)[hour % 3])
                for hour in range(11)
            )
        ),
        (
            "Sydney",
            None,
            11,
            ["Perth", "Sydney", "Adelaide"] * 3 + ["Perth", "Sydney"],
            "2022-05-02 20:00:00",
        ),
    ),
    "the first moment of the window belongs to it": (
        stays(("2022-04-18 00:00:00", PERTH)),
        ("Perth", "Perth", 1, ["Perth"], "2022-04-18 08:00:00"),
    ),
    "the moment before does not": (stays(("2022-04-17 23:59:59.999999", PERTH)), None),
    "a user with a city before the window only has no row": (
        stays(("2022-03-01 10:00:00", PERTH), ("2022-05-01 10:00:00", NOWHERE)),
        None,
    ),
    "a user without messages has no row": (
        lambda user: [reaction(user, NOON, PERTH), subscription(user, NOON, 5, PERTH)],
        None,
    ),
}
USERS = {name: 2**62 + number for number, name in enumerate(CASES)}


@pytest.fixture(scope="module")
def mart(spark: SparkSession) -> list[Row]:
    rows = [row for name, (events, _) in CASES.items() for row in events(USERS[name])]
    frame = users(visits(events_frame(spark, rows)), CITIES, AS_OF, DEPTH)
    assert frame.dtypes == [
        ("user_id", "bigint"),
        ("act_city", "string"),
        ("home_city", "string"),
        ("travel_count", "int"),
        ("travel_array", "array<string>"),
        ("local_time", "timestamp"),
    ]
    return sorted_rows(frame)


@pytest.mark.parametrize("name", CASES)
def test_a_user_is_described_by_visits(mart: list[Row], name: str):
    row = CASES[name][1]
    assert [found[1:] for found in mart if found[0] == USERS[name]] == ([row] if row else [])


def test_the_depth_decides_which_visits_count_but_not_the_home(spark: SparkSession):
    rows = [
        message(1, "2001-02-03 10:00:00", SYDNEY),
        message(1, "2022-05-14 23:59:59", ADELAIDE),
        message(1, "2022-05-15 00:00:00", PERTH),
        message(2, "2022-05-14 23:59:59.999999", SYDNEY),
        message(3, "2022-05-13 23:59:59.999999", SYDNEY),
    ]
    user_visits = visits(events_frame(spark, rows))
    all_of_1 = (1, "Perth", "Sydney", 3, ["Sydney", "Adelaide", "Perth"], "2022-05-15 08:00:00")
    others = [
        (2, "Sydney", None, 1, ["Sydney"], "2022-05-15 09:59:59.999999"),
        (3, "Sydney", None, 1, ["Sydney"], "2022-05-14 09:59:59.999999"),
    ]
    assert sorted_rows(users(user_visits, CITIES, AS_OF, 1)) == [
        (1, "Perth", "Sydney", 1, ["Perth"], "2022-05-15 08:00:00")
    ]
    assert sorted_rows(users(user_visits, CITIES, AS_OF, 2)) == [
        (1, "Perth", "Sydney", 2, ["Adelaide", "Perth"], "2022-05-15 08:00:00"),
        others[0],
    ]
    assert sorted_rows(users(user_visits, CITIES, AS_OF, 10_000)) == [all_of_1, *others]


@pytest.mark.parametrize(
    "depth", [400_000, 10**6], ids=["from the year 927", "from before the calendar"]
)
def test_a_window_may_begin_before_all_history(spark: SparkSession, depth: int):
    user_visits = visits(events_frame(spark, [message(1, "2001-02-03 10:00:00", PERTH)]))
    assert sorted_rows(users(user_visits, CITIES, AS_OF, depth)) == [
        (1, "Perth", "Perth", 1, ["Perth"], "2001-02-03 18:00:00")
    ]


# zone, event time, wall clock
LOCAL_TIMES = [
    ("UTC", "2022-12-31 23:59:59.999999", "2022-12-31 23:59:59.999999"),
    # Summer time ends: 03:00 becomes 02:00 again. It begins: 02:00 becomes 03:00.
    ("Australia/Sydney", "2022-04-02 15:59:59", "2022-04-03 02:59:59"),
    ("Australia/Sydney", "2022-04-02 16:00:00", "2022-04-03 02:00:00"),
    ("Australia/Sydney", "2022-10-01 15:59:59.999999", "2022-10-02 01:59:59.999999"),
    ("Australia/Sydney", "2022-10-01 16:00:00", "2022-10-02 03:00:00"),
    ("Australia/Brisbane", "2022-10-01 16:00:00", "2022-10-02 02:00:00"),
    ("Australia/Adelaide", "2022-10-01 16:29:59", "2022-10-02 01:59:59"),
    ("Australia/Adelaide", "2022-10-01 16:30:00", "2022-10-02 03:00:00"),
    ("Australia/Darwin", "2022-10-01 16:30:00", "2022-10-02 02:00:00"),
    ("Australia/Eucla", "2022-10-01 16:30:00", "2022-10-02 01:15:00"),
    # Summer time is half an hour here.
    ("Australia/Lord_Howe", "2022-04-02 14:59:59", "2022-04-03 01:59:59"),
    ("Australia/Lord_Howe", "2022-04-02 15:00:00", "2022-04-03 01:30:00"),
    ("Australia/Lord_Howe", "2022-10-01 15:29:59", "2022-10-02 01:59:59"),
    ("Australia/Lord_Howe", "2022-10-01 15:30:00", "2022-10-02 02:30:00"),
    ("Asia/Kolkata", "2022-07-01 18:30:00", "2022-07-02 00:00:00"),
    ("Asia/Kathmandu", "2022-07-01 18:15:00", "2022-07-02 00:00:00"),
    ("America/St_Johns", "2022-03-13 05:29:59", "2022-03-13 01:59:59"),
    ("America/St_Johns", "2022-03-13 05:30:00", "2022-03-13 03:00:00"),
    ("Europe/London", "2022-10-30 00:59:59", "2022-10-30 01:59:59"),
    ("Europe/London", "2022-10-30 01:00:00", "2022-10-30 01:00:00"),
    ("Pacific/Kiritimati", "2022-12-31 10:00:00", "2023-01-01 00:00:00"),
    ("Pacific/Marquesas", "2022-01-01 09:29:59", "2021-12-31 23:59:59"),
]


def test_local_time_is_the_wall_clock_of_the_last_message(spark: SparkSession):
    cities = [City(n, f"City {n}", 0.0, 0.0, zone) for n, (zone, _, _) in enumerate(LOCAL_TIMES)]
    rows = [message(n, at, (0.0, 0.0, n)) for n, (_, at, _) in enumerate(LOCAL_TIMES)]
    found = sorted_rows(users(visits(events_frame(spark, rows)), cities, date(2022, 12, 31), 365))
    assert {row[0]: (row[1], row[-1]) for row in found} == {
        n: (f"City {n}", local) for n, (_, _, local) in enumerate(LOCAL_TIMES)
    }
