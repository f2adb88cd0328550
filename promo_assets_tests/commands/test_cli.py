"""The command as its users meet it: a process with arguments, two outputs and an exit status."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psutil
import psycopg
import pyarrow.parquet as pq
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from promo_assets_tests.conftest import Services
from promo_assets_tests.support.daemons import QUICKLY

COMMAND = str(Path(sys.executable).with_name("promo-assets"))
NOBODY_THERE = "127.0.0.1:1"


def run(
    env: Mapping[str, str], *arguments: str, input: bytes = b"", timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [COMMAND, *arguments],
        env=os.environ | env,
        input=input,
        capture_output=True,
        timeout=timeout,
        cwd="/",
    )


def one_line(done: subprocess.CompletedProcess[bytes], status: int) -> str:
    """What a failed command said: one line on standard error, nothing on standard output, no trace."""
    told = done.stderr.decode()
    assert done.returncode == status, told
    lines = [line for line in told.splitlines() if line.startswith("promo-assets: ")]
    assert len(lines) == 1, told
    assert told.rstrip().endswith(lines[0])
    assert "Traceback" not in told
    return lines[0].removeprefix("promo-assets: ")


@pytest.fixture
def env(services: Services) -> dict[str, str]:
    """The session's services with topics of this test's own."""
    name = uuid.uuid4().hex[:8]
    topics = {
        "PROMO_TOPIC_IN": f"in-{name}",
        "PROMO_TOPIC_OUT": f"out-{name}",
        "PROMO_TOPIC_DEAD_LETTERS": f"dead-{name}",
    }
    env = services.env | topics
    done = run(env, "up")
    assert done.returncode == 0, done.stderr
    return env


def campaign(**changed: object) -> dict[str, object]:
    now = int(time.time())
    return {
        "restaurant_id": "r-1",
        "adv_campaign_id": "c-1",
        "adv_campaign_content": "Пицца",
        "adv_campaign_owner": "Ann",
        "adv_campaign_owner_contact": "ann@r.example",
        "adv_campaign_datetime_start": now - 60,
        "adv_campaign_datetime_end": now + 3600,
        "datetime_created": now,
    } | changed


def lines(*campaigns: Mapping[str, object] | bytes) -> bytes:
    return b"".join(
        (each if isinstance(each, bytes) else json.dumps(each, ensure_ascii=False).encode()) + b"\n"
        for each in campaigns
    )


def messages(env: Mapping[str, str], topic: str) -> list[tuple[bytes | None, bytes | None]]:
    """(key, value) of all that lies in a topic of three partitions, partition by partition."""
    conf = {
        "bootstrap.servers": env["PROMO_KAFKA_BOOTSTRAP_SERVERS"],
        "group.id": "test",
        "enable.partition.eof": "true",
    }
    consumer = Consumer(conf | {"enable.auto.commit": "false"})
    found: list[tuple[bytes | None, bytes | None]] = []
    try:
        for partition in range(3):
            consumer.assign([TopicPartition(env[topic], partition, OFFSET_BEGINNING)])
            while True:
                message = consumer.poll(20)
                assert message is not None
                if message.error():
                    break
                found.append((message.key(), message.value()))
    finally:
        consumer.close()
    return found


def put(
    env: Mapping[str, str], topic: str, *records: tuple[bytes | None, bytes | None, dict[str, str]]
) -> None:
    producer = Producer({"bootstrap.servers": env["PROMO_KAFKA_BOOTSTRAP_SERVERS"]})
    for key, value, headers in records:
        producer.produce(env[topic], value=value, key=key, headers=headers, partition=0)
    assert producer.flush(20) == 0


# Arguments and settings


def test_help_is_quick_and_names_every_command():
    started = time.monotonic()
    done = run({}, "--help")
    took = time.monotonic() - started
    assert done.returncode == 0
    for name in (
        "demo",
        "up",
        "down",
        "status",
        "stream",
        "campaigns",
        "notifications",
        "dead-letters",
        "ledger",
        "lake",
        "push",
    ):
        assert f" {name} " in done.stdout.decode()
    assert took < 3  # 0.2 s on a quiet machine; Spark or Dagster would take longer than this


def test_help_imports_nothing_heavy():
    code = (
        "import sys; import promo_assets.cli; "
        "print([m for m in ('pyspark', 'dagster', 'psycopg', 'confluent_kafka') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        == b"[]\n"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--nothing"], "No such option: --nothing"),
        (["nothing"], "No such command 'nothing'"),
        (["stream", "run", "--fast"], "No such option: --fast"),
        (["notifications", "watch", "--count", "0"], "'--count'"),
        (["notifications", "watch", "--timeout", "soon"], "'--timeout'"),
        (["stream", "reprocess"], "say from where to read again: --from-time, or --from-offset"),
        (
            ["stream", "reprocess", "--from-time", "2026-01-01", "--from-offset", "0:1"],
            "say from where to read again",
        ),
        (
            ["stream", "reprocess", "--from-time", "yesterday"],
            "a time like 2026-01-31T12:00:00Z is needed",
        ),
        (["stream", "reprocess", "--from-time", "2999-01-01"], "that time has not come yet"),
        (["stream", "reprocess", "--from-time", "1969-12-31"], "Kafka's times begin with 1970"),
        (
            ["stream", "reprocess", "--from-offset", "0"],
            "--from-offset 0: PARTITION:OFFSET is needed, like 0:1200",
        ),
        (["stream", "reprocess", "--from-offset", "0:-1"], "PARTITION:OFFSET is needed"),
        (
            [
                "stream",
                "reprocess",
                "--from-offset",
                "0:5",
                "--from-offset",
                "1:2",
                "--from-offset",
                "0:9",
            ],
            "--from-offset 0:9: partition 0 is named twice, and 5 was said first",
        ),
        (["ledger", "clean", "--older-than", "0"], "'--older-than'"),
        (["campaigns", "cancel", "r", "c", "today"], "'DATETIME_CREATED'"),
        (["dead-letters", "replay", "--id"], "--id"),
        (
            ["dead-letters", "replay", "--id", "seven"],
            "--id seven: an id as `promo-assets dead-letters list` shows it is needed",
        ),
        (
            ["campaigns", "send", "/no/such/file"],
            "/no/such/file cannot be read: No such file or directory",
        ),
        (["campaigns", "send", "/"], "/ cannot be read: Is a directory"),
    ],
)
def test_a_wrong_argument_is_one_line_and_status_2(arguments: list[str], told: str):
    assert told in one_line(run({}, *arguments), 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo"],
        ["up"],
        ["down"],
        ["status"],
        ["stream", "run"],
        ["stream", "reprocess", "--from-offset", "0:0"],
        ["campaigns", "send"],
        ["campaigns", "waiting"],
        ["ledger", "apply"],
        ["ledger", "clean"],
        ["notifications", "watch"],
        ["push"],
        ["dead-letters", "list"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROMO_POSTGRES_URL", "nonsense"),
        ("PROMO_LAKE_DEPTH", "many"),
        ("PROMO_TOPIC_IN", "a topic"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_starts(
    arguments: list[str], name: str, value: str, tmp_path: Path
):
    home = tmp_path / "home"
    assert one_line(run({"PROMO_HOME": str(home), name: value}, *arguments), 2).startswith(
        f"{name}: "
    )
    assert not home.exists()


def test_debug_shows_the_trace():
    done = run({"PROMO_LAKE_DEPTH": "many"}, "--debug", "status")
    assert done.returncode == 2
    assert b"Traceback" in done.stderr


# What is not there


def test_status_without_services_says_so(tmp_path: Path):
    told = one_line(run({"PROMO_HOME": str(tmp_path)}, "status"), 1)
    assert (
        told == "the local Kafka and Postgres do not run: `promo-assets up` starts what is missing"
    )


def test_down_without_services_is_harmless(tmp_path: Path):
    done = run({"PROMO_HOME": str(tmp_path / "home")}, "down")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_without_a_broker_every_command_ends_soon(services: Services):
    env = services.env | {"PROMO_KAFKA_BOOTSTRAP_SERVERS": NOBODY_THERE}
    commands = (
        "stream run",
        "campaigns send",
        "notifications watch",
        "push",
        "dead-letters list",
        "dead-letters replay",
    )
    with ThreadPoolExecutor(len(commands)) as together:  # each waits some 10 s for an answer
        ends = together.map(
            lambda each: run(env, *each.split(), input=lines(campaign()), timeout=30), commands
        )
        for command, done in zip(commands, ends, strict=True):
            assert one_line(done, 1).startswith(f"Kafka at {NOBODY_THERE} gave no answer"), command


@pytest.mark.parametrize(
    ("arguments", "topic"),
    [
        (["stream", "run"], "PROMO_TOPIC_IN"),
        (["stream", "reprocess", "--from-offset", "0:0"], "PROMO_TOPIC_IN"),
        (["campaigns", "send"], "PROMO_TOPIC_IN"),
        (["campaigns", "send", "--raw"], "PROMO_TOPIC_IN"),
        (["notifications", "watch"], "PROMO_TOPIC_OUT"),
        (["push"], "PROMO_TOPIC_OUT"),
        (["dead-letters", "list"], "PROMO_TOPIC_DEAD_LETTERS"),
        (["dead-letters", "replay"], "PROMO_TOPIC_DEAD_LETTERS"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_missing_topic_is_named(arguments: list[str], topic: str, services: Services):
    done = run(services.env | {topic: "no-such-topic"}, *arguments, input=lines(campaign()))
    told = one_line(done, 1)
    assert (
        told
        == f"topic no-such-topic does not exist on Kafka at {services.kafka}: create it, or run `promo-assets up`"
    )


@pytest.mark.parametrize("command", ["stream run", "push"])
def test_without_postgres_what_works_with_it_says_so(env: dict[str, str], command: str):
    done = run(
        env | {"PROMO_POSTGRES_URL": "postgresql://promo:hidden@127.0.0.1:1/promo"},
        *command.split(),
    )
    assert one_line(done, 1).startswith("Postgres gave no connection: ")
    assert b"hidden" not in done.stderr


def test_offsets_that_the_topic_does_not_hold_are_refused_before_anything_starts(
    env: dict[str, str],
):
    put(env, "PROMO_TOPIC_IN", (b"k", b"{}", {}))
    for asked, told in (
        ("0:2", "partition 0 of topic {topic} holds offsets 0 to 1, not 2"),
        ("3:0", "topic {topic} has no partition 3: it has 0 to 2"),
    ):
        ended = one_line(run(env, "stream", "reprocess", "--from-offset", asked), 2)
        assert ended == "--from-offset: " + told.format(topic=env["PROMO_TOPIC_IN"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["ledger", "clean"],
        ["ledger", "apply"],
        ["campaigns", "waiting"],
        ["campaigns", "cancel", "r", "c", "1"],
    ],
)
def test_without_postgres_the_ledgers_commands_say_so(arguments: list[str]):
    done = run({"PROMO_POSTGRES_URL": "postgresql://promo:hidden@127.0.0.1:1/promo"}, *arguments)
    assert one_line(done, 1).startswith("Postgres gave no connection: connection failed")
    assert b"hidden" not in done.stderr


def test_without_the_local_postgres_it_is_said_how_to_start_it(tmp_path: Path):
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "services.json").write_text(
        '{"postgres_url": "postgresql://promo@127.0.0.1:1/promo"}'
    )
    told = one_line(run({"PROMO_HOME": str(tmp_path)}, "campaigns", "waiting"), 1)
    assert told.startswith("Postgres gave no connection: ")
    assert told.endswith(". Does it run? `promo-assets up` starts the local one")


def test_a_wrong_password_is_said_and_not_shown(services: Services):
    url = services.postgres_url.replace("promo:", "promo:wrong", 1)
    done = run(services.env | {"PROMO_POSTGRES_URL": url}, "stream", "run")
    assert "password authentication failed" in one_line(done, 1)
    assert url.encode() not in done.stderr


def test_up_and_status_print_plain_lines_without_an_outside_password(services: Services):
    shown = conninfo_without_password(services.postgres_url)
    expected = f"kafka {services.kafka}\npostgres {shown}\n".encode()
    assert run(services.env, "up").stdout == expected
    assert run(services.env, "status").stdout == expected


def conninfo_without_password(url: str) -> str:
    user, _, rest = url.removeprefix("postgresql://").partition(":")
    return f"postgresql://{user}@{rest.partition('@')[2]}"


def test_status_watched_as_json_tells_again_and_again_until_ctrl_c(services: Services):
    process = subprocess.Popen(
        [COMMAND, "status", "--watch", "--json"], env=os.environ | services.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout
    told = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == (b"", b"")
    assert process.returncode == 130
    assert [state["kafka"]["answers"] for state in told] == [True, True]


def test_status_watched_as_json_goes_to_the_pipe_also_from_a_terminal(services: Services):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "status", "--watch", "--json"],
        env=os.environ | services.env | {"TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    assert process.stdout
    try:
        assert json.loads(process.stdout.readline())["kafka"]["answers"]
    finally:
        process.terminate()
        assert process.wait(20) == 130
        os.close(ours)


def test_status_watched_without_services_goes_on_and_says_so(tmp_path: Path):
    process = subprocess.Popen(
        [COMMAND, "status", "--watch"],
        env=os.environ | {"PROMO_HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        told = [process.stderr.readline() for _ in range(2)]
    finally:
        process.terminate()
        assert process.wait(20) == 130
    assert (
        told
        == [
            "trouble: the local Kafka and Postgres do not run: `promo-assets up` starts what is missing\n"
        ]
        * 2
    )


def test_status_watched_on_a_terminal_is_one_picture_that_changes(
    env: dict[str, str], services: Services
):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "status", "--watch"], env=os.environ | env | {"COLUMNS": "150", "TERM": "xterm"}, stdout=theirs, stderr=theirs,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while shown.count(b"waiting") < 2:
        shown += os.read(ours, 10_000)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert b"stream" in shown and b"campaign" in shown
    assert b"\x1b[1A" in shown, "the second picture stands where the first one stood"
    os.close(ours)


def test_status_of_local_services_prints_the_owners_url(services: Services):
    local = {"PROMO_HOME": str(services.home)}
    assert (
        run(local, "status").stdout
        == f"kafka {services.kafka}\npostgres {services.postgres_url}\n".encode()
    )


# campaigns send


def test_sent_campaigns_arrive_as_they_are_with_the_restaurant_as_key(env: dict[str, str]):
    first, second = campaign(), campaign(restaurant_id="Ресторан", extra=[1])
    done = run(
        env,
        "campaigns",
        "send",
        input=b"\n" + lines(first) + b"  \r\n" + lines(second).rstrip(b"\n") + b"\r\n\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    assert f"sent 2 campaigns to topic {env['PROMO_TOPIC_IN']}" in done.stderr.decode()
    expected = [(b"r-1", lines(first).strip()), ("Ресторан".encode(), lines(second).strip())]
    assert sorted(messages(env, "PROMO_TOPIC_IN")) == sorted(expected)


def test_one_bad_line_and_nothing_is_sent(env: dict[str, str], tmp_path: Path):
    file = tmp_path / "campaigns.jsonl"
    file.write_bytes(b"\n" + lines(campaign(), campaign(restaurant_id=" "), b"{", campaign()))
    told = one_line(run(env, "campaigns", "send", str(file)), 2)
    assert (
        told == f"{file}, line 3: restaurant_id is blank (and 1 more wrong line). Nothing was sent"
    )
    assert messages(env, "PROMO_TOPIC_IN") == []


def test_a_message_larger_than_the_topic_takes_and_nothing_is_sent(env: dict[str, str]):
    # Bytes that do not compress: the broker's limit is on what comes over the wire.
    large = campaign(adv_campaign_content=os.urandom(1_500_000).hex())
    began = time.monotonic()
    told = one_line(run(env, "campaigns", "send", input=lines(campaign(), large, campaign())), 2)
    assert told.startswith("standard input, line 2 was refused by Kafka, so nothing was sent")
    assert time.monotonic() - began < 20, (
        "the messages behind it are not waited for, which would take 30 s"
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


def test_no_campaigns_are_sent_without_complaint(env: dict[str, str]):
    done = run(env, "campaigns", "send")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.startswith(b"sent 0 campaigns")


# notifications watch


def test_watch_prints_bytes_as_they_are_and_ends_at_the_count(env: dict[str, str]):
    put(
        env,
        "PROMO_TOPIC_OUT",
        *((b"c", value, {}) for value in (b'{"a":1}', "Ж".encode(), b"third")),
    )
    done = run(env, "notifications", "watch", "--count", "2")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        b'{"a":1}\n' + "Ж".encode() + b"\n",
        b"",
    )


def test_watch_ends_at_the_timeout(env: dict[str, str]):
    put(env, "PROMO_TOPIC_OUT", (b"c", b"only", {}))
    assert run(env, "notifications", "watch", "--timeout", "2").stdout == b"only\n"
    done = run(env, "notifications", "watch", "--timeout", "2", "--count", "2")
    assert (done.returncode, done.stdout) == (1, b"only\n")
    assert done.stderr == b"promo-assets: 1 of 2 notifications came within 2 s\n"


def test_watch_goes_on_until_ctrl_c(env: dict[str, str]):
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


def started(env: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    """In the background with signals as in a terminal, whatever the tests' own runner ignores."""

    def listen_to_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(
        [COMMAND, *arguments],
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=listen_to_signals,
    )


