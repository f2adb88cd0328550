"""`campaigns send`: all campaigns of the input arrive, or none."""

import os
import time
from pathlib import Path

import pytest

from promo_assets_tests.support.command_line import campaign, env, lines, messages, one_line, run

__all__ = ["env"]


@pytest.mark.parametrize(
    ("file", "reason"),
    [("/no/such/file", "No such file or directory"), ("/", "Is a directory")],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(file: str, reason: str):
    assert one_line(run({}, "campaigns", "send", file), 2) == f"Cannot read {file}: {reason}"


def test_sent_campaigns_arrive_as_they_are_with_the_restaurant_as_key(env: dict[str, str]):
    first, second = campaign(), campaign(restaurant_id="Ресторан", extra=[1])
    input = b"\n" + lines(first) + b"  \r\n" + lines(second).rstrip(b"\n") + b"\r\n\n"
    done = run(env, "campaigns", "send", input=input)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    assert f"sent 2 campaigns to topic {env['PROMO_TOPIC_IN']}" in done.stderr.decode()
    expected = [(b"r-1", lines(first).strip()), ("Ресторан".encode(), lines(second).strip())]
    assert sorted(messages(env, "PROMO_TOPIC_IN")) == sorted(expected)


def test_nothing_is_sent_where_a_line_is_invalid(env: dict[str, str], tmp_path: Path):
    file = tmp_path / "campaigns.jsonl"
    file.write_bytes(b"\n" + lines(campaign(), campaign(restaurant_id=" "), b"{", campaign()))
    line = one_line(run(env, "campaigns", "send", str(file)), 2)
    assert line.startswith(f"{file}, line 3: restaurant_id is blank")
    assert "1 more" in line and "Nothing was sent" in line
    assert messages(env, "PROMO_TOPIC_IN") == []


def test_nothing_is_sent_where_a_message_is_larger_than_the_topic_takes(env: dict[str, str]):
    # The bytes do not compress, because the broker limits the size on the wire.
    large = campaign(adv_campaign_content=os.urandom(1_500_000).hex())
    began = time.monotonic()
    done = run(env, "campaigns", "send", input=lines(campaign(), large, campaign()))
    line = one_line(done, 2)
    assert line.startswith("standard input, line 2 was refused by Kafka, so nothing was sent")
    assert time.monotonic() - began < 20, (
        "the command must not wait for the messages behind it, which would take 30 s"
    )
    assert run(env, "notifications", "watch", "--timeout", "0").returncode == 0
    assert messages(env, "PROMO_TOPIC_IN") == []


def test_raw_sends_every_line_as_it_is(env: dict[str, str]):
    done = run(env, "campaigns", "send", "--raw", input=b"no json\n\n\xff\xfe\r\nkey:{}")
    assert done.returncode == 0, done.stderr
    assert sorted(messages(env, "PROMO_TOPIC_IN")) == [
        (None, b""),
        (None, b"key:{}"),
        (None, b"no json"),
        (None, b"\xff\xfe\r"),
    ]


def test_an_empty_input_sends_nothing_without_complaint(env: dict[str, str]):
    done = run(env, "campaigns", "send")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.startswith(b"sent 0 campaigns")
