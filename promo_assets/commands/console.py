"""How a command talks to its user: lines on standard error, exit statuses, signals.

Data goes to standard output; everything here goes to standard error.
"""

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
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


class UserError(Exception):
    """The user made a mistake: exit status 2, and one line that says how to correct it."""


class CommandError(Exception):
    """The command failed for any other reason: exit status 1, and one line that says why."""


_terminal: TextIO | None = None  # the original standard error after `redirect_stderr_to`


def stderr() -> TextIO:
    """Return the stream that the user reads as standard error."""
    return _terminal or sys.stderr


def redirect_stderr_to(path: Path) -> None:
    """Send what a JVM, its workers and libraries write to standard error to a file.

    From then on, only this module writes to the original standard error.
    """
    global _terminal
    path.parent.mkdir(parents=True, exist_ok=True)
    _terminal = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    with path.open("wb") as file:
        os.dup2(file.fileno(), 2)


def info(line: str) -> None:
    """Write one line to standard error, of any length and with any content."""
    Console(file=stderr()).print(Text(printable(line)), soft_wrap=True)


@contextlib.contextmanager
def spinner(message: str) -> Iterator[Callable[[str], None]]:
    """Show that work is in progress: a spinner on a terminal, plain lines elsewhere.

    Yields a function that replaces the message by that of the next step.
    """
    console = Console(file=stderr())
    if not console.is_terminal:
        info(message)
        yield info
        return
    with console.status(Text(message)) as status:
        yield lambda line: status.update(Text(printable(line)))


def printable(text: str) -> str:
    """Escape control characters, so that text from elsewhere cannot control the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def count_of(number: int, things: str) -> str:
    """Return a number and its noun; `things` is the plural: "1 campaign", "2,000 campaigns"."""
    return f"{number:,} {things.removesuffix('s') if number == 1 else things}"


def describe_error(error: BaseException) -> str:
    """Return an error in one line, led by its class's name unless the class is this project's.

    The messages of this project's errors are written for users; those of other libraries often
    make no sense without the class (`KeyError: 'a'`). `stream.errors.first_line` serves the stream,
    which also shortens Spark's and Java's stack traces.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else "no more is known"
    is_ours = type(error).__module__.startswith("promo_assets.")
    return first if is_ours else f"{type(error).__name__}: {first}"


@contextlib.contextmanager
def stop_on_signals(event: threading.Event) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal set `event` instead of ending the process."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: event.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def silence_closed_pipe() -> None:
    """Discard what is left for standard output, whose reader is gone; else exit would complain."""
    with contextlib.suppress(OSError), Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
