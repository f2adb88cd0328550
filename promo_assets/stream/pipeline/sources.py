"""Edge: what the stream reads: campaign messages from Kafka, followers from Postgres."""

import json
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_assets.jvm.jdbc import jdbc_source
from promo_assets.settings import Settings

# A backlog is ingested micro-batches of at most this many messages.
MESSAGES_PER_BATCH = 10_000
SOCKET_TIMEOUT_S = 60
# Index lookups per restaurant, whatever the planner thinks of the table's size: never a scan of all favourites.
_INDEX_ONLY = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"


def read_messages(
    spark: SparkSession, settings: Settings, start_at: dict[int, int] | None = None
) -> DataFrame:
    """The input topic as a stream: key, value, partition, offset, source_at (ms), triggered_at (s, logged by Spark per batch).

    A new checkpoint begins at the earliest offsets, or at `start_at` (offset by partition, all of them).
    """
    reader = spark.readStream.format(
        "kafka"
    ).options(
        **{
            "subscribe": settings.topic_in,
            "startingOffsets": json.dumps({settings.topic_in: start_at})
            if start_at
            else "earliest",
            "maxOffsetsPerTrigger": str(MESSAGES_PER_BATCH),
            # The checkpoint belongs to this very topic (by its id), so offsets can only be missing where retention took them.
            "failOnDataLoss": "false",
            "kafka.isolation.level": "read_committed",
            "kafka.fetch.max.wait.ms": "20",  # else the cached consumer waits out its own 500 ms fetch
        },
        **_jvm_kafka(settings),
    )
    return reader.load().select(
        "key",
        "value",
        "partition",
        "offset",
        F.unix_millis("timestamp").alias("source_at"),
        F.unix_seconds(F.current_timestamp()).alias("triggered_at"),
    )


def remove_checkpoint(spark: SparkSession, folder: str) -> None:
    """A local folder or a Hadoop URI, gone whether it was there or not."""
    jvm: Any = spark._jvm
    conf: Any = spark._jsc.hadoopConfiguration()  # pyright: ignore[reportOptionalMemberAccess, reportOptionalCall]
    path = jvm.org.apache.hadoop.fs.Path(folder)
    path.getFileSystem(conf).delete(path, True)


def read_followers(spark: SparkSession, settings: Settings, shards: int) -> DataFrame:
    """(restaurant_id, client_id), once each, of the open dispatch's restaurants; one partition a shard. Lazy: each action asks anew."""
    url, properties = jdbc_source(settings.database_url)
    properties |= {
        "sessionInitStatement": _INDEX_ONLY,
        "ApplicationName": "promo stream, reader",
        "socketTimeout": str(
            SOCKET_TIMEOUT_S
        ),  # a server that vanished with its machine is noticed, and the dispatch begun again
    }
    predicates = [
        f"(hashtext(client_id) & 2147483647) % {shards:d} = {shard:d}" for shard in range(shards)
    ]
    return spark.read.jdbc(
        url, "promo_ledger.open_dispatch_followers", predicates=predicates, properties=properties
    )


def _jvm_kafka(settings: Settings) -> dict[str, str]:
    """The Kafka client's settings under the Java client's names."""
    options = {
        "kafka.bootstrap.servers": settings.bootstrap_servers,
        "kafka.security.protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_ca_file:
        options |= {
            "kafka.ssl.truststore.type": "PEM",
            "kafka.ssl.truststore.certificates": settings.kafka_ca_pem,
        }
    if settings.kafka_password and settings.kafka_sasl_mechanism:
        module = (
            "plain.PlainLoginModule"
            if settings.kafka_sasl_mechanism == "PLAIN"
            else "scram.ScramLoginModule"
        )
        login = {
            "username": settings.kafka_username or "",
            "password": settings.kafka_password.get_secret_value(),
        }
        quoted = " ".join(
            '{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"'))
            for name, value in login.items()
        )
        options["kafka.sasl.mechanism"] = settings.kafka_sasl_mechanism
        options["kafka.sasl.jaas.config"] = (
            f"org.apache.kafka.common.security.{module} required {quoted};"
        )
    return options
