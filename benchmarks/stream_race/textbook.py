"""The contestant *textbook*: the Spark job that tutorials show.

Each batch reads the whole favourites table over JDBC, appends to Postgres over JDBC, and writes to
Kafka with Spark's sink.
"""

import psycopg
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_assets.jvm.session import open_session
from promo_assets.settings import Settings
from promo_assets.stream.messages import FIELDS
from stream_race.load import COLUMNS
from stream_race.process import create_feedback_table, print_delivered

SCHEMA = ", ".join(f"{name} {'long' if name in FIELDS[5:] else 'string'}" for name in FIELDS)


def run_textbook(settings: Settings) -> None:
    create_feedback_table(settings, "textbook")
    spark = open_session(settings, "textbook")
    job = Textbook(spark, settings)
    writer = read_campaigns(spark, settings).writeStream.foreachBatch(job.deliver)
    writer = writer.option("checkpointLocation", str(settings.home / "textbook-checkpoint"))
    writer.trigger(processingTime="100 milliseconds").start().awaitTermination()


def read_campaigns(spark: SparkSession, settings: Settings) -> DataFrame:
    source = {
        "kafka.bootstrap.servers": settings.bootstrap_servers,
        "subscribe": settings.topic_in,
        "startingOffsets": "earliest",
    }
    messages = spark.readStream.format("kafka").options(**source).load()
    campaign = F.from_json(F.col("value").cast("string"), SCHEMA).alias("campaign")
    now = F.unix_timestamp(F.current_timestamp())
    started = F.col("adv_campaign_datetime_start") <= now
    not_ended = now < F.col("adv_campaign_datetime_end")
    return (
        messages.select(campaign)
        .select("campaign.*")
        .where(started & not_ended)
        .withColumn("trigger_datetime_created", now.cast("int"))
    )


class Textbook:
    def __init__(self, spark: SparkSession, settings: Settings):
        self._spark = spark
        self._delivered = 0
        self._kafka = {
            "kafka.bootstrap.servers": settings.bootstrap_servers,
            "topic": settings.topic_out,
        }
        parts = psycopg.conninfo.conninfo_to_dict(settings.database_url)
        self._jdbc = {
            "url": f"jdbc:postgresql://{parts['host']}:{parts['port']}/{parts['dbname']}",
            "user": parts["user"],
            "password": parts["password"],
            "driver": "org.postgresql.Driver",
        }

    def deliver(self, batch: DataFrame, _: int) -> None:
        favourites = (
            self._spark.read.format("jdbc")
            .options(**self._jdbc, dbtable="subscribers_restaurants")
            .load()
            .select("restaurant_id", "client_id")
            .distinct()
        )
        pairs = batch.join(favourites, "restaurant_id").select(*COLUMNS)
        pairs.persist()
        rows = pairs.withColumn("feedback", F.lit(None).cast("string")).write.format("jdbc")
        rows.options(**self._jdbc, dbtable="textbook_feedback").mode("append").save()
        messages = pairs.select(F.to_json(F.struct(*COLUMNS)).alias("value"))
        messages.write.format("kafka").options(**self._kafka).save()
        self._delivered += pairs.count()
        pairs.unpersist()
        print_delivered(self._delivered)
