"""Files of the lake, local or on HDFS: list them, read them, replace a folder as a whole."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from promo_assets.jvm.hadoop import open_file_system
from promo_assets.lake.storage import scratch

REPLACE_ATTEMPTS = 10


class LakeError(Exception):
    """A part of the lake is missing or cannot be read; the message is one line that names it."""


class Files:
    """The files below a root, which is a Hadoop URI or a local folder.

    Names are whole URIs. All methods raise `LakeError` if the file system fails.
    """

    def __init__(self, spark: SparkSession, root: str):
        self.root = root.rstrip("/") if urlsplit(root).scheme else Path(root).absolute().as_uri()
        self._is_local = urlsplit(self.root).scheme == "file"
        jvm: Any = spark._jvm
        context: Any = spark.sparkContext
        self._io = jvm.org.apache.commons.io.IOUtils
        with translate_errors(f"the lake at {self.root} cannot be reached"):
            self.hadoop = open_file_system(spark, f"{self.root}/")
            self._system, self._path, configuration = self.hadoop
            root_path = self._path(f"{self.root}/")
            if self._is_local:
                # With its `.crc` files, a file that another program changed, such as geo.csv in an
                # editor, would be unreadable.
                self._system.setWriteChecksum(False)
                self._system.setVerifyChecksum(False)
            else:
                # `FileContext.rename` fails if the new name exists; `FileSystem.rename` would move
                # the folder into it.
                fs, gateway = jvm.org.apache.hadoop.fs, context._gateway
                self._context = fs.FileContext.getFileContext(root_path.toUri(), configuration)
                self._no_options = gateway.new_array(fs.Options.Rename, 0)
            self._system.exists(root_path)

    def exists(self, name: str) -> bool:
        with translate_errors(name):
            return self._system.exists(self._path(name))

    def entries(self, folder: str) -> list[tuple[str, float]]:
        """Return what is in a folder: last part of the name, and modification time (unix seconds).

        The list is empty if the folder does not exist.
        """
        path = self._path(folder)
        with translate_errors(folder):
            statuses = self._system.listStatus(path) if self._system.exists(path) else []
            return [
                (status.getPath().getName(), status.getModificationTime() / 1000)
                for status in statuses
            ]

    def data_files(self, folder: str) -> list[tuple[str, int, int]]:
        """Return name, bytes and modification time (unix ms) of the files at any depth, sorted.

        Like Spark, it ignores names that begin with . or _. It does not use Hadoop's `listFiles`,
        which starts a process per file on a local file system to find the file's owner.
        """
        files, folders = [], [self._path(folder)]
        with translate_errors(folder):
            while folders:
                path = folders.pop()
                for status in self._system.listStatus(path) if self._system.exists(path) else []:
                    file = status.getPath()
                    if file.getName().startswith((".", "_")):
                        continue
                    if status.isDirectory():
                        folders.append(file)
                    else:
                        modified_ms = status.getModificationTime()
                        files.append((file.toString(), status.getLen(), modified_ms))
        return sorted(files)

    def read_bytes(self, name: str) -> bytes | None:
        """Return the content of a file; None if the file does not exist."""
        path = self._path(name)
        with translate_errors(name):
            if not self._system.exists(path):
                return None
            stream = self._system.open(path)
            try:
                return bytes(self._io.toByteArray(stream))
            finally:
                stream.close()

    def write_bytes(self, content: bytes, name: str) -> None:
        with translate_errors(name):
            stream = self._system.create(self._path(name))
            try:
                stream.write(content)
            finally:
                stream.close()

    def make_folder(self, name: str) -> None:
        with translate_errors(name):
            self._system.mkdirs(self._path(name))

    @contextlib.contextmanager
    def scratch_folder(self, parent: str, purpose: str) -> Iterator[str]:
        """Create a folder in `parent` to write to, and delete it at the end.

        Scratch folders in `parent` that killed processes left behind are deleted first.
        """
        for name, changed_at in self.entries(parent):
            if scratch.is_abandoned(name, changed_at):
                self._delete(f"{parent}/{name}")
        folder = f"{parent}/{scratch.new_name()}~{purpose}"
        self.make_folder(folder)
        try:
            yield folder
        finally:
            self._delete(folder)
            with contextlib.suppress(LakeError):  # others may be writing there
                self._delete(parent, recursive=False)

    def replace(self, name: str, new: str, old: str) -> None:
        """Rename `new` to `name`, after renaming to `old` what is or meanwhile comes there."""
        with translate_errors(name):
            self._system.mkdirs(self._path(name).getParent())
            for attempt in range(REPLACE_ATTEMPTS):
                try:
                    self._rename(new, name)
                    return
                except FileExistsError:
                    with contextlib.suppress(FileNotFoundError):  # another writer was faster
                        self._rename(name, f"{old}-{attempt}")
        raise LakeError(
            f"{name} was not replaced, because other writers kept replacing it "
            f"({REPLACE_ATTEMPTS} attempts). Run it again when they have finished."
        )

    def _rename(self, name: str, new_name: str) -> None:
        """Rename a file or folder atomically.

        Raises `FileExistsError` if the new name is a folder that is not empty, and
        `FileNotFoundError` if there is nothing to rename.
        """
        if self._is_local:
            # Hadoop would look first and then rename, and it starts four processes to look.
            try:
                os.rename(_local_path(name), _local_path(new_name))
            except OSError as error:
                if error.errno == errno.ENOTEMPTY:
                    raise FileExistsError(new_name) from None
                raise
            return
        try:
            self._context.rename(self._path(name), self._path(new_name), self._no_options)
        except Py4JJavaError as error:
            if _is_java_error(error, "FileAlreadyExistsException"):
                raise FileExistsError(new_name) from None
            if _is_java_error(error, "FileNotFoundException"):
                raise FileNotFoundError(name) from None
            raise

    def _delete(self, name: str, recursive: bool = True) -> None:
        with translate_errors(name):
            self._system.delete(self._path(name), recursive)


@contextlib.contextmanager
def translate_errors(prefix: str) -> Iterator[None]:
    """Turn errors of Spark, Hadoop and the file system into a `LakeError`: `prefix: reason`."""
    try:
        yield
    except OSError as error:
        raise LakeError(f"{prefix}: {error.strerror or error}") from None
    except (Py4JJavaError, PySparkException) as error:
        raise LakeError(f"{prefix}: {_reason(error)}") from None


def _reason(error: Py4JJavaError | PySparkException) -> str:
    """Return the message of the outermost error, and of the innermost where it adds something."""
    thrown = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    if thrown is None:
        return _first_line(str(error))
    innermost = thrown
    while innermost.getCause() is not None:
        innermost = innermost.getCause()
    message = thrown.getMessage() or thrown.toString()
    says_all = message.startswith("[FAILED_READ_FILE.PARQUET_COLUMN_DATA_TYPE_MISMATCH]")
    if thrown.equals(innermost) or says_all:
        return _first_line(message)
    cause = innermost.getMessage() or innermost.toString()
    return f"{_first_line(message)}: {_first_line(cause)}"


def _first_line(message: str) -> str:
    """Return the first line of a message without Spark's error class and SQLSTATE."""
    first = message.strip().partition("\n")[0]
    return re.sub(r"^\[[A-Z0-9_.]+\] | *SQLSTATE: \w+$", "", first).rstrip(". ")


def _local_path(uri: str) -> str:
    return unquote(urlsplit(uri).path)


def _is_java_error(error: Py4JJavaError, simple_name: str) -> bool:
    return error.java_exception.getClass().getSimpleName() == simple_name
