"""Hadoop's file system, which serves local folders and HDFS alike, reached through Spark's JVM."""

from typing import Any, NamedTuple

from pyspark.sql import SparkSession


class FileSystem(NamedTuple):
    """Java objects: the file system of a URI, and what its calls need as arguments.

    Each lookup of a Java class costs round trips to the JVM, so keep these instead of repeating it.
    """

    system: Any  # org.apache.hadoop.fs.FileSystem
    path: Any  # the class org.apache.hadoop.fs.Path, which makes a path of a URI
    configuration: Any  # org.apache.hadoop.conf.Configuration


def open_file_system(spark: SparkSession, uri: str) -> FileSystem:
    """Return the file system of a URI. Raises `Py4JJavaError` if it cannot be reached."""
    jvm: Any = spark._jvm
    configuration: Any = spark._jsc.hadoopConfiguration()  # pyright: ignore[reportOptionalMemberAccess, reportOptionalCall]
    path = jvm.org.apache.hadoop.fs.Path
    return FileSystem(path(uri).getFileSystem(configuration), path, configuration)
