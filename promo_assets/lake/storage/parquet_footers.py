"""Footers of parquet files: the number of rows, the columns and the schema of a file."""

import json
from collections.abc import Callable
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from promo_assets.jvm.hadoop import FileSystem
from promo_assets.lake.storage.files import translate_errors

SPARK_SCHEMA_KEY = "org.apache.spark.sql.parquet.row.metadata"


class ParquetFooters:
    """Reads footers of parquet files. All methods raise `LakeError` if a file cannot be read."""

    def __init__(self, spark: SparkSession, hadoop: FileSystem):
        # Looked up once: each lookup of a Java class costs round trips to the JVM.
        jvm: Any = spark._jvm
        self._input_file: Any = jvm.org.apache.parquet.hadoop.util.HadoopInputFile
        self._reader: Any = jvm.org.apache.parquet.hadoop.ParquetFileReader
        self._hadoop = hadoop

    def count_rows(self, name: str) -> int:
        return self._read(name, lambda reader: reader.getRecordCount())

    def read_column_names(self, name: str) -> list[str]:
        return self._read(
            name,
            lambda reader: [
                field.getName() for field in reader.getFileMetaData().getSchema().getFields()
            ],
        )

    def read_schema(self, name: str) -> StructType:
        """Return the schema of a file that Spark wrote, as Spark stored it in the footer."""
        metadata = self._read(
            name,
            lambda reader: reader.getFileMetaData().getKeyValueMetaData().get(SPARK_SCHEMA_KEY),
        )
        return StructType.fromJson(json.loads(metadata))

    def _read(self, name: str, extract: Callable[[Any], Any]) -> Any:
        with translate_errors(name):
            path = self._hadoop.path(name)
            file = self._input_file.fromPath(path, self._hadoop.configuration)
            reader = self._reader.open(file)
            try:
                return extract(reader)
            finally:
                reader.close()
