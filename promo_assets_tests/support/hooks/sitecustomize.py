"""Kills a stream's process at a chosen point, if this folder is on the PYTHONPATH of the process.

The product knows nothing of it. Environment:
- KILL_AT names the point, or several points separated by a semicolon;
- KILL_COUNT says which passing of the point kills (default 1);
- KILL_MARK is a path: the process creates this file when it kills (with several points the file's
  name also ends in the point), and PATH.driver holds the driver's process id;
- KILL_WHOM=executor kills the executor that passes the point, otherwise the driver is killed;
- BREAK takes a protection out, for a control run.
"""

import importlib.util
import os
import signal
import sys
import time

POINTS = os.environ.get("KILL_AT", "").split(";")
MARK = os.environ.get("KILL_MARK", "")


def _read_driver_pid() -> int:
    """Return the process that runs the stream: it wrote its id when it made the stream."""
    with open(MARK + ".driver") as file:
        return int(file.read())


def _find_executor_pid() -> int:
    """Return the parent of the Python workers' daemon: the executor starts that daemon."""
    with open(f"/proc/{os.getppid()}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def _kill(mark: str) -> None:
    kill_executor = os.environ.get("KILL_WHOM") == "executor"
    victim = _find_executor_pid() if kill_executor else _read_driver_pid()
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))  # only one of two shards creates it
    except FileExistsError:
        if kill_executor:
            return  # the other shard kills its own executor
    else:
        os.kill(victim, signal.SIGKILL)
    if os.getpid() != victim:
        # The dead stream's worker does nothing more, until the end of its parents ends it too.
        time.sleep(600)


_passed: dict[str, int] = {}


def _pass(point: str) -> None:
    mark = MARK if len(POINTS) == 1 else f"{MARK}-{point}"
    if point in POINTS and point and not os.path.exists(mark):
        _passed[point] = _passed.get(point, 0) + 1
        if _passed[point] == int(os.environ.get("KILL_COUNT", "1")):
            _kill(mark)


def _wrap(owner: object, name: str, before: str = "", after: str = "") -> None:
    """Make a function pass these points before and after its work."""
    function = getattr(owner, name)

    def wrapped(*arguments, **named):
        _pass(before)
        result = function(*arguments, **named)
        _pass(after)
        return result

    setattr(owner, name, wrapped)


def _patch_query(module) -> None:
    init = module.PromoStream.__init__

    def write_pid_and_init(*arguments, **named):
        with open(MARK + ".driver", "w") as file:
            file.write(str(os.getpid()))
        init(*arguments, **named)

    module.PromoStream.__init__ = write_pid_and_init
    _wrap(
        module.PromoStream, "handle_batch", before="offsets logged", after="before the commit log"
    )


def _patch_ledger(module) -> None:
    _wrap(module.Ledger, "freeze", before="before the freeze", after="frozen")


def _patch_ingest(module) -> None:
    _wrap(module, "_register", after="registered")


def _patch_freeze(module) -> None:
    _wrap(module, "record_shard", after="shard noted")


def _patch_delivery(module) -> None:
    copy_lines = module._copy_lines

    def interrupted_copy_lines(*arguments):
        for lines in copy_lines(*arguments):
            yield lines
            _pass("in the Postgres write")

    module._copy_lines = interrupted_copy_lines
    _wrap(module, "store_chunk", after="after the Postgres commit")
    if os.environ.get("BREAK") == "published":
        module._is_published = lambda *_: False


def _patch_producer(module) -> None:
    produce, commit = module.TransactionalProducer.produce, module.TransactionalProducer.commit
    count = 0

    def interrupted_produce(self, topic, *arguments):
        nonlocal count
        produce(self, topic, *arguments)
        count += 1
        is_output = topic == os.environ["PROMO_TOPIC_OUT"]
        if "while producing" in POINTS and is_output and count % 50 == 0:
            self._producer.flush()  # the broker has a part of the transaction
            _pass("while producing")
        self._suffix = "" if is_output else " of dead letters"

    def interrupted_commit(self):
        suffix = getattr(self, "_suffix", " of nothing")
        _pass("before the Kafka commit" + suffix)
        commit(self)
        _pass("after the Kafka commit" + suffix)

    module.TransactionalProducer.produce = interrupted_produce
    module.TransactionalProducer.commit = interrupted_commit


PATCHES = {
    "promo_assets.stream.pipeline.query": _patch_query,
    "promo_assets.stream.ledger.ledger": _patch_ledger,
    "promo_assets.stream.pipeline.ingest": _patch_ingest,
    "promo_assets.stream.pipeline.freeze": _patch_freeze,
    "promo_assets.stream.pipeline.delivery": _patch_delivery,
    "promo_assets.stream.kafka.producer": _patch_producer,
}


class _Finder:
    """Patches a module at its first import, in whichever of the stream's processes that happens."""

    def find_spec(self, name, path=None, target=None):
        if name not in PATCHES:
            return None
        patch = PATCHES.pop(name)
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_patch(module) -> None:
            execute(module)
            patch(module)

        spec.loader.exec_module = execute_and_patch
        return spec


if MARK:
    sys.meta_path.insert(0, _Finder())