# dead-letters

HEADERS = {
    "reason": "the value is not JSON",
    "source_topic": "in",
    "source_partition": "2",
    "source_offset": "7",
}


@pytest.fixture
def letters(env: dict[str, str]) -> list[tuple[bytes | None, bytes | None]]:
    found: list[tuple[bytes | None, bytes | None]] = [
        (b"k", b"\x1b[31mred"),
        (None, None),
        (b"\xff", b"\xfe"),
    ]
    put(env, "PROMO_TOPIC_DEAD_LETTERS", *((key, value, HEADERS) for key, value in found))
    return found


def test_dead_letters_are_listed_as_json_lines(env: dict[str, str], letters: list):
    done = run(env, "dead-letters", "list")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each.pop("rejected_at")[:2] for each in found] == ["20"] * 3
    source = {
        "reason": "the value is not JSON",
        "source_topic": "in",
        "source_partition": 2,
        "source_offset": 7,
    }
    assert found == [
        {"id": "0-0", **source, "key": "k", "value": "\x1b[31mred"},
        {"id": "0-1", **source, "key": None, "value": None},
        {"id": "0-2", **source, "key_base64": "/w==", "value_base64": "/g=="},
    ]


def test_on_a_terminal_dead_letters_are_a_table_that_cannot_steer_it(
    env: dict[str, str], letters: list
):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "dead-letters", "list"],
        env=os.environ | env | {"COLUMNS": "200", "TERM": "dumb"},
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 10_000)
        except OSError:
            break
        if not part:
            break
        shown += part
    assert process.wait(30) == 0
    assert "\\x1b[31mred" in shown.decode()
    assert "\x1b[31m" not in shown.decode()
    assert "(null)" in shown.decode()


