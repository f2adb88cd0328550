"""STG `subscribers_feedback`, and the marts `campaign_results` and `restaurant_results`: what came of the campaigns, day by day."""

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


def staged_feedback(rows: DataFrame) -> DataFrame:
    """Table `subscribers_feedback`, and `date`, from the table in Postgres."""
    day = F.date_from_unix_date(F.floor(F.col("trigger_datetime_created") / 86_400).cast("int"))
    schema = SUBSCRIBERS_FEEDBACK.schema
    return rows.select(
        day.alias("date"), *(F.col(field.name).cast(field.dataType) for field in schema)
    )


def campaign_results(feedback: DataFrame) -> DataFrame:
    """Table `campaign_results`, and `date`, from table `subscribers_feedback`."""
    seconds = _seconds(F.unix_seconds("first_notification_at")).alias(
        "seconds_to_first_notification"
    )
    return (
        _results(feedback, CAMPAIGN)
        .select("*", seconds)
        .select("date", *CAMPAIGN_RESULTS.column_names)
    )


def restaurant_results(feedback: DataFrame) -> DataFrame:
    """Table `restaurant_results`, and `date`, from table `subscribers_feedback`: the other mart may be of an older state of it."""
    campaigns = feedback.groupBy(*CAMPAIGN).agg(F.min("trigger_datetime_created").alias("first"))
    check_notifications_counted = campaigns.groupBy(*RESTAURANT).agg(
        F.count("*").alias("campaigns"),
        F.median(_seconds(F.col("first"))).alias("seconds_to_first_notification"),
    )
    return (
        _results(feedback, RESTAURANT)
        .join(check_notifications_counted, on=list(RESTAURANT), how="inner")
        .select("date", *RESTAURANT_RESULTS.column_names)
    )


def _seconds(first: Column) -> Column:
    """To a campaign's first notification. A campaign may say of itself that it is older than a long can tell: null."""
    return F.try_subtract(first.cast("long"), F.col("datetime_created"))


def _results(feedback: DataFrame, key: Sequence[str]) -> DataFrame:
    """What is told alike of campaigns and restaurants. A client counts once, with each of its different answers."""
    clients = feedback.groupBy(*key, "client_id").agg(
        F.min("trigger_datetime_created").alias("first"),
        F.max("trigger_datetime_created").alias("last"),
        F.collect_set(_answer(F.col("feedback"))).alias("answers"),  # of one client: few
    )
    totals = clients.groupBy(*key).agg(
        F.timestamp_seconds(F.min("first")).alias("first_notification_at"),
        F.timestamp_seconds(F.max("last")).alias("last_notification_at"),
        F.count("*").alias("clients_notified"),
        F.count_if(F.size("answers") > 0).alias("clients_answered"),
    )
    answers = clients.select(*key, F.explode("answers").alias("value"))
    return totals.join(_most_frequent(answers, key), on=list(key), how="left").select(
        *totals.columns,
        F.coalesce("feedback", F.array().cast(CAMPAIGN_RESULTS.schema["feedback"].dataType)).alias(
            "feedback"
        ),
        (F.col("clients_answered") / F.col("clients_notified")).alias("feedback_rate"),
    )


def _answer(feedback: Column) -> Column:
    """Null where there is none. Without the white space around it, of any alphabet."""
    trimmed = F.regexp_replace(feedback, r"(?U)^\s+|\s+$", "")
    return F.when(trimmed != "", trimmed)


def _most_frequent(answers: DataFrame, key: Sequence[str]) -> DataFrame:
    """`feedback` by key: the most frequent values of `value` and how many gave them, then the others together."""
    counts = answers.groupBy(*key, "value").agg(F.count("*").alias("clients"))
    # Whoever wrote "other" is one of the others: it takes no place among the values.
    by_number = Window.partitionBy(*key).orderBy(
        F.col("value") == OTHER, F.col("clients").desc(), "value"
    )
    named = (F.col("place") <= VALUES_COUNTED) & (F.col("value") != OTHER)
    places = counts.withColumn("place", F.row_number().over(by_number)).select(
        *key,
        F.when(named, F.col("place")).otherwise(VALUES_COUNTED + 1).alias("place"),
        F.when(named, F.col("value")).otherwise(OTHER).alias("value"),
        "clients",
    )
    folded = places.groupBy(*key, "place", "value").agg(F.sum("clients").alias("clients"))
    in_order = F.sort_array(F.collect_list(F.struct("place", "value", "clients")))
    listed = F.transform(
        in_order,
        lambda answer: F.struct(answer["value"].alias("value"), answer["clients"].alias("clients")),
    )
    return folded.groupBy(*key).agg(listed.alias("feedback"))
