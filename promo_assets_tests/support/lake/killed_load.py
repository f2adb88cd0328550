"""An initial load that is killed (-9) in its second chunk, with one day a chunk.

Run as `python -m promo_assets_tests.support.lake.killed_load FOLDER`.
"""

import os
import signal
import sys
from pathlib import Path

import dagster as dg

from promo_assets.definitions import build_definitions
from promo_assets.lake import steps
from promo_assets.lake.defs import jobs
from promo_assets_tests.support.lake.lake_world import LakeWorld


def main(folder: Path) -> None:
    chunks = []
    clean = steps.clean_events

    def die_in_the_second_chunk(*of, **more):
        chunks.append(of)
        if len(chunks) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return clean(*of, **more)

    jobs.DAYS_AT_ONCE = 1
    steps.clean_events = die_in_the_second_chunk
    definitions = build_definitions(LakeWorld.settings(folder))
    definitions.resolve_job_def("initial_load").execute_in_process(
        instance=dg.DagsterInstance.ephemeral()
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
