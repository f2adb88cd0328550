"""A run that is terminated while Spark works for it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import wraps
from typing import Any, TypeVar, cast

from promo_assets.lake.storage.lake import Lake

POLL_S = 0.2
Work = TypeVar("Work", bound=Callable)


def cancellable(work: Work) -> Work:
    """Does what an asset or op does with its `lake` in a thread of its own. The main thread waits, and when it is interrupted stops Spark.

    An interrupt in the middle of an answer of the JVM would leave py4j's connection, which belongs to a thread, with that answer for
    the next call: nothing could be cancelled or cleaned up then.
    """

    @wraps(work)
    def run_in_thread(*arguments: Any, lake: Lake, **more: Any) -> Any:
        with ThreadPoolExecutor(1, "lake") as thread:
            done = thread.submit(work, *arguments, lake=lake, **more)
            try:
                return done.result()
            except BaseException:
                while not done.done():
                    lake.stop()
                    wait([done], POLL_S)
                raise

    return cast(Work, run_in_thread)
