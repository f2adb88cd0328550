"""Marts `campaign_results` and `restaurant_results`, with results counted by hand.

Each case is a restaurant of its own, and one Spark job per mart counts all cases. 1971-01-02 begins
366 days after the epoch.
"""

from datetime import date

import pytest
from pyspark.sql import SparkSession

from promo_assets.lake.tables import SUBSCRIBERS_FEEDBACK
from promo_assets.lake.transform.mart_campaigns import (
    campaign_results,
    restaurant_results,
    staged_feedback,
)
from promo_assets_tests.support.lake.rows import Row, frame, sorted_rows

MIDNIGHT = 366 * 86_400
NOON = MIDNIGHT + 43_200
NO_ANSWERS: list = []


def row(
    client: str,
    feedback: str | None = None,
    at: int = NOON,
    campaign: str = "c",
    created: int = NOON - 30,
) -> tuple:
    return campaign, created, client, at, feedback


def answers(**clients_by_value: int) -> list[tuple]:
    return [
        row(f"{value}-{n}", value)
        for value, clients in clients_by_value.items()
        for n in range(clients)
    ]


# Rows, and the expected results of each campaign: its id, first and last notification, clients
# notified and answered, feedback, rate, seconds.
AT_NOON = ("1971-01-02 12:00:00", "1971-01-02 12:00:00")
CASES: dict[str, tuple[list[tuple], list[tuple]]] = {
    "nobody answered": ([row("a"), row("b")], [("c", *AT_NOON, 2, 0, NO_ANSWERS, 0.0, 30)]),
    "some answered": (
        [row("a", "yes"), row("b", "no"), row("c", "yes"), row("d")],
        [("c", *AT_NOON, 4, 3, [("yes", 2), ("no", 1)], 0.75, 30)],
    ),
    "equally frequent answers are sorted by text": (
        [row("a", "b"), row("b", "a"), row("c", "B"), row("d", "ä")],
        [("c", *AT_NOON, 4, 4, [("B", 1), ("a", 1), ("b", 1), ("ä", 1)], 1.0, 30)],
    ),
    "white space around an answer is removed, within it is kept": (
        [row("a", " yes"), row("b", "yes\n"), row("c", "\u00a0yes\u2003"), row("d", "y  s")],
        [("c", *AT_NOON, 4, 4, [("yes", 3), ("y  s", 1)], 1.0, 30)],
    ),
    "a blank answer does not count": (
        [row("a", ""), row("b", " \t\n"), row("c", "\u3000"), row("d", "?")],
        [("c", *AT_NOON, 4, 1, [("?", 1)], 0.25, 30)],
    ),
    "upper and lower case differ": (
        [row("a", "Yes"), row("b", "yes")],
        [("c", *AT_NOON, 2, 2, [("Yes", 1), ("yes", 1)], 1.0, 30)],
    ),
    "ten answers are named, all others are counted together": (
        answers(a=1, b=2, c=3, d=4, e=5, f=6, g=7, h=8, i=9, j=10, k=11, l=12),
        [
            (
                "c",
                *AT_NOON,
                78,
                78,
                [
                    ("l", 12),
                    ("k", 11),
                    ("j", 10),
                    ("i", 9),
                    ("h", 8),
                    ("g", 7),
                    ("f", 6),
                    ("e", 5),
                    ("d", 4),
                    ("c", 3),
                    ("other", 3),
                ],
                1.0,
                30,
            )
        ],
    ),
    "with ten answers there are no others": (
        answers(a=1, b=1, c=1, d=1, e=1, f=1, g=1, h=1, i=1, j=1),
        [("c", *AT_NOON, 10, 10, [(value, 1) for value in "abcdefghij"], 1.0, 30)],
    ),
    "of equally frequent answers the eleventh by text is among the others": (
        answers(k=1, a=1, b=1, c=1, d=1, e=1, f=1, g=1, h=1, i=1, j=1),
        [("c", *AT_NOON, 11, 11, [*((value, 1) for value in "abcdefghij"), ("other", 1)], 1.0, 30)],
    ),
    "clients who answered other are counted with the others, however many": (
        answers(other=5, a=1, b=2),
        [("c", *AT_NOON, 8, 8, [("b", 2), ("a", 1), ("other", 5)], 1.0, 30)],
    ),
    "the answer other takes no place among the ten": (
        answers(other=5, a=1, b=1, c=1, d=1, e=1, f=1, g=1, h=1, i=1, j=1, k=1),
        [("c", *AT_NOON, 16, 16, [*((value, 1) for value in "abcdefghij"), ("other", 6)], 1.0, 30)],
    ),
    "the first and the last notification": (
        [row("a", at=NOON), row("b", at=MIDNIGHT), row("c", at=MIDNIGHT + 86_399)],
        [("c", "1971-01-02 00:00:00", "1971-01-02 23:59:59", 3, 0, NO_ANSWERS, 0.0, -43_170)],
    ),
    "campaigns of a restaurant differ by id and creation time": (
        [
            row("a", "yes"),
            row("a", "no", campaign="d"),
            row("b", campaign="d"),
            row("a", created=NOON - 100),
        ],
        [
            ("c", *AT_NOON, 1, 0, NO_ANSWERS, 0.0, 100),
            ("c", *AT_NOON, 1, 1, [("yes", 1)], 1.0, 30),
            ("d", *AT_NOON, 2, 1, [("no", 1)], 0.5, 30),
        ],
    ),
    "one campaign is older than a long can hold": (
        [row("a", created=-(2**63)), row("b", campaign="d", created=NOON - (2**63 - 1))],
        [
            ("c", *AT_NOON, 1, 0, NO_ANSWERS, 0.0, None),
            ("d", *AT_NOON, 1, 0, NO_ANSWERS, 0.0, 9_223_372_036_854_775_807),
        ],
    ),
    "the only campaign is older than a long can hold": (
        [row("a", created=-(2**63))],
        [("c", *AT_NOON, 1, 0, NO_ANSWERS, 0.0, None)],
    ),
    "a client who occurs twice counts once": (
        [row("a", "yes"), row("a", "yes"), row("a", "no"), row("a"), row("b")],
        [("c", *AT_NOON, 2, 1, [("no", 1), ("yes", 1)], 0.5, 30)],
    ),
}
# The expected results of a restaurant: campaigns, first and last notification, clients notified and
# answered, feedback, rate, median of the seconds.
RESTAURANTS: dict[str, tuple] = {
    "some answered": (1, *AT_NOON, 4, 3, [("yes", 2), ("no", 1)], 0.75, 30.0),
    "campaigns of a restaurant differ by id and creation time": (
        3, *AT_NOON, 2, 1, [("no", 1), ("yes", 1)], 0.5, 30.0,
    ),
    "nobody answered": (1, *AT_NOON, 2, 0, NO_ANSWERS, 0.0, 30.0),
    "one campaign is older than a long can hold": (2, *AT_NOON, 2, 0, NO_ANSWERS, 0.0, 2.0**63),
    "the only campaign is older than a long can hold": (1, *AT_NOON, 1, 0, NO_ANSWERS, 0.0, None),
}  # fmt: skip


