"""Makes the archives of class data that `jvm/class_data.py` finds: Spark's driver, local Kafka.

`make test` runs this module; nothing else needs it.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from promo_assets.jvm import class_data
from promo_assets.jvm.jars import SetupError
from promo_assets.jvm.java import JavaError
from promo_assets.local import processes
from promo_assets.local.kafka import LocalKafka

QUICK_START = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
MAKING_SECONDS = 300

# A small version of what the stream and the lake do: the classes that this loads are archived.
SPARK_SESSION = """
import sys
from pathlib import Path
from pyspark import SparkContext
from pyspark.sql import Window, functions as F
from promo_assets.settings import Settings
from promo_assets.jvm.session import open_session

home = Path(sys.argv[1])
spark = open_session(Settings(home=home, spark_master="local[2]", _env_file=None), "class data")
values = [(n, f"user {n}", float(n), "2022-05-04 10:00:00") for n in range(20)]
rows = spark.createDataFrame(values, "id long, name string, at double, text string")
rows = rows.withColumn("time", F.to_timestamp("text")).withColumn("date", F.to_date("time"))
rows.write.partitionBy("date").mode("overwrite").parquet(str(home / "rows"))
read = spark.read.schema(rows.schema).parquet(str(home / "rows")).where("date = '2022-05-04'")
ranked = read.withColumn("rank", F.row_number().over(Window.partitionBy("name").orderBy("time")))
every = F.collect_set("id").alias("every")
last = F.max_by("at", "time").alias("last")
grouped = ranked.groupBy("name").agg(F.count_distinct("id").alias("ids"), last, every)
joined = grouped.join(F.broadcast(read.select("name", "at")), "name", "left")
anti = joined.join(read.select("id"), F.col("ids") == F.col("id"), "left_anti")
anti.cache().orderBy("name").collect()
number = F.regexp_extract("name", "[0-9]+", 0)
texts = joined.select(F.to_json(F.struct("*")), F.explode("every"), number)
texts.unionAll(joined.select("name", "ids", "name")).collect()
read.select("name").mapInArrow(lambda batches: batches, "name string").toPandas()
files = spark.readStream.schema(rows.schema).parquet(str(home / "rows"))
count = lambda batch, number: batch.groupBy("name").count().collect()
query = files.writeStream.foreachBatch(count).option("checkpointLocation", str(home / "checkpoint"))
query.trigger(availableNow=True).start().awaitTermination()
process = SparkContext._gateway.proc
spark.stop()
process.stdin.close()
process.wait()  # the archive is written as the JVM ends
"""


def make_archives(say: Callable[[str], None]) -> None:
    """Make the archives that are missing and remove those that were replaced.

    An archive that cannot be made is reported; it is not an error.
    """
    makers = {"spark": _make_spark, "kafka": _make_kafka}
    for name, make in makers.items():
        file = class_data.find_archive(name)
        if file is None or file.is_file():
            continue
        say(f"archiving the classes of {name} (only once, half a minute)")
        class_data.FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="class-data-") as folder:
            fresh = class_data.FOLDER / f"{file.name}.{os.getpid()}.new"
            try:
                make(fresh, Path(folder))
                fresh.replace(file)
            except (OSError, subprocess.SubprocessError, processes.ServiceError) as error:
                say(f"cannot archive the classes of {name}, so its starts stay slower: {error}")
            finally:
                fresh.unlink(missing_ok=True)
        for old in class_data.FOLDER.glob(f"{name}-*.jsa"):
            if old != file:
                old.unlink(missing_ok=True)


def _make_spark(file: Path, folder: Path) -> None:
    options = " ".join(_record(file))
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PROMO_", "SPARK_", "JAVA_TOOL", "JDK_JAVA"))
    }
    _run([sys.executable, "-c", SPARK_SESSION, str(folder)], env | {"SPARK_SUBMIT_OPTS": options})


def _make_kafka(file: Path, folder: Path) -> None:
    class RecordedKafka(LocalKafka):
        def _java(self) -> list[str]:
            java, *others = super()._java()
            return [java, *_record(file), *others]

    kafka = RecordedKafka(folder)
    port = processes.free_port()
    kafka.start(port)
    try:
        kafka.wait(port)
    finally:
        processes.stop(kafka.record, seconds=MAKING_SECONDS)


def _record(file: Path) -> list[str]:
    return [*QUICK_START, f"-XX:ArchiveClassesAtExit={file}", *class_data.SILENT]


def _run(command: list[str], env: dict[str, str]) -> None:
    subprocess.run(
        command,
        env=env,
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=MAKING_SECONDS,
    )


if __name__ == "__main__":
    try:
        make_archives(lambda line: print(f"setup: {line}", file=sys.stderr, flush=True))
    except (SetupError, JavaError) as error:
        sys.exit(f"setup: {error}")