def test_a_replay_sends_key_and_value_as_they_came_and_only_once(
    env: dict[str, str], letters: list
):
    first = run(env, "dead-letters", "replay")
    assert first.returncode == 0, first.stderr
    assert f"sent 3 dead letters to topic {env['PROMO_TOPIC_IN']} again" in first.stderr.decode()
    assert by_text(messages(env, "PROMO_TOPIC_IN")) == by_text(letters)
    assert b"sent 0 dead letters" in run(env, "dead-letters", "replay").stderr
    put(env, "PROMO_TOPIC_DEAD_LETTERS", (b"new", b"letter", HEADERS))
    assert b"sent 1 dead letter to" in run(env, "dead-letters", "replay").stderr
    assert by_text(messages(env, "PROMO_TOPIC_IN")) == by_text([*letters, (b"new", b"letter")])


def test_a_replay_by_id_always_sends_and_is_not_sent_by_the_next_replay_of_all(
    env: dict[str, str], letters: list
):
    assert (
        b"sent 1 dead letter to"
        in run(env, "dead-letters", "replay", "--id", "0-1", "--id", "0-1").stderr
    )
    assert b"sent 1 dead letter to" in run(env, "dead-letters", "replay", "--id", "0-1").stderr
    assert by_text(messages(env, "PROMO_TOPIC_IN")) == by_text([letters[1]] * 2)
    assert b"sent 2 dead letters to" in run(env, "dead-letters", "replay").stderr
    assert by_text(messages(env, "PROMO_TOPIC_IN")) == by_text([*letters, letters[1]])


