"""Files of the lake, on local folders and HDFS alike, through Hadoop's file system: list, measure, replace as a whole."""

import contextlib
import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from promo_assets.lake.storage import scratch

PUBLISH_ATTEMPTS = 10


class LakeError(Exception):
    """A part of the lake is missing or cannot be read; the message is one line that says which."""


class Files:
    """The files below a root, a Hadoop URI or a local folder. Names are whole URIs. Errors come as `LakeError`."""

    def __init__(self, spark: SparkSession, root: str):
        self.root = root.rstrip("/") if urlsplit(root).scheme else Path(root).absolute().as_uri()
        jvm: Any = spark._jvm
        self._path: Any = (
            jvm.org.apache.hadoop.fs.Path
        )  # looked up once: each look costs round trips to the JVM
        self._parquet_file: Any = jvm.org.apache.parquet.hadoop.util.HadoopInputFile
        self._parquet_reader: Any = jvm.org.apache.parquet.hadoop.ParquetFileReader
        self._io: Any = jvm.org.apache.commons.io.IOUtils
        self._conf: Any = spark._jsc.hadoopConfiguration()  # pyright: ignore[reportOptionalMemberAccess, reportOptionalCall]
        with lake_errors(f"the lake at {self.root} cannot be reached"):
            root_path = self._path(f"{self.root}/")
            self._system = root_path.getFileSystem(self._conf)
            self._is_local = urlsplit(self.root).scheme == "file"
            if self._is_local:
                # Its `.crc` files would make a file unreadable that somebody changes with another program, geo.csv in an editor say.
                self._system.setWriteChecksum(False)
                self._system.setVerifyChecksum(False)
            else:
                # Unlike the system's own, its rename fails where the new name exists, instead of moving into it.
                self._context = jvm.org.apache.hadoop.fs.FileContext.getFileContext(
                    root_path.toUri(), self._conf
                )
                gateway: Any = spark.sparkContext._gateway
                self._no_options = gateway.new_array(jvm.org.apache.hadoop.fs.Options.Rename, 0)
            self._system.exists(root_path)

    def exists(self, name: str) -> bool:
        with lake_errors(name):
            return self._system.exists(self._path(name))

    def entries(self, folder: str) -> list[tuple[str, float]]:
        """Last part of the name, and modification time (unix seconds), of what lies in a folder; nothing where it is missing."""
        path = self._path(folder)
        with lake_errors(folder):
            statuses = self._system.listStatus(path) if self._system.exists(path) else []
            return [
                (status.getPath().getName(), status.getModificationTime() / 1000)
                for status in statuses
            ]

    def data_files(self, folder: str) -> list[tuple[str, int, int]]:
        """Name, bytes and modification time (unix ms) of each file at any depth, in order, as Spark sees them: without . or _ in front.

        Not by `listFiles`: on a local file system that starts a process per file, to ask for its owner.
        """
        found, folders = [], [self._path(folder)]
        with lake_errors(folder):
            while folders:
                path = folders.pop()
                for status in self._system.listStatus(path) if self._system.exists(path) else []:
                    if status.getPath().getName().startswith((".", "_")):
                        continue
                    if status.isDirectory():
                        folders.append(status.getPath())
                    else:
                        found.append(
                            (
                                status.getPath().toString(),
                                status.getLen(),
                                status.getModificationTime(),
                            )
                        )
        return sorted(found)

    def rows(self, name: str) -> int:
        """Rows of a parquet file, as its footer tells."""
        return self._footer(name, lambda reader: reader.getRecordCount())

    def columns(self, name: str) -> list[str]:
        """Columns of a parquet file, as its footer names them."""
        return self._footer(
            name,
            lambda reader: [
                field.getName() for field in reader.getFileMetaData().getSchema().getFields()
            ],
        )

    def schema(self, name: str) -> StructType:
        """Of a parquet file that Spark wrote: it leaves its own schema in the footer."""

        def look(reader: Any) -> str:
            return (
                reader.getFileMetaData()
                .getKeyValueMetaData()
                .get("org.apache.spark.sql.parquet.row.metadata")
            )

        return StructType.fromJson(json.loads(self._footer(name, look)))

    def read_bytes(self, name: str) -> bytes | None:
        """None where there is no such file."""
        path = self._path(name)
        with lake_errors(name):
            if not self._system.exists(path):
                return None
            stream = self._system.open(path)
            try:
                return bytes(self._io.toByteArray(stream))
            finally:
                stream.close()

    def write_bytes(self, content: bytes, name: str) -> None:
        with lake_errors(name):
            stream = self._system.create(self._path(name))
            try:
                stream.write(content)
            finally:
                stream.close()

    def make_folder(self, name: str) -> None:
        with lake_errors(name):
            self._system.mkdirs(self._path(name))

    @contextlib.contextmanager
    def scratch_folder(self, place: str, purpose: str) -> Iterator[str]:
        """A new folder in `place` to write to, gone in the end. What killed processes left in `place` is removed first."""
        for name, changed_at in self.entries(place):
            if scratch.is_abandoned(name, changed_at):
                self._delete(f"{place}/{name}")
        folder = f"{place}/{scratch.new_name()}~{purpose}"
        self.make_folder(folder)
        try:
            yield folder
        finally:
            self._delete(folder)
            with contextlib.suppress(LakeError):  # others may write there, too
                self._delete(place, recursive=False)

    def replace(self, name: str, new: str, old: str) -> None:
        """Renames `new` to `name`; what is there, whoever put it there meanwhile, goes to `old` first."""
        with lake_errors(name):
            self._system.mkdirs(self._path(name).getParent())
            for attempt in range(PUBLISH_ATTEMPTS):
                try:
                    self._rename(new, name)
                    return
                except FileExistsError:
                    with contextlib.suppress(FileNotFoundError):  # another writer was faster
                        self._rename(name, f"{old}-{attempt}")
        raise LakeError(f"{name} is being replaced by others again and again")

    def _rename(self, name: str, new_name: str) -> None:
        """At once or not at all. Raises `FileExistsError` where the new name is a folder with something in it, `FileNotFoundError`
        where there is nothing to rename."""
        if (
            self._is_local
        ):  # Hadoop's own looks first and then renames, and starts four processes to look
            try:
                os.rename(_local(name), _local(new_name))
            except OSError as error:
                if error.errno == errno.ENOTEMPTY:
                    raise FileExistsError(new_name) from None
                raise
            return
        try:
            self._context.rename(self._path(name), self._path(new_name), self._no_options)
        except Py4JJavaError as error:
            if _is(error, "FileAlreadyExistsException"):
                raise FileExistsError(new_name) from None
            if _is(error, "FileNotFoundException"):
                raise FileNotFoundError(name) from None
            raise

    def _delete(self, name: str, recursive: bool = True) -> None:
        with lake_errors(name):
            self._system.delete(self._path(name), recursive)

    def _footer(self, name: str, look: Callable[[Any], Any]) -> Any:
        with lake_errors(name):
            reader = self._parquet_reader.open(
                self._parquet_file.fromPath(self._path(name), self._conf)
            )
            try:
                return look(reader)
            finally:
                reader.close()


