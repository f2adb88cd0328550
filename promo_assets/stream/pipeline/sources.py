"""Edge: what the stream reads: campaign messages from Kafka, followers from Postgres."""

import json

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from promo_assets.jvm.hadoop import open_file_system
from promo_assets.jvm.jdbc import jdbc_source
from promo_assets.settings import Settings
from promo_assets.stream.offsets import Offsets, parse_offsets

# A backlog is ingested in micro-batches of at most this many messages.
MESSAGES_PER_BATCH = 10_000
# The reader notices within this time that a server has vanished with its machine. The dispatch is
# then repeated.
SOCKET_TIMEOUT_S = 60
# Whatever the planner thinks of the table's size, followers are looked up in the index for each
# restaurant. All favourites are never scanned.
_INDEX_ONLY = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"


def read_messages(
    spark: SparkSession, settings: Settings, start_at: Offsets | None = None
) -> DataFrame:
    """Read the input topic as a stream.

    Columns: key, value, partition, offset, source_at (unix ms), triggered_at (unix s, the trigger
    time of the micro-batch, which Spark logs). A new checkpoint begins at the earliest offsets, or
    at `start_at`, which has all partitions.
    """
    topic = settings.topic_in
    options = {
        "subscribe": topic,
        "startingOffsets": json.dumps({topic: start_at}) if start_at else "earliest",
        "maxOffsetsPerTrigger": str(MESSAGES_PER_BATCH),
        # The checkpoint belongs to this very topic (by its id), so offsets can only be missing
        # because of the topic's retention.
        "failOnDataLoss": "false",
        "kafka.isolation.level": "read_committed",
        # Otherwise the cached consumer waits for the 500 ms of its own fetch.
        "kafka.fetch.max.wait.ms": "20",
    }
    reader = spark.readStream.format("kafka").options(**options, **_make_java_options(settings))
    return reader.load().select(
        "key",
        "value",
        "partition",
        "offset",
        F.unix_millis("timestamp").alias("source_at"),
        F.unix_seconds(F.current_timestamp()).alias("triggered_at"),
    )


def read_end_offsets(query: StreamingQuery, topic: str) -> Offsets | None:
    """Return where the query's finished micro-batches have read the topic to, None if unknown."""
    progress = query.lastProgress
    if not progress or not progress.sources or not progress.sources[0].endOffset:
        return None
    return parse_offsets(json.loads(progress.sources[0].endOffset)[topic])


def remove_checkpoint(spark: SparkSession, folder: str) -> None:
    """Delete a local folder or a Hadoop URI if it exists."""
    system, path, _ = open_file_system(spark, folder)
    system.delete(path(folder), True)


def read_followers(spark: SparkSession, settings: Settings, shards: int) -> DataFrame:
    """Read the followers of the open dispatch's restaurants, in one partition per shard.

    Columns: restaurant_id, client_id, each pair once. The frame is lazy: each action queries
    Postgres again.
    """
    url, properties = jdbc_source(settings.database_url)
    properties |= {
        "sessionInitStatement": _INDEX_ONLY,
        "ApplicationName": "promo stream, reader",
        "socketTimeout": str(SOCKET_TIMEOUT_S),
    }
    predicates = [
        f"(hashtext(client_id) & 2147483647) % {shards:d} = {shard:d}" for shard in range(shards)
    ]
    return spark.read.jdbc(
        url, "promo_ledger.open_dispatch_followers", predicates=predicates, properties=properties
    )


def _make_java_options(settings: Settings) -> dict[str, str]:
    """Return the Kafka client's settings under the Java client's names."""
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
        password = settings.kafka_password.get_secret_value()
        plain = settings.kafka_sasl_mechanism == "PLAIN"
        module = "plain.PlainLoginModule" if plain else "scram.ScramLoginModule"
        options |= {
            "kafka.sasl.mechanism": settings.kafka_sasl_mechanism,
            "kafka.sasl.jaas.config": (
                f"org.apache.kafka.common.security.{module} required "
                f"username={_quote(settings.kafka_username or '')} password={_quote(password)};"
            ),
        }
    return options


def _quote(value: str) -> str:
    """Return a string as JAAS configurations write it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
