"""`dead-letters list`: JSON lines for programs, a safe table for people."""

import json
import os
import pty
import subprocess

from promo_assets_tests.support.command_line import COMMAND, Record, env, run
from promo_assets_tests.support.dead_letters import letters

__all__ = ["env", "letters"]


def test_dead_letters_are_listed_as_json_lines(env: dict[str, str], letters: list[Record]):
    done = run(env, "dead-letters", "list")
    assert done.returncode == 0, done.stderr
    listed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each.pop("rejected_at")[:2] for each in listed] == ["20"] * 3
    source = {
        "reason": "the value is not JSON",
        "source_topic": "in",
        "source_partition": 2,
        "source_offset": 7,
    }
    assert listed == [
        {"id": "0-0", **source, "key": "k", "value": "\x1b[31mred"},
        {"id": "0-1", **source, "key": None, "value": None},
        {"id": "0-2", **source, "key_base64": "/w==", "value_base64": "/g=="},
    ]


def test_on_a_terminal_they_are_a_table_that_cannot_control_it(
    env: dict[str, str], letters: list[Record]
):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "dead-letters", "list"],
        env=os.environ | env | {"COLUMNS": "200", "TERM": "dumb"},
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    output = b""
    while True:
        try:
            part = os.read(ours, 10_000)
        except OSError:
            break
        if not part:
            break
        output += part
    assert process.wait(30) == 0
    assert "\\x1b[31mred" in output.decode()
    assert "\x1b[31m" not in output.decode()
    assert "(null)" in output.decode()