@contextlib.contextmanager
def lake_errors(what: str) -> Iterator[None]:
    """An error of Spark, Hadoop or the file system becomes a `LakeError`, in one line that begins with what was wanted."""
    try:
        yield
    except OSError as error:
        raise LakeError(f"{what}: {error.strerror or error}") from None
    except (Py4JJavaError, PySparkException) as error:
        raise LakeError(f"{what}: {_reason(error)}") from None


def _reason(error: Py4JJavaError | PySparkException) -> str:
    """What the outermost error says, and the innermost where that one only names a file."""
    thrown = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    if thrown is None:
        return _plain(str(error))
    innermost = thrown
    while innermost.getCause() is not None:
        innermost = innermost.getCause()
    message = thrown.getMessage() or thrown.toString()
    if thrown.equals(innermost) or message.startswith(
        "[FAILED_READ_FILE.PARQUET_COLUMN_DATA_TYPE_MISMATCH]"
    ):
        return _plain(message)
    return f"{_plain(message)}: {_plain(innermost.getMessage() or innermost.toString())}"


def _plain(message: str) -> str:
    """The first line, without Spark's error class and SQLSTATE."""
    first = message.strip().partition("\n")[0]
    return re.sub(r"^\[[A-Z0-9_.]+\] | *SQLSTATE: \w+$", "", first).rstrip(". ")


def _local(name: str) -> str:
    return unquote(urlsplit(name).path)


def _is(error: Py4JJavaError, simple_name: str) -> bool:
    return error.java_exception.getClass().getSimpleName() == simple_name
