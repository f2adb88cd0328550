"""How a command talks: to standard error, in lines; and how it ends when it cannot do what it was asked."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

DONE, FAILED, MISUSED = 0, 1, 2
INTERRUPTED = 130  # as a shell counts a program that Ctrl-C ended


class UserError(Exception):
    """The user's mistake: exit status 2, and one line that says what to mend."""


class CommandError(Exception):
    """Something else went wrong: exit status 1, and one line that says what."""


_ours: TextIO | None = None  # standard error, where that was handed to others


def stderr() -> TextIO:
    """Where talk goes."""
    return _ours or sys.stderr


def redirect_stderr_to(path: Path) -> None:
    """From here on standard error is ours alone: what a JVM, its workers and libraries write there goes to a file."""
    global _ours
    path.parent.mkdir(parents=True, exist_ok=True)
    _ours = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    with path.open("wb") as file:
        os.dup2(file.fileno(), 2)


def info(line: str) -> None:
    """One line to standard error, whatever its length and whatever it holds."""
    Console(file=stderr()).print(Text(printable(line)), soft_wrap=True)


@contextlib.contextmanager
def spinner(doing: str) -> Iterator[Callable[[str], None]]:
    """Shows that something goes on: a spinner on a terminal, else a line each; yields what tells the next step."""
    console = Console(file=stderr())
    if not console.is_terminal:
        info(doing)
        yield info
        return
    with console.status(Text(doing)) as status:
        yield lambda line: status.update(Text(printable(line)))


def printable(text: str) -> str:
    """What others wrote must not steer the terminal: control characters are shown as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def count_of(number: int, things: str) -> str:
    """`things` is the plural: "1 campaign", "2,000 campaigns"."""
    return f"{number:,} {things.removesuffix('s') if number == 1 else things}"


def first_line(error: BaseException) -> str:
    """An error in one line; the name of its class leads where it is none of ours and its text alone would not tell."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ours = type(error).__module__.startswith("promo_assets.")
    return " ".join(
        ([] if ours else [f"{type(error).__name__}:"]) + (lines[:1] or ["no more is known"])
    )


@contextlib.contextmanager
def stop_on_signals(event: threading.Event) -> Iterator[None]:
    """While it lasts, Ctrl-C and SIGTERM set `event` and interrupt nothing else; a closed terminal counts the same."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: event.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def silence_closed_pipe() -> None:
    """Nobody reads standard output any more: what is left of it goes nowhere, without a word at exit."""
    with contextlib.suppress(OSError), Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
