"""Put on the PYTHONPATH of a stream's processes, this kills the stream at a chosen point; the product knows nothing of it.

KILL_AT names the point, KILL_COUNT says at which passing, KILL_MARK is a file that says it has happened.
BREAK=published takes a protection out, for the control run.
"""

import importlib.util
import os
import signal
import sys
import time

POINT = os.environ.get("KILL_AT")
MARK = os.environ.get("KILL_MARK", "")


def _driver() -> int:
    """The process that runs the stream: it noted itself when it made the stream."""
    with open(MARK + ".driver") as file:
        return int(file.read())


def _kill() -> None:
    try:
        os.close(os.open(MARK, os.O_CREAT | os.O_EXCL))  # of two lanes one does it
    except FileExistsError:
        pass
    else:
        os.kill(_driver(), signal.SIGKILL)
    if os.getpid() != _driver():
        time.sleep(600)  # the dead stream's worker does nothing more, until its parents' end takes it along


_passed = 0


def _pass(point: str) -> None:
    global _passed
    if point == POINT and not os.path.exists(MARK):
        _passed += 1
        if _passed == int(os.environ.get("KILL_COUNT", "1")):
            _kill()


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
    _around(module.PromoStream, "handle_batch", before="offsets logged", after="before the commit log")


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
        if POINT == "while producing" and topic == os.environ["PROMO_TOPIC_OUT"] and count % 50 == 0:
            self._producer.flush()  # the broker has a part of the transaction
            _pass(POINT)
        self._of = "" if topic == os.environ["PROMO_TOPIC_OUT"] else " of dead letters"

    def interrupted_commit(self):
        of = getattr(self, "_of", " of nothing")
        _pass("before the Kafka commit" + of)
        commit(self)
        _pass("after the Kafka commit" + of)

    module.TransactionalProducer.produce = interrupted_produce
    module.TransactionalProducer.commit = interrupted_commit


PATCHES = {
    "promo_assets.stream.query": _query,
    "promo_assets.stream.ledger": _ledger,
    "promo_assets.stream.intake": _intake,
    "promo_assets.stream.delivery": _delivery,
    "promo_assets.stream.writer": _writer,
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
