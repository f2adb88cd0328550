"""Prints the times of all contestants, and whether the targets are reached."""

import math

from rich.console import Console
from rich.table import Table

from lake_race.process import Result
from lake_race.steps import DDS, DEPTH, FRIENDS, GEO, HISTORY, MARTS, OUR_STEPS, USERS

NEEDED_HISTORY = ["visits", "first_messages"]  # what the marts users and geo read of the history
SUMS = {
    "DDS + users + geo": [DDS, USERS, GEO],
    "the same + their history": [DDS, USERS, GEO, *NEEDED_HISTORY],
    "all marts": MARTS,
    "all marts + history": [*HISTORY, *MARTS],
}
COLUMNS = (
    "",
    "ours cold",
    "ours warm",
    "share",
    "duckdb cold",
    "duckdb warm",
    "ours / duckdb",
    "textbook",
    "textbook / ours cold",
)


def print_times(size: str, results: dict[str, Result]) -> None:
    """Print the seconds of each step and of sums of steps, and the peak memory."""
    rounds = len(results["ours"].seconds[USERS]) - 1
    table = Table(title=f"{size} events, {DEPTH} days, seconds; warm: median of {rounds} rounds")
    for column in COLUMNS:
        table.add_column(column, justify="left" if not column else "right")
    rows = {"session": ["session"], **{step: [step] for step in OUR_STEPS}, **SUMS}
    for name, steps in rows.items():
        cells = _format_row(name, steps, results)
        table.add_row(name, *cells, end_section=name in ("session", FRIENDS))
    Console(width=160).print(table)
    for name, result in results.items():
        peaks = (f"{kind} {mib:,.0f} MiB" for kind, mib in result.peak_mib.items())
        print(f"peak memory, {size}, {name}: {', '.join(peaks)}")


def _format_row(name: str, steps: list[str], results: dict[str, Result]) -> list[str]:
    ours, duck = results["ours"], results["duckdb"]
    theirs = [step for step in steps if step in duck.seconds]
    is_step = name != "session"
    both = theirs and is_step
    slow = _textbook_seconds(steps, results.get("textbook"))
    finished = slow and slow < math.inf
    return [
        f"{ours.cold(steps):.2f}",
        f"{ours.warm(steps):.2f}" if is_step else "",
        f"{ours.warm(steps) / ours.warm(OUR_STEPS):.0%}" if name in OUR_STEPS else "",
        f"{duck.cold(theirs):.2f}" if theirs else "",
        f"{duck.warm(theirs):.2f}" if both else "",
        f"{ours.warm(steps) / duck.warm(theirs):.2f}" if both else "",
        f"{slow:.1f}" if finished else "not finished" if slow else "",
        f"{slow / ours.cold(steps):.1f}" if finished and is_step else "",
    ]


def _textbook_seconds(steps: list[str], textbook: Result | None) -> float:
    """Return the textbook's seconds for these steps, or 0 if it does not take all of them.

    It has no history, so steps of the history take no time, unless they are all.
    """
    if textbook is None or set(steps) <= set(HISTORY):
        return 0
    if not all(step in textbook.seconds or step in HISTORY for step in steps):
        return 0
    return textbook.cold([step for step in steps if step in textbook.seconds])


def print_targets(results: dict[str, dict[str, Result]]) -> None:
    """Print which targets are reached; `results` has the contestants' results by size."""
    table = Table(title="targets")
    for column in ("", "target", "measured", ""):
        table.add_column(column)
    small, large = results["0.5 M"], results.get("5 M")
    rows = _compare_with_textbook(small)
    if large:
        rows += _compare_large(small["ours"], large)
    for what, target, measured, reached in rows:
        table.add_row(what, target, measured, "reached" if reached else "NOT reached")
    Console(width=160).print(table)


def _compare_with_textbook(small: dict[str, Result]) -> list[tuple[str, str, str, bool]]:
    if "textbook" not in small:
        return []
    rows, ours = [], small["ours"]
    slow = small["textbook"].cold([DDS, USERS, GEO])
    for name in ("DDS + users + geo", "the same + their history"):
        cold, warm = slow / ours.cold(SUMS[name]), slow / ours.warm(SUMS[name])
        measured = f"{cold:.1f} cold, {warm:.1f} warm"
        rows.append((f"{name}, 0.5 M, textbook / ours", ">= 10", measured, cold >= 10))
    return rows


def _compare_large(
    small_ours: Result, large: dict[str, Result]
) -> list[tuple[str, str, str, bool]]:
    rows, ours, duck = [], large["ours"], large["duckdb"]
    for name in ("all marts", "all marts + history"):
        ratio = ours.warm(SUMS[name]) / duck.warm(MARTS)
        what = f"{name}, 5 M, ours / duckdb, warm"
        rows.append((what, "<= 3 (aim: 2)", f"{ratio:.2f}", ratio <= 3))
    for mart in MARTS:
        ratio = ours.warm([mart]) / small_ours.warm([mart])
        is_friends = mart == FRIENDS
        target = "grows with the pairs" if is_friends else "<= 12"
        rows.append(
            (f"{mart}, 5 M / 0.5 M, warm", target, f"{ratio:.1f}", is_friends or ratio <= 12)
        )
    peak = sum(ours.peak_mib.values())
    rows.append(("peak memory of ours, 5 M", "<= 2048 MiB", f"{peak:,.0f} MiB", peak <= 2048))
    return rows
