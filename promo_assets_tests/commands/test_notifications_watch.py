"""`notifications watch`: what it prints, and when it ends."""

import os
import signal
import subprocess

from promo_assets_tests.support.command_line import COMMAND, env, put, run, started

__all__ = ["env"]


def test_bytes_are_printed_as_they_are_until_the_count(env: dict[str, str]):
    values = (b'{"a":1}', "Ж".encode(), b"third")
    put(env, "PROMO_TOPIC_OUT", *((b"c", value, {}) for value in values))
    done = run(env, "notifications", "watch", "--count", "2")
    expected = b'{"a":1}\n' + "Ж".encode() + b"\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, b"")


def test_it_ends_at_the_timeout(env: dict[str, str]):
    put(env, "PROMO_TOPIC_OUT", (b"c", b"only", {}))
    assert run(env, "notifications", "watch", "--timeout", "2").stdout == b"only\n"
    done = run(env, "notifications", "watch", "--timeout", "2", "--count", "2")
    assert (done.returncode, done.stdout) == (1, b"only\n")
    assert b"1 of 2 notifications came within 2 s" in done.stderr


def test_it_goes_on_until_ctrl_c(env: dict[str, str]):
    with started(env, "notifications", "watch") as process:
        put(env, "PROMO_TOPIC_OUT", (b"c", b"late", {}))
        assert process.stdout and process.stdout.readline() == b"late\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr and process.stderr.read() == b""


def test_a_closed_pipe_is_no_error(env: dict[str, str]):
    put(env, "PROMO_TOPIC_OUT", *((b"c", b"x" * 1_000, {}) for _ in range(2_000)))
    command = f"{COMMAND} notifications watch | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=os.environ | env,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"x" * 1_000 + b"\n", b"")
