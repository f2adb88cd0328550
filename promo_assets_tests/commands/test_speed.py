"""How quick the commands and the definitions are.

Each is compared with a program that does nothing, in turn, so that a busy machine slows both.
"""

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from promo_assets_tests.conftest import Services
from promo_assets_tests.support.command_line import COMMAND

pytestmark = pytest.mark.slow

ROUNDS = 3
EMPTY = "import dagster as dg; defs = dg.Definitions()"
OURS = "import promo_assets.definitions as ours; ours.build_definitions(ours.load_settings())"


def seconds(*commands: Callable[[], object]) -> list[float]:
    """Return each command's median time in seconds; the commands take turns."""
    taken: list[list[float]] = [[] for _ in commands]
    for _ in range(ROUNDS):
        for command, times in zip(commands, taken, strict=True):
            began = time.monotonic()
            command()
            times.append(time.monotonic() - began)
    return [statistics.median(times) for times in taken]


def program(*arguments: str, env: dict[str, str] | None = None) -> Callable[[], object]:
    return lambda: subprocess.run(
        arguments, env=os.environ | (env or {}), check=True, capture_output=True, timeout=60
    )


def test_help_takes_half_a_second_and_status_a_second(services: Services, capsys) -> None:
    nothing, help_, status = seconds(
        program(sys.executable, "-c", "import rich.console, typer"),
        program(COMMAND, "--help"),
        program(COMMAND, "status", env=services.env),
    )
    with capsys.disabled():
        print(f"\n  nothing {nothing:.2f} s, --help {help_:.2f} s, status {status:.2f} s", end="")
    assert help_ < max(0.5, 3 * nothing)
    assert status < max(1.0, 6 * nothing)


def cpu_seconds(*arguments: str) -> float:
    """Return the median of a program's CPU time in seconds, which other programs do not change."""
    taken = []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        program(*arguments)()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(taken)


def test_the_definitions_load_in_three_seconds_more_than_an_empty_project(capsys) -> None:
    empty = cpu_seconds(sys.executable, "-c", EMPTY)
    ours = cpu_seconds(sys.executable, "-c", OURS)
    with capsys.disabled():
        print(f"\n  an empty project {empty:.2f} s, ours {ours:.2f} s", end="")
    assert ours - empty < max(3.0, 2 * empty)
