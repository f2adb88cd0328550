"""Runs each contestant in a process of its own, and measures its steps and its memory."""

import json
import math
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from lake_race.steps import Steps

SCRIPT = Path(__file__).parents[1] / "lake.py"
# The seconds of each step, by round; the first round is cold.
Seconds = dict[str, list[float]]
console = Console(stderr=True)


@dataclass
class Result:
    seconds: Seconds
    peak_mib: dict[str, float]

    def cold(self, steps: list[str]) -> float:
        """Return the seconds that these steps took in the first round."""
        return sum(self.seconds[step][0] for step in steps)

    def warm(self, steps: list[str]) -> float:
        """Return the sum of the steps' medians over the rounds after the first one."""
        return sum(
            statistics.median(self.seconds[step][1:] or self.seconds[step]) for step in steps
        )


class Contestant:
    """A process that takes a step for each line of its standard input.

    It prints the seconds of each step, and first of all the seconds until its session was open.
    """

    def __init__(self, name: str, root: Path):
        self.name = name
        self.seconds: Seconds = {}
        self._peak_mib: dict[str, float] = {}
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._log = root / f"{name}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, SCRIPT, "--contestant", name, str(root)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        threading.Thread(target=self._read_answers, daemon=True).start()
        threading.Thread(target=self._watch_memory, daemon=True).start()

    def __enter__(self) -> "Contestant":
        self._wait_for_answer("session", None)
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*psutil.Process(self._process.pid).children(recursive=True), self._process):
            process.kill()
        self._process.wait()

    def take_step(self, step: str, limit_s: float | None = None) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{step}\n")
        self._process.stdin.flush()
        self._wait_for_answer(step, limit_s)

    def result(self) -> Result:
        return Result(self.seconds, self._peak_mib)

    def _wait_for_answer(self, step: str, limit_s: float | None) -> None:
        try:
            line = self._answers.get(timeout=limit_s)
        except queue.Empty:
            line = json.dumps(math.inf)  # not finished in time
        if line is None:
            sys.exit(f"{self.name} exited during the step {step}:\n{self._log.read_text()[-5000:]}")
        self.seconds.setdefault(step, []).append(json.loads(line))
        console.log(f"{self.name}, {step}: {self.seconds[step][-1]:.2f} s")

    def _read_answers(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _watch_memory(self) -> None:
        """Record the largest memory of its processes, by program."""
        while True:
            try:
                root = psutil.Process(self._process.pid)
                for process in (root, *root.children(recursive=True)):
                    # The executable decides, not the name: until a fork of the JVM becomes another
                    # program, it has the name of a thread and the JVM's memory.
                    kind = "JVM" if Path(process.exe()).name == "java" else "Python"
                    mib = process.memory_info().rss / 2**20
                    self._peak_mib[kind] = max(self._peak_mib.get(kind, 0), mib)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                if self._process.poll() is not None:
                    return
            time.sleep(0.2)


def serve_steps(open_contestant: Callable[[Path], Steps], root: Path) -> None:
    """Run in a contestant's process: take the steps of standard input."""

    def print_seconds(started: float) -> None:
        print(json.dumps(time.perf_counter() - started), flush=True)

    started = time.perf_counter()
    steps = open_contestant(root)
    print_seconds(started)
    for line in sys.stdin:
        started = time.perf_counter()
        steps[line.strip()]()
        print_seconds(started)
