"""Put on the PYTHONPATH of a stream's processes, this kills the stream at a chosen point; the product knows nothing of it.

KILL_AT names the point, or several with a ; between them. KILL_COUNT says at which passing, KILL_MARK is the beginning of a
file's name that says it has happened. The driver is killed, or with KILL_WHOM=executor the executor that passes the point.
BREAK takes a protection out, for the control run.
"""

import importlib.util
import os
import signal
import sys
import time

POINTS = os.environ.get("KILL_AT", "").split(";")
MARK = os.environ.get("KILL_MARK", "")


def _driver() -> int:
    """The process that runs the stream: it noted itself when it made the stream."""
    with open(MARK + ".driver") as file:
        return int(file.read())


def _executor() -> int:
    """A Python worker's daemon was started by its executor."""
    with open(f"/proc/{os.getppid()}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def _kill(mark: str) -> None:
    victim = _executor() if os.environ.get("KILL_WHOM") == "executor" else _driver()
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))  # of two shards one does it
    except FileExistsError:
        if os.environ.get("KILL_WHOM") == "executor":
            return  # the other one's
    else:
        os.kill(victim, signal.SIGKILL)
    if os.getpid() != victim:
        time.sleep(
            600
        )  # the dead stream's worker does nothing more, until its parents' end takes it along


_passed: dict[str, int] = {}


def _pass(point: str) -> None:
    mark = MARK if len(POINTS) == 1 else f"{MARK}-{point}"
    if point in POINTS and point and not os.path.exists(mark):
        _passed[point] = _passed.get(point, 0) + 1
        if _passed[point] == int(os.environ.get("KILL_COUNT", "1")):
            _kill(mark)


def _around(owner: object, name: str, before: str = "", after: str = "") -> None:
    function = getattr(owner, name)

    def wrapped(*arguments, **named):
        _pass(before)
        result = function(*arguments, **named)
        _pass(after)
        return result

    setattr(owner, name, wrapped)


def _query(module) -> None:
    make = module.PromoStream.__init__

    def noted_make(*arguments, **named):
        with open(MARK + ".driver", "w") as file:
            file.write(str(os.getpid()))
        make(*arguments, **named)

    module.PromoStream.__init__ = noted_make
    _around(
        module.PromoStream, "handle_batch", before="offsets logged", after="before the commit log"
    )


def _ledger(module) -> None:
    _around(module.Ledger, "freeze", before="before the freeze", after="frozen")


def _intake(module) -> None:
    _around(module, "_register", after="registered")


def _delivery(module) -> None:
    lines = module._copy_lines

    def interrupted_lines(*arguments):
        for piece in lines(*arguments):
            yield piece
            _pass("in the Postgres write")

    module._copy_lines = interrupted_lines
    _around(module, "record_shard", after="shard noted")
    _around(module, "store_chunk", after="after the Postgres commit")
    if os.environ.get("BREAK") == "published":
        module._is_published = lambda *_: False


def _writer(module) -> None:
    produce, commit = module.TransactionalProducer.produce, module.TransactionalProducer.commit
    count = 0

    def interrupted_produce(self, topic, *arguments):
        nonlocal count
        produce(self, topic, *arguments)
        count += 1
        if (
            "while producing" in POINTS
            and topic == os.environ["PROMO_TOPIC_OUT"]
            and count % 50 == 0
        ):
            self._producer.flush()  # the broker has a part of the transaction
            _pass("while producing")
        self._of = "" if topic == os.environ["PROMO_TOPIC_OUT"] else " of dead letters"

    def interrupted_commit(self):
        of = getattr(self, "_of", " of nothing")
        _pass("before the Kafka commit" + of)
        commit(self)
        _pass("after the Kafka commit" + of)

    module.TransactionalProducer.produce = interrupted_produce
    module.TransactionalProducer.commit = interrupted_commit


PATCHES = {
    "promo_assets.stream.pipeline.query": _query,
    "promo_assets.stream.ledger.ledger": _ledger,
    "promo_assets.stream.pipeline.ingest": _intake,
    "promo_assets.stream.pipeline.delivery": _delivery,
    "promo_assets.stream.kafka.producer": _writer,
}


class _Finder:
    """Patches a module when it is first imported, in whichever of the stream's processes that is."""

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
