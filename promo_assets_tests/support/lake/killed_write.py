"""A process that stages a day and is killed (-9) at a given point.

Run as `python -m promo_assets_tests.support.lake.killed_write ROOT DAY POINT`.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from promo_assets.jvm.session import open_session
from promo_assets.lake import steps
from promo_assets.lake.storage.files import Files
from promo_assets.lake.storage.lake import Lake
from promo_assets.settings import Settings


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying_after(rename: Callable[..., None], when: Callable[[str], bool]) -> Callable[..., None]:
    def rename_and_die(files: Files, name: str, new_name: str) -> None:
        rename(files, name, new_name)
        if when(new_name):
            die()

    return rename_and_die


def die_when_spark_writes(scratch: Path) -> None:
    while not any(scratch.rglob("_temporary/**/*.parquet")):
        time.sleep(0.001)
    die()


def main(root: str, day: str, point: str) -> None:
    settings = Settings(home=Path(root) / "home", spark_master="local[2]", _env_file=None)  # pyright: ignore[reportCallIssue]
    lake = Lake(open_session(settings, "killed"), root, "somebody")
    if point == "before the day is renamed":
        Files.replace = die
    elif point == "when the old day is away":
        Files._rename = dying_after(Files._rename, lambda new_name: "/old-" in new_name)
    else:
        scratch = Path(root) / "user/somebody/scratch"
        threading.Thread(target=die_when_spark_writes, args=(scratch,), daemon=True).start()
    steps.stage_events(lake, [date.fromisoformat(day)])


if __name__ == "__main__":
    main(*sys.argv[1:])
