"""The HDFS of the tests: it is real, listens on loopback only and leaves nothing behind."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession
from pyspark.testing import assertDataFrameEqual

from promo_assets.local import processes
from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.support.lake.hdfs import Hdfs
from promo_assets_tests.support.stream_process import wait_for

VISITS = "client string, seconds int, city string"

# Starts an HDFS and runs until it is killed.
OWNER = """
import sys
from pathlib import Path
from promo_assets_tests.support.lake.hdfs import Hdfs
hdfs = Hdfs(Path(sys.argv[1]))
hdfs.start()
print("started", flush=True)
sys.stdin.read()
"""


def rename(spark: SparkSession, source: str, target: str) -> None:
    """Rename a folder. Raises Java's exception if the target exists.

    `FileSystem.rename` would move the source into the target instead.
    """
    hadoop, gateway, configuration = jvm_of(spark)
    files = hadoop.FileContext.getFileContext(hadoop.Path(source).toUri(), configuration)
    no_options = gateway.new_array(hadoop.Options.Rename, 0)
    files.rename(hadoop.Path(source), hadoop.Path(target), no_options)


def names_in(spark: SparkSession, folder: str) -> set[str]:
    hadoop, _, configuration = jvm_of(spark)
    path = hadoop.Path(folder)
    return {
        status.getPath().getName() for status in path.getFileSystem(configuration).listStatus(path)
    }


def jvm_of(spark: SparkSession) -> tuple[Any, Any, Any]:
    """Return Hadoop's package `fs`, py4j's gateway and Spark's configuration of Hadoop."""
    context: Any = spark.sparkContext
    return context._jvm.org.apache.hadoop.fs, context._gateway, context._jsc.hadoopConfiguration()


@pytest.fixture(params=[pytest.param("hdfs", marks=pytest.mark.slow), "file"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that only this test uses, on HDFS and on the local file system."""
    if request.param == "hdfs":
        return f"{request.getfixturevalue('hdfs').uri}{tmp_path}"
    return tmp_path.as_uri()


def test_a_partitioned_table_is_read_as_it_was_written(spark: SparkSession, root: str):
    rows = [("ann", 5, "Perth"), ("ann", 7, "Sydney"), ("bob", 5, "Perth")]
    spark.createDataFrame(rows, VISITS).write.partitionBy("city").parquet(f"{root}/visits")
    assert names_in(spark, f"{root}/visits") == {"_SUCCESS", "city=Perth", "city=Sydney"}
    in_perth = spark.read.parquet(f"{root}/visits").where("city = 'Perth'")
    assertDataFrameEqual(
        in_perth, spark.createDataFrame([("ann", 5, "Perth"), ("bob", 5, "Perth")], VISITS)
    )


def test_a_folder_is_renamed_as_a_whole_and_never_onto_an_existing_one(
    spark: SparkSession, root: str
):
    for folder in ("fresh", "fresher"):
        spark.createDataFrame([(folder,)], "name string").write.parquet(f"{root}/{folder}")
    rename(spark, f"{root}/fresh", f"{root}/table")
    with pytest.raises(Py4JJavaError, match="FileAlreadyExistsException"):
        rename(spark, f"{root}/fresher", f"{root}/table")
    assert names_in(spark, root) == {"table", "fresher"}
    assert [row.name for row in spark.read.parquet(f"{root}/table").collect()] == ["fresh"]


def test_a_folder_is_not_renamed_into_a_missing_one(spark: SparkSession, root: str):
    spark.createDataFrame([(1,)], "number int").write.parquet(f"{root}/fresh")
    with pytest.raises(Py4JJavaError, match="FileNotFoundException"):
        rename(spark, f"{root}/fresh", f"{root}/missing/table")
    assert names_in(spark, root) == {"fresh"}


def test_hdfs_listens_on_loopback_only(hdfs: Hdfs):
    nodes = [found[0] for record in hdfs.records.values() if (found := processes.running(record))]
    listening = [
        {at.laddr.ip for at in node.net_connections("inet") if at.status == psutil.CONN_LISTEN}
        for node in nodes
    ]
    assert len(listening) == 2
    assert all(
        addresses and addresses <= {"127.0.0.1", "::ffff:127.0.0.1"} for addresses in listening
    )


@pytest.mark.slow
def test_a_node_that_ends_while_starting_is_reported_with_the_end_of_its_log(tmp_path: Path):
    (tmp_path / "name").mkdir()  # the folder exists, so it is not formatted
    hdfs = Hdfs(tmp_path)
    with (
        pytest.raises(
            processes.ServiceError,
            match=r"the NameNode .* ended while starting, see .*NameNode is not formatted",
        ),
        hdfs,
    ):
        pass
    assert not any(processes.running(record) for record in hdfs.records.values())


@pytest.mark.slow
def test_hdfs_ends_with_its_owner_even_if_the_owner_is_killed(tmp_path: Path):
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"started\n"
        nodes = [
            found[0]
            for record in Hdfs(tmp_path).records.values()
            if (found := processes.running(record))
        ]
        assert len(nodes) == 2
        owner.kill()
    wait_for(lambda: not any(processes.alive(node) for node in nodes), "the end of both nodes")