def test_a_replay_of_an_unknown_id_sends_nothing(env: dict[str, str], letters: list):
    told = one_line(run(env, "dead-letters", "replay", "--id", "0-0", "--id", "0-99"), 2)
    assert (
        told
        == f"--id 0-99: there is no such dead letter in topic {env['PROMO_TOPIC_DEAD_LETTERS']}. Nothing was sent"
    )
    assert messages(env, "PROMO_TOPIC_IN") == []
    assert b"sent 3 dead letters" in run(env, "dead-letters", "replay").stderr


def by_text(records: list[tuple[bytes | None, bytes | None]]) -> list[str]:
    return sorted(map(repr, records))


# stream run


@pytest.fixture
def followers(env: dict[str, str]) -> Iterator[str]:
    restaurant = f"r-{uuid.uuid4()}"
    with psycopg.connect(env["PROMO_POSTGRES_URL"]) as connection:
        for client in ("c1", "c2", "c2"):
            connection.execute(
                "INSERT INTO subscribers_restaurants (client_id, restaurant_id) VALUES (%s, %s)",
                (client, restaurant),
            )
    yield restaurant


def test_a_stream_that_has_caught_up_has_handled_all_input(env: dict[str, str], followers: str):
    late = int(time.time()) + 3600
    waiting = campaign(
        restaurant_id=followers,
        adv_campaign_id="later",
        adv_campaign_datetime_start=late,
        adv_campaign_datetime_end=late + 1,
    )
    run(env, "campaigns", "send", input=lines(campaign(restaurant_id=followers), waiting))
    run(env, "campaigns", "send", "--raw", input=b"broken\n")
    done = run(env, "stream", "run", "--until-caught-up", timeout=120)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert (
        b"the stream has ended: 1 campaign, 2 notifications, 1 rejected, 0 repeated, 0 expired, 1 waiting"
        in done.stderr
    )
    assert all(
        noise not in done.stderr for noise in (b"WARN", b"Traceback", b"log4j", b"Exception")
    )
    watched = run(
        env, "notifications", "watch", "--count", "2", "--timeout", "20"
    ).stdout.splitlines()
    assert sorted(json.loads(line)["client_id"] for line in watched) == ["c1", "c2"]
    assert [
        json.loads(line)["value"] for line in run(env, "dead-letters", "list").stdout.splitlines()
    ] == ["broken"]