def rows_of(restaurant: str, rows: list[tuple], day: str = "1971-01-02") -> list[Row]:
    constant = ("content", "owner", "contact", 0, 2**40)
    return [
        (day, number, restaurant, campaign, *constant, created, client, at, feedback)
        for number, (campaign, created, client, at, feedback) in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def spark(spark: SparkSession) -> SparkSession:
    """A session with few partitions, as the lake's: each of Spark's 200 costs time, even empty."""
    session = spark.newSession()
    session.conf.set("spark.sql.shuffle.partitions", 2)
    return session


@pytest.fixture(scope="module")
def marts(spark: SparkSession) -> tuple[list[Row], list[Row]]:
    feedback = frame(
        spark,
        SUBSCRIBERS_FEEDBACK,
        [row for name, (rows, _) in CASES.items() for row in rows_of(name, rows)],
    ).cache()
    campaigns = campaign_results(feedback)
    restaurants = restaurant_results(feedback)
    common = [
        ("first_notification_at", "timestamp"),
        ("last_notification_at", "timestamp"),
        ("clients_notified", "bigint"),
        ("clients_answered", "bigint"),
        ("feedback", "array<struct<value:string,clients:bigint>>"),
        ("feedback_rate", "double"),
    ]
    key = [("date", "date"), ("restaurant_id", "string")]
    seconds = "seconds_to_first_notification"
    campaign = [("adv_campaign_id", "string"), ("datetime_created", "bigint")]
    assert campaigns.dtypes == [*key, *campaign, *common, (seconds, "bigint")]
    assert restaurants.dtypes == [*key, ("campaigns", "bigint"), *common, (seconds, "double")]
    return sorted_rows(campaigns), sorted_rows(restaurants)


@pytest.mark.parametrize("name", CASES)
def test_the_results_of_a_campaign_are_as_counted_by_hand(
    marts: tuple[list[Row], list[Row]], name: str
):
    assert sorted(row[2:3] + row[4:] for row in marts[0] if row[1] == name) == CASES[name][1]
    assert {row[0] for row in marts[0]} == {"1971-01-02"}


@pytest.mark.parametrize("name", RESTAURANTS)
def test_the_results_of_a_restaurant_are_as_counted_by_hand(
    marts: tuple[list[Row], list[Row]], name: str
):
    assert [row[2:] for row in marts[1] if row[1] == name] == [RESTAURANTS[name]]
    assert sorted(row[1] for row in marts[1]) == sorted(CASES)


def test_each_day_is_counted_separately(spark: SparkSession):
    """A campaign that continues after midnight has a row on each day."""
    next_day = [row("b", "no", at=MIDNIGHT + 86_400), row("c", "no", at=MIDNIGHT + 86_410)]
    rows = rows_of("r", [row("a", "yes")]) + rows_of("r", next_day, "1971-01-03")
    feedback = frame(spark, SUBSCRIBERS_FEEDBACK, rows).cache()
    campaigns = campaign_results(feedback)
    after_midnight = ("1971-01-03 00:00:00", "1971-01-03 00:00:10")
    assert sorted_rows(campaigns) == [
        ("1971-01-02", "r", "c", NOON - 30, *AT_NOON, 1, 1, [("yes", 1)], 1.0, 30),
        ("1971-01-03", "r", "c", NOON - 30, *after_midnight, 2, 2, [("no", 2)], 1.0, 43_230),
    ]
    assert sorted_rows(restaurant_results(feedback)) == [
        ("1971-01-02", "r", 1, *AT_NOON, 1, 1, [("yes", 1)], 1.0, 30.0),
        ("1971-01-03", "r", 1, *after_midnight, 2, 2, [("no", 2)], 1.0, 43_230.0),
    ]


def test_the_seconds_of_a_restaurant_are_the_median_of_its_campaigns(spark: SparkSession):
    campaigns = {"a": 10, "b": 20, "c": 100_000, "d": 40}
    rows = rows_of(
        "r",
        [row("x", campaign=name, created=NOON - seconds) for name, seconds in campaigns.items()],
    )
    feedback = frame(spark, SUBSCRIBERS_FEEDBACK, rows)
    assert [found[-1] for found in sorted_rows(restaurant_results(feedback))] == [30.0]


def test_a_notification_belongs_to_the_day_of_its_trigger_time(spark: SparkSession):
    columns = [
        name for name in SUBSCRIBERS_FEEDBACK.column_names if name != "trigger_datetime_created"
    ]
    times = [MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 86_399, MIDNIGHT + 86_400, 2**31 - 1]
    rows = spark.createDataFrame([(time,) for time in times], "trigger_datetime_created int")
    staged = staged_feedback(
        rows.selectExpr("*", *(f"null AS {name}" for name in columns), "1 AS new_column")
    )
    assert staged.columns == ["date", *SUBSCRIBERS_FEEDBACK.column_names]
    assert staged.schema["id"].dataType == SUBSCRIBERS_FEEDBACK.schema["id"].dataType
    days = [
        date(1971, 1, 1),
        date(1971, 1, 2),
        date(1971, 1, 2),
        date(1971, 1, 3),
        date(2038, 1, 19),
    ]
    assert sorted(
        (found.trigger_datetime_created, found.date) for found in staged.collect()
    ) == list(zip(times, days, strict=True))
