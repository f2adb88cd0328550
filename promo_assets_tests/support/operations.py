"""The commands of docs/operations.md, run as the page shows them."""

import os
import subprocess
import sys
import time
from pathlib import Path

from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.support.compose import POSTGRES_PROGRAMS
from promo_assets_tests.support.daemons import QUICKLY
from promo_assets_tests.support.expectation import campaign
from promo_assets_tests.support.pages import read_blocks
from promo_assets_tests.support.world import World

PAGE = "operations.md"
NOW = int(time.time())
LATER = NOW + 86_400
FOLLOWERS = {(f"client-{number}", "r") for number in range(50)}


def try_block(
    world: World, heading: str, number: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a block of commands in a shell, with the variables that the page names."""
    programs = (f"{world.home}/bin", str(Path(sys.executable).parent), str(POSTGRES_PROGRAMS))
    path = os.pathsep.join((*programs, os.environ["PATH"]))
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", read_blocks(PAGE, heading)[number]],
        cwd=PROJECT_ROOT,
        env=world.env | {"PATH": path} | QUICKLY | variables,
        capture_output=True,
        text=True,
        timeout=200,
    )


def run_block(world: World, heading: str, number: int = 0, **variables: str) -> str:
    """Run a block that must succeed; returns its standard output."""
    process = try_block(world, heading, number, **variables)
    assert process.returncode == 0, process.stderr[-3_000:]
    return process.stdout


def due(*names: str) -> list[dict]:
    return [campaign("r", name, NOW - 100, LATER) for name in names]


def count_ingested(world: World) -> int:
    """The number of messages in all finished micro-batches."""
    return world.execute("SELECT sum(messages)::int8 FROM promo_ledger.batches")[0][0]