@pytest.mark.parametrize(
    ("number", "when"),
    [(signal.SIGINT, b"the stream runs"), (signal.SIGTERM, b"this run has the lease")],
    ids=str,
)
def test_a_signal_ends_the_stream_within_10_seconds_and_leaves_nothing(
    number: signal.Signals, when: bytes, env: dict[str, str]
):
    with started(env, "stream", "run") as process:
        assert process.stderr
        for line in process.stderr:
            if when in line:
                break
        time.sleep(1)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        sent_at = time.monotonic()
        assert process.wait(20) == 0, process.stderr.read()
        assert time.monotonic() - sent_at < 10
        _, alive = psutil.wait_procs(children, timeout=2)
        assert alive == []
        assert b"Traceback" not in process.stderr.read()


def test_a_foreign_process_is_not_taken_for_a_leftover_dagster(tmp_path: Path):
    """`down` looks for a killed demo's Dagster by its record, and takes no other process for it."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as foreign:
        (tmp_path / "local").mkdir()
        record = {
            "pid": foreign.pid,
            "create_time": psutil.Process(foreign.pid).create_time(),
            "argument": "x",
            "port": 1,
        }
        (tmp_path / "local" / "dagster.pid").write_text(json.dumps(record))
        assert run({"PROMO_HOME": str(tmp_path)}, "down").returncode == 0
        assert foreign.poll() is None
        foreign.kill()


# demo


def test_the_demo_shows_what_lies_in_the_sinks_and_in_the_lake_and_leaves_no_process(
    env: dict[str, str], tmp_path: Path
):
    lake = tmp_path / "lake"
    own = {
        "PROMO_HOME": str(tmp_path),
        "PROMO_LAKE_ROOT": str(lake),
        "PROMO_CHECKPOINT_DIR": str(tmp_path / "checkpoint"),
    }
    before = datetime.now(UTC).date()
    done = run(env | own | QUICKLY, "demo", "--exit", timeout=500)
    told = done.stdout.decode()
    assert done.returncode == 0, told + done.stderr.decode()
    with psycopg.connect(env["PROMO_POSTGRES_URL"]) as connection:
        rows = connection.execute(
            "SELECT count(*) FROM subscribers_feedback WHERE starts_with(adv_campaign_id, 'demo-')"
        ).fetchall()
    assert figures(told, "all") == [11, rows[0][0], 11_880, 11_880]

    def in_files(folder: str) -> int:
        return sum(
            pq.ParquetFile(file).read([]).num_rows
            for file in (lake / "user" / folder).rglob("*.parquet")
        )

    (yesterday,) = re.findall(r"The marts as of (\S+): http://127.0.0.1:", told)
    assert date.fromisoformat(yesterday) in (
        before - timedelta(days=1),
        before,
    )  # the demo may see midnight
    read, kept, rejected = (
        figures(told, f"events {what}") for what in ("read from RAW", "kept", "rejected")
    )
    assert read == [28, in_files("master/data/geo/events")] == [28, 140_000]
    assert kept == [28, in_files("dosperados/data/dds/events")]
    assert rejected == [28, in_files("dosperados/data/dds/rejected_events")]
    marts = {
        "users": "users",
        "zones by week and month": "geo",
        "friends to recommend": "friend_recomendation",
    }
    for line, mart in marts.items():
        folder = f"dosperados/marts/{mart}"
        assert (
            figures(told, line)
            == [1, in_files(f"{folder}/date={yesterday}")]
            == [1, in_files(folder)]
        )
        assert in_files(folder) > 10
    with psycopg.connect(env["PROMO_POSTGRES_URL"]) as connection:
        ((campaigns, clients, answers),) = connection.execute(
            """SELECT count(DISTINCT adv_campaign_id), count(*), count(feedback) FROM subscribers_feedback
                WHERE starts_with(adv_campaign_id, 'demo-')"""
        ).fetchall()
    notified, answered = re.findall(r" notified ([\d,]+) clients, ([\d,]+) answered: http", told)[0]
    assert int(notified.replace(",", "")) >= clients  # other tests' are of this day, too
    assert int(answered.replace(",", "")) == answers
    assert 0.1 * clients < answers < 0.3 * clients
    assert in_files("dosperados/marts/campaign_results") >= campaigns
    assert [each for each in psutil.process_iter() if home_of(each) == str(tmp_path)] == []


def figures(told: str, line: str) -> list[int]:
    """The numbers of the printed table's line that begins so."""
    (rest,) = re.findall(rf"^  {line}  (.*)$", told, re.MULTILINE)
    return [int(number.replace(",", "")) for number in re.findall(r"(?<!\S)[\d,]+(?!\S)", rest)]


def home_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("PROMO_HOME")
    except (psutil.Error, OSError):
        return None
