"""The first Java that is new enough is used: JAVA_HOME, else the PATH's, else the wheel's."""

import subprocess
from pathlib import Path

import pytest

from promo_assets.jvm import java


def make_fake_java(home: Path, version: str) -> Path:
    """Create a `java` that only prints its version, in the format of a real one."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\necho "    java.home = {home}" >&2\necho "    java.version = {version}" >&2\n'
    )
    program.chmod(0o755)
    return home


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(java, "_prepare_wheel_home", lambda: None)


@pytest.mark.usefixtures("no_wheel")
@pytest.mark.parametrize(
    ("named", "on_path", "chosen"),
    [
        ("17.0.15", "21.0.2", "named"),
        ("25-ea", None, "named"),
        ("11.0.2", "21.0.2", "on_path"),
        ("1.8.0_402", "17", "on_path"),
        (None, "21.0.2", "on_path"),
        ("11.0.2", "16.0.1", None),
        (None, None, None),
    ],
)
def test_the_first_java_that_is_new_enough_is_chosen(
    named: str | None,
    on_path: str | None,
    chosen: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    homes = {
        name: make_fake_java(tmp_path / name, version)
        for name, version in (("named", named), ("on_path", on_path))
        if version
    }
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "named"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'on_path' / 'bin'}")
    assert java.needs_java_wheel() == (chosen is None)
    if chosen:
        assert java.java_home() == homes[chosen]
    else:
        with pytest.raises(java.JavaError, match="make setup"):
            java.java_home()


@pytest.mark.usefixtures("no_wheel")
def test_a_java_that_does_not_run_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stub = make_fake_java(tmp_path / "stub", "17") / "bin" / "java"
    stub.write_text("#!/bin/sh\necho 'No Java runtime present' >&2\nexit 1\n")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(stub.parent))
    assert java.needs_java_wheel()


def test_the_wheels_launcher_drops_the_option_for_the_module_that_the_wheel_lacks(tmp_path: Path):
    real = tmp_path / "it's" / "java"
    real.parent.mkdir()
    real.write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
    real.chmod(0o755)
    launcher = tmp_path / "launcher"
    launcher.write_text(java.LAUNCHER.format(java=str(real).replace("'", "'\\''")))
    arguments = ["-cp", "a b", "--add-modules=jdk.incubator.vector", "", "Main", "*"]
    done = subprocess.run(
        ["sh", str(launcher), *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout == "<-cp><a b><><Main><*>"
