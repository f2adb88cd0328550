"""Archives of class data (AppCDS): a JVM that uses one need not parse and verify the same classes.

An archive is only an accelerator. Its file is named after the Java and the jars that it was made
from. A JVM silently ignores an archive that does not fit, and starts as usual without one.
`python -m promo_assets.local.class_data` makes the archives.
"""

import hashlib
from functools import cache
from pathlib import Path

from promo_assets.jvm.jars import JARS, kafka_classpath, pyspark_jars
from promo_assets.jvm.java import java_home

FOLDER = JARS.with_name("class-data")
# The JVM would report an archive that does not fit on standard output.
SILENT = ["-Xlog:cds=off", "-Xlog:cds+dynamic=off"]


@cache
def archive_options(name: str) -> list[str]:
    """Java's options for "spark" or "kafka"; none if this Java and these jars have no archive."""
    file = find_archive(name)
    return use_archive(file) if file and file.is_file() else []


def use_archive(file: Path) -> list[str]:
    return [f"-XX:SharedArchiveFile={file}", "-Xshare:auto", *SILENT]


def find_archive(name: str) -> Path | None:
    """The archive's file for this Java and these jars, which need not exist.

    None if this Java lacks the archive of its own classes, which every other archive builds on.
    """
    java = java_home().resolve()
    if not any((java / "lib" / "server").glob("classes*.jsa")):
        return None
    jars = [Path(jar) for jar in kafka_classpath().split(":")]
    if name == "spark":
        jars = sorted(pyspark_jars().glob("*.jar"))
    identity = [str(java), _read_release(java)]
    identity += [f"{jar} {jar.stat().st_size} {jar.stat().st_mtime_ns}" for jar in jars]
    return FOLDER / f"{name}-{hashlib.sha256(chr(10).join(identity).encode()).hexdigest()[:16]}.jsa"


def _read_release(java: Path) -> str:
    try:
        return (java / "release").read_text()
    except OSError:
        return ""
