"""STG `subscribers_feedback`, and the marts `campaign_results` and `restaurant_results`.

The marts show day by day how many clients were notified and what they answered.
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from promo_assets.lake.tables import (
    CAMPAIGN_RESULTS,
    OTHER,
    RESTAURANT_RESULTS,
    SUBSCRIBERS_FEEDBACK,
    VALUES_COUNTED,
)

CAMPAIGN = ("date", *CAMPAIGN_RESULTS.key)
RESTAURANT = ("date", *RESTAURANT_RESULTS.key)
SECONDS_PER_DAY = 86_400


def staged_feedback(rows: DataFrame) -> DataFrame:
    """Return the table `subscribers_feedback` of STG with `date`, from the table in Postgres."""
    days = F.floor(F.col("trigger_datetime_created") / SECONDS_PER_DAY).cast("int")
    columns = (F.col(field.name).cast(field.dataType) for field in SUBSCRIBERS_FEEDBACK.schema)
    return rows.select(F.date_from_unix_date(days).alias("date"), *columns)


def campaign_results(feedback: DataFrame) -> DataFrame:
    """Return the table `campaign_results` with `date`, from the table `subscribers_feedback`."""
    delay = _delay_s(F.unix_seconds("first_notification_at")).alias("seconds_to_first_notification")
    results = _count_answers(feedback, CAMPAIGN).select("*", delay)
    return results.select("date", *CAMPAIGN_RESULTS.column_names)


def restaurant_results(feedback: DataFrame) -> DataFrame:
    """Return the table `restaurant_results` with `date`, from the table `subscribers_feedback`.

    It is not computed from `campaign_results`, which may show an older state of the feedback.
    """
    first = F.min("trigger_datetime_created").alias("first")
    campaigns = feedback.groupBy(*CAMPAIGN).agg(first)
    campaign_counts = campaigns.groupBy(*RESTAURANT).agg(
        F.count("*").alias("campaigns"),
        F.median(_delay_s(F.col("first"))).alias("seconds_to_first_notification"),
    )
    answers = _count_answers(feedback, RESTAURANT)
    results = answers.join(campaign_counts, on=list(RESTAURANT), how="inner")
    return results.select("date", *RESTAURANT_RESULTS.column_names)


def _delay_s(first_notification_s: Column) -> Column:
    """Return the seconds from a campaign's creation to its first notification.

    It is null if the difference does not fit into a long: `datetime_created` may be any long.
    """
    return F.try_subtract(first_notification_s.cast("long"), F.col("datetime_created"))


def _count_answers(feedback: DataFrame, key: Sequence[str]) -> DataFrame:
    """Return the columns that campaigns and restaurants have in common, a row per key.

    A client counts once, with each of the client's different answers.
    """
    clients = feedback.groupBy(*key, "client_id").agg(
        F.min("trigger_datetime_created").alias("first"),
        F.max("trigger_datetime_created").alias("last"),
        F.collect_set(_trim_answer(F.col("feedback"))).alias("answers"),  # few: of one client
    )
    totals = clients.groupBy(*key).agg(
        F.timestamp_seconds(F.min("first")).alias("first_notification_at"),
        F.timestamp_seconds(F.max("last")).alias("last_notification_at"),
        F.count("*").alias("clients_notified"),
        F.count_if(F.size("answers") > 0).alias("clients_answered"),
    )
    answers = clients.select(*key, F.explode("answers").alias("value"))
    no_answers = F.array().cast(CAMPAIGN_RESULTS.schema["feedback"].dataType)
    rate = F.col("clients_answered") / F.col("clients_notified")
    results = totals.join(_most_frequent(answers, key), on=list(key), how="left")
    return results.select(
        *totals.columns,
        F.coalesce("feedback", no_answers).alias("feedback"),
        rate.alias("feedback_rate"),
    )


def _trim_answer(feedback: Column) -> Column:
    """Return the answer without white space (of any alphabet) around it; null if it is blank."""
    trimmed = F.regexp_replace(feedback, r"(?U)^\s+|\s+$", "")
    return F.when(trimmed != "", trimmed)


def _most_frequent(answers: DataFrame, key: Sequence[str]) -> DataFrame:
    """Return `feedback`, a row per key: the most frequent answers with their counts, then the rest.

    `answers` has a row per client and different answer, with the answer as `value`.
    """
    counts = answers.groupBy(*key, "value").agg(F.count("*").alias("clients"))
    # A client who answered "other" is counted with the others and takes no place among the answers.
    is_other = F.col("value") == OTHER
    by_frequency = Window.partitionBy(*key).orderBy(is_other, F.col("clients").desc(), "value")
    is_named = (F.col("place") <= VALUES_COUNTED) & (F.col("value") != OTHER)
    places = counts.withColumn("place", F.row_number().over(by_frequency)).select(
        *key,
        F.when(is_named, F.col("place")).otherwise(VALUES_COUNTED + 1).alias("place"),
        F.when(is_named, F.col("value")).otherwise(OTHER).alias("value"),
        "clients",
    )
    folded = places.groupBy(*key, "place", "value").agg(F.sum("clients").alias("clients"))
    in_order = F.sort_array(F.collect_list(F.struct("place", "value", "clients")))
    feedback = F.transform(in_order, _drop_place).alias("feedback")
    return folded.groupBy(*key).agg(feedback)


def _drop_place(answer: Column) -> Column:
    return F.struct(answer["value"].alias("value"), answer["clients"].alias("clients"))
