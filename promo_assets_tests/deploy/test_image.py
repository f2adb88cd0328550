"""Runs the Dockerfile's lines without Docker, in a folder of this machine instead of an image."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.support.compose import SERVICES

LINES = (PROJECT_ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
COPIES = [
    line.removeprefix("COPY --chown=promo ").split() for line in LINES if line.startswith("COPY ")
]
(BUILD,) = [
    line.removeprefix("RUN ") for line in LINES if line.startswith("RUN ") and "setup.py" in line
]
BEFORE_BUILD = sum(line.startswith("COPY ") for line in LINES[: LINES.index(f"RUN {BUILD}")])
DOCKER_SHELL = ["/bin/sh", "-c"]


def test_the_virtual_environments_python_downloads_the_jars(tmp_path: Path) -> None:
    """The first `python` of the image's PATH does not exist yet when the line starts."""
    system, own = tmp_path / "system", tmp_path / "own"
    system.mkdir()
    (system / "python").write_text(
        f'#!/bin/sh\necho "system $*"\nmkdir -p .venv/bin\ncp {own} .venv/bin/python\n'
    )
    own.write_text('#!/bin/sh\necho "environment $*"\n')
    for program in (system / "python", own):
        program.chmod(0o755)
    path = f"{tmp_path}/.venv/bin:{system}:/usr/bin:/bin"
    done = subprocess.run(
        [*DOCKER_SHELL, BUILD],
        cwd=tmp_path,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert done.stdout.splitlines() == [
        "system promo_assets/local/setup.py",
        "environment -m promo_assets.jvm.jars hdfs",
    ]


@pytest.mark.whole
def test_the_image_can_run_the_projects_commands_and_hdfs(tmp_path: Path) -> None:
    base, system = tmp_path / "image", tmp_path / "system"
    for folder in (base, system):
        folder.mkdir()
    (system / "python").symlink_to(os.path.realpath(sys.executable))
    developers_bin = str(Path(sys.executable).parent)
    path = os.pathsep.join(
        [
            f"{base}/.venv/bin",
            str(system),
            *(p for p in os.environ["PATH"].split(os.pathsep) if p != developers_bin),
        ]
    )
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PROMO_", "PYTHON", "VIRTUAL_ENV"))
    } | {"PATH": path}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=base, env=env, capture_output=True, text=True, check=False, timeout=540
        )
        assert done.returncode == 0, done.stderr[-2_000:]
        return done.stdout

    for names in COPIES[:BEFORE_BUILD]:
        _copy(base, names)
    run(*DOCKER_SHELL, BUILD)
    for names in COPIES[BEFORE_BUILD:]:
        _copy(base, names)
    assert "with-dagster" in run("promo-assets", "--help")
    assert re.search(r"version 1\.\d+", run("dagster", "--version"))
    assert run(
        "python",
        "-c",
        "import promo_assets.definitions, sys; print(promo_assets.__file__, sys.prefix)",
    ).split() == [
        f"{base}/promo_assets/__init__.py",
        f"{base}/.venv",
    ]
    env |= SERVICES["namenode"]["environment"] | {"HADOOP_CONF_DIR": f"{base}/deploy/hadoop"}
    assert f"{base}/deploy/hdfs.sh" in run("deploy/hdfs.sh", "dfs", "-ls", f"file://{base}/deploy")


def _copy(base: Path, names: list[str]) -> None:
    """Do what COPY does: of a folder, it copies the content."""
    *sources, target = names
    for source in sources:
        if (PROJECT_ROOT / source).is_dir():
            shutil.copytree(
                PROJECT_ROOT / source,
                base / target,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        else:
            if target.endswith("/"):
                (base / target).mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT_ROOT / source, base / target)
