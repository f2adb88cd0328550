"""Termination of a run while Spark works for it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import wraps
from typing import Any, TypeVar, cast

from promo_assets.lake.storage.lake import Lake

POLL_S = 0.2
Compute = TypeVar("Compute", bound=Callable)


def cancellable(compute: Compute) -> Compute:
    """Runs the function of an asset or op, with its `lake`, in a thread of its own.

    The main thread waits, and stops Spark when it is interrupted. An interrupt in the middle of a
    reply from the JVM would leave the rest of that reply in py4j's connection, which belongs to the
    thread. The next call would read it, and nothing could be cancelled or cleaned up.
    """

    @wraps(compute)
    def run_in_thread(*arguments: Any, lake: Lake, **more: Any) -> Any:
        with ThreadPoolExecutor(1, "lake") as thread:
            result = thread.submit(compute, *arguments, lake=lake, **more)
            try:
                return result.result()
            except BaseException:
                while not result.done():
                    lake.stop()
                    wait([result], POLL_S)
                raise

    return cast(Compute, run_in_thread)
