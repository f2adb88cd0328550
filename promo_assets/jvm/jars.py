"""Provides the jars that pyspark does not ship.

These are the jars of a Kafka broker and of Spark's connectors to Kafka and Postgres; the tests also
need HDFS, YARN and Postgres. `ivy.py` names their versions and downloads them. `jars.lock` lists
the jars to keep, with their checksums. The jars lie in the virtual environment, not in PROMO_HOME,
so that all homes share them. This module imports nothing but the standard library and tenacity,
because it is a part of `make setup`.

After a change of versions, `python -m promo_assets.jvm.jars` writes the lock file again.
`python -m promo_assets.jvm.jars FOLDER…` installs the folders that are named; `make test` uses it
for the jars that only tests need.
"""

import hashlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from promo_assets.jvm.ivy import SetupError, download_jars
from promo_assets.jvm.java import JavaError

LOCK = Path(__file__).with_name("jars.lock")
JARS = Path(sys.prefix) / "share" / "promo-assets" / "jars"
RUNTIME_FOLDERS = ("kafka", "spark")
ALL_FOLDERS = (*RUNTIME_FOLDERS, "hdfs", "yarn", "postgres")


def spark_jars() -> list[Path]:
    """Return the jars for `spark.jars`."""
    return _list_jars("spark")


def kafka_classpath() -> str:
    return _join_classpath("kafka", "slf4j-api", "log4j-slf4j2-impl")


def hdfs_classpath() -> str:
    logging = (
        "slf4j-api",
        "log4j-api",
        "log4j-core",
        "log4j-1.2-api",
        "log4j-slf4j2-impl",
        "jcl-over-slf4j",
    )
    return _join_classpath("hdfs", "hadoop-client-api", "hadoop-client-runtime", *logging)


def yarn_classpath() -> str:
    return f"{hdfs_classpath()}:{_join_classpath('yarn')}"


def tls_postgres() -> Path:
    """Return a jar that holds only the archive of PostgreSQL's programs, for Linux on x86-64."""
    (jar,) = _list_jars("postgres")
    return jar


def fetch_jars(progress: Callable[[str], None], folders: Sequence[str] = RUNTIME_FOLDERS) -> None:
    """Download the folders that are missing, check them, and install each as a whole.

    Raises `SetupError` if the download fails or a jar differs from the lock file.
    """
    missing = [folder for folder in folders if not _is_installed(folder)]
    if not missing:
        return
    JARS.mkdir(parents=True, exist_ok=True)
    # The temporary folder is on the same file system, so that the last step is a rename and an
    # interrupted download never looks complete.
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=JARS) as name:
        progress(f"downloading the jars of {' and '.join(missing)} (about 50 MB, half a minute)")
        download_jars(_find_ivy(), Path(name), missing, progress)
        for folder in missing:
            _install_folder(Path(name) / folder, folder)


def _read_lock(folder: str) -> dict[str, str]:
    """Return the sha256 of each of the folder's jars, by file name."""
    lines = (
        line.split() for line in LOCK.read_text().splitlines() if line and not line.startswith("#")
    )
    return {path.split("/")[1]: digest for digest, path in lines if path.startswith(folder + "/")}


def _is_installed(folder: str) -> bool:
    # File names are enough: the content was checked before it was installed, and hashing 45 jars
    # at each start would take noticeable time.
    return all((JARS / folder / name).is_file() for name in _read_lock(folder))


def _list_jars(folder: str) -> list[Path]:
    """Return the folder's installed jars. Raises `SetupError` if one is missing."""
    if not _is_installed(folder):
        target = "setup" if folder in RUNTIME_FOLDERS else "test"
        raise SetupError(f"The jars of {folder} are not installed. Run `make {target}`.")
    return [JARS / folder / name for name in sorted(_read_lock(folder))]


def _join_classpath(folder: str, *pyspark_names: str) -> str:
    """Return a class path of the folder's jars and of pyspark's jars with these names."""
    shipped = [jar for name in pyspark_names for jar in pyspark_jars().glob(f"{name}-[0-9]*.jar")]
    return ":".join(map(str, [*shipped, *_list_jars(folder)]))


def pyspark_jars() -> Path:
    """The folder of the jars that pyspark ships."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise SetupError("The package pyspark is not installed. Run `make setup`.")
    return Path(spec.origin).parent / "jars"


def _find_ivy() -> Path:
    return next(pyspark_jars().glob("ivy-*.jar"))


def _install_folder(downloaded: Path, folder: str) -> None:
    """Move a downloaded folder into place, if it holds exactly the jars of the lock file."""
    locked = _read_lock(folder)
    for name, digest in locked.items():
        jar = downloaded / name
        if not jar.is_file():
            raise SetupError(
                f"Cannot install the jars of {folder}: {name} was not downloaded."
                " jars.lock does not match the versions in ivy.py."
            )
        if _hash_file(jar) != digest:
            raise SetupError(
                f"Cannot install the jars of {folder}: the sha256 of {name} differs from"
                " jars.lock. Nothing was installed."
            )
    for jar in downloaded.iterdir():
        if jar.name not in locked:
            jar.unlink()
    installed = JARS / folder
    if installed.exists():
        # The temporary folder's cleanup removes the old jars.
        installed.rename(downloaded.with_name(f"old-{folder}"))
    downloaded.rename(installed)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_lock() -> None:
    """Write the lock file from a new download, which is trusted. For maintainers."""
    with tempfile.TemporaryDirectory() as name:
        download_jars(_find_ivy(), Path(name), ALL_FOLDERS, print)
        lines = [
            f"{_hash_file(jar)}  {folder}/{jar.name}"
            for folder in ALL_FOLDERS
            for jar in sorted((Path(name) / folder).iterdir())
        ]
    LOCK.write_text("\n".join(lines) + "\n")
    shutil.rmtree(JARS, ignore_errors=True)


def _main(folders: Sequence[str]) -> None:
    if not folders:
        write_lock()
        return
    try:
        fetch_jars(lambda line: print(f"setup: {line}", file=sys.stderr, flush=True), folders)
    except (SetupError, JavaError) as error:
        sys.exit(f"setup: {error}")


if __name__ == "__main__":
    _main(sys.argv[1:])
