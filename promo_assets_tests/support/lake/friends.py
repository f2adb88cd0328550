"""Cases of the mart `friend_recomendation`: a case is a pair of users in a channel of its own.

On the sphere of rule 2.4, 1 km is 180 / (6371 π) = 0.008993216059187306 degrees of a great circle.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_assets.lake.transform.cities import City
from promo_assets.lake.transform.history import correspondents, last_positions
from promo_assets.lake.transform.mart_friends import friend_recomendation
from promo_assets_tests.support.lake.rows import Place, Row, events_frame, subscription

# Makes events, given both users, the smaller id first, and a channel.
MakeEvents = Callable[[int, int, int], list[Row]]
Cases = dict[str, tuple[MakeEvents, int | None]]
AS_OF = date(2022, 5, 15)
WINDOW = ("2022-04-18", "2022-05-15")
KM = 0.008993216059187306  # degrees
# Clocks in Sydney are about to go forward by an hour; on Lord Howe they have just gone forward by
# half an hour.
PROCESSED_AT = datetime(2022, 10, 1, 15, 30, 0, 123456, tzinfo=UTC)
CITIES = [
    City(1, "Sydney", 0.0, 0.0, "Australia/Sydney"),
    City(2, "Lord Howe", 0.0, 0.0, "Australia/Lord_Howe"),
    City(3, "Kathmandu", 0.0, 0.0, "Asia/Kathmandu"),
    City(4, "St. John's", 0.0, 0.0, "America/St_Johns"),
]
LOCAL_TIMES = {
    1: "2022-10-02 01:30:00.123456",
    2: "2022-10-02 02:30:00.123456",
    3: "2022-10-01 21:15:00.123456",
    4: "2022-10-01 13:00:00.123456",
}
BEFORE, FIRST, LAST = (
    "2022-04-17 23:59:59.999999",
    "2022-04-18 00:00:00",
    "2022-05-15 23:59:59.999999",
)
NOON, LATER = "2022-05-01 12:00:00", "2022-05-01 12:00:01"


def at(lat: float | None, lon: float | None, city_id: int | None = 1) -> Place:
    return lat, lon, city_id


HERE = at(-33.865, 151.2094)
NEAR = at(-33.865 + 0.5 * KM, 151.2094)
FAR = at(-33.865 + 2 * KM, 151.2094)


def seen(one: Place, other: Place) -> MakeEvents:
    """Return the events of two subscribers of a channel, seen at these places."""
    return lambda left, right, channel: [
        subscription(left, NOON, channel, one),
        subscription(right, LATER, channel, other),
    ]


def and_also(*rows: Callable[[int, int], Row]) -> MakeEvents:
    """Return the events of two near subscribers of a channel, and more rows made from both ids."""
    return lambda left, right, channel: [
        *seen(HERE, NEAR)(left, right, channel),
        *(row(left, right) for row in rows),
    ]


def pair_ids(cases: Cases) -> dict[str, tuple[int, int]]:
    """Return both ids of each case: 9 and 10, 99 and 100, ... In text the larger would be first."""
    tens = {name: 10 ** (n % 18 + 1) + 2 * n for n, name in enumerate(cases)}
    return {name: (ten - 1, ten) for name, ten in tens.items()}


def find_friends(spark: SparkSession, rows: list[Row]) -> DataFrame:
    history = events_frame(spark, rows)
    window = history.where(F.col("date").between(*WINDOW))
    return friend_recomendation(
        last_positions(window), window, correspondents(history), CITIES, PROCESSED_AT, AS_OF
    )


def find_friends_of_cases(spark: SparkSession, cases: Cases) -> DataFrame:
    """Return the mart of all cases together, each in channels of its own."""
    ids, rows = pair_ids(cases), []
    for n, (name, (make_events, _)) in enumerate(cases.items()):
        rows += make_events(*ids[name], 100 * n)
    return find_friends(spark, rows)


def expected_rows(cases: Cases, name: str) -> list[Row]:
    """Return the rows that a case must have in the mart, with times as text."""
    zone = cases[name][1]
    if zone is None:
        return []
    return [(*pair_ids(cases)[name], zone, "2022-10-01 15:30:00.123456", LOCAL_TIMES[zone])]
