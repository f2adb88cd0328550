"""`up` and `down` with a real Kafka and Postgres in a home of their own.

All tests of this file share the pair; each test leaves it running.
"""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from psycopg.conninfo import conninfo_to_dict

from promo_assets.local import processes, services
from promo_assets.local.postgres_account import remove_data_folder
from promo_assets_tests.support.local_services import (
    find_pids,
    ignore_progress,
    make_settings,
    read_arguments,
    read_messages,
    read_rows,
    write_row_and_message,
)

pytestmark = pytest.mark.slow


def up(home: Path) -> services.Endpoints:
    return services.up(make_settings(home), ignore_progress)


def read_pids(home: Path) -> dict[str, int]:
    return {
        name: json.loads((home / "local" / f"{name}.pid").read_text())["pid"]
        for name in ("kafka", "postgres")
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home") / "with space and ü"
    try:
        up(home)
        yield home
    finally:
        services.down(make_settings(home), ignore_progress)
        remove_data_folder(home / "local" / "postgres")


def test_up_creates_three_topics_of_three_partitions_and_the_tables(home: Path):
    endpoints = up(home)
    topics = AdminClient({"bootstrap.servers": endpoints.kafka}).list_topics(timeout=10).topics
    assert {
        name: len(topic.partitions) for name, topic in topics.items() if not name.startswith("__")
    } == {
        "promo_campaigns": 3,
        "promo_notifications": 3,
        "promo_dead_letters": 3,
    }
    assert read_rows(endpoints) == []


def test_a_second_up_starts_nothing(home: Path):
    before, endpoints = read_pids(home), up(home)
    assert read_pids(home) == before
    found = services.status(make_settings(home))
    assert (found.kafka, found.postgres_url) == (endpoints.kafka, endpoints.postgres_url)


def test_settings_that_are_loaded_after_up_have_the_endpoints(home: Path):
    endpoints, settings = up(home), make_settings(home)
    assert (settings.bootstrap_servers, settings.database_url) == (
        endpoints.kafka,
        endpoints.postgres_url,
    )


def test_data_survive_down_and_a_kill(home: Path):
    write_row_and_message(up(home), "before down")
    services.down(make_settings(home), ignore_progress)
    assert find_pids(home) == []
    assert services.status(make_settings(home)) == services.Status(kafka=None, postgres_url=None)
    write_row_and_message(up(home), "before kill")
    for pid in read_pids(home).values():
        os.kill(pid, signal.SIGKILL)
    endpoints = up(home)
    assert read_rows(endpoints)[-2:] == ["before down", "before kill"]
    assert read_messages(endpoints, 2) == ["before down", "before kill"]


def test_up_uses_other_ports_if_other_programs_have_taken_its_own(home: Path):
    old = up(home)
    write_row_and_message(old, "on the old ports")
    services.down(make_settings(home), ignore_progress)
    old_ports = [int(old.kafka.split(":")[1]), conninfo_to_dict(old.postgres_url)["port"]]
    with ExitStack() as stack:
        for port in old_ports:
            foreign = stack.enter_context(socket.socket())
            foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            foreign.bind(("127.0.0.1", int(port or 0)))
            foreign.listen()
        new = up(home)
    assert new.kafka != old.kafka
    assert new.postgres_url != old.postgres_url
    assert read_rows(new)[-1] == "on the old ports"
    assert "on the old ports" in read_messages(new, 3)
    assert up(home) == new


def test_another_programs_process_with_the_recorded_pid_is_never_ended(home: Path):
    services.down(make_settings(home), ignore_progress)
    with subprocess.Popen(["sleep", "100"]) as foreign:
        record = {
            "pid": foreign.pid,
            "create_time": psutil.Process(foreign.pid).create_time(),
            "argument": "kafka",
            "port": 1,
        }
        for name in ("kafka", "postgres"):
            (home / "local" / f"{name}.pid").write_text(json.dumps(record))
        lock = home / "local" / "postgres" / "data" / "postmaster.pid"
        lock.write_text(f"{foreign.pid}\n{lock.parent}\n")
        services.down(make_settings(home), ignore_progress)
        assert foreign.poll() is None
        for name in ("kafka", "postgres"):
            (home / "local" / f"{name}.pid").write_text(json.dumps(record))
        read_rows(up(home))
        assert foreign.poll() is None
        foreign.kill()


def test_up_starts_nothing_if_the_settings_name_endpoints(home: Path, tmp_path: Path):
    outside = up(home)
    settings = make_settings(
        tmp_path / "other",
        kafka_bootstrap_servers=outside.kafka,
        postgres_url=outside.postgres_url,
        topic_in="outside_campaigns",
    )
    assert services.up(settings, ignore_progress) == outside
    assert find_pids(tmp_path / "other") == []
    topics = AdminClient({"bootstrap.servers": outside.kafka}).list_topics(timeout=10).topics
    assert len(topics["outside_campaigns"].partitions) == 3
    services.down(settings, ignore_progress)
    assert read_rows(outside)


def test_a_broker_that_does_not_answer_is_reported_in_one_line(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("promo_assets.local.topics.KAFKA_TIMEOUT_S", 2)
    address = f"127.0.0.1:{processes.free_port()}"
    postgres_url = up(home).postgres_url
    settings = make_settings(tmp_path, kafka_bootstrap_servers=address, postgres_url=postgres_url)
    with pytest.raises(services.ServiceError, match=f"Kafka at {address}") as caught:
        services.up(settings, ignore_progress)
    assert "\n" not in str(caught.value)


def test_up_gives_way_to_a_broker_that_takes_the_port_at_the_last_moment(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = up(home)
    taken = int(first.kafka.rpartition(":")[2])
    find_port, answers = processes.free_port, iter([taken])

    def offer_taken_port_once(wanted: int | None = None) -> int:
        offered = next(answers, None) if wanted == taken else None
        return offered or find_port(wanted)

    monkeypatch.setattr(processes, "free_port", offer_taken_port_once)
    state = json.dumps({"kafka_port": taken})
    processes.write_atomically(tmp_path / "local" / "services.json", state)
    settings = make_settings(tmp_path, postgres_url=first.postgres_url)
    try:
        assert services.up(settings, ignore_progress).kafka not in (first.kafka, None)
    finally:
        services.down(settings, ignore_progress)
    assert next(answers, None) is None, "the taken port was not tried"


def test_the_error_for_a_broker_that_exits_names_its_log_and_quotes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
):
    monkeypatch.setattr("promo_assets.local.kafka.CONFIG", "process.roles=nonsense\n")
    settings = make_settings(tmp_path, postgres_url=up(home).postgres_url)
    (tmp_path / "local" / "kafka" / "data").mkdir(parents=True)
    with pytest.raises(
        services.ServiceError, match=r"Kafka exited while .*kafka\.log, .*: .*nonsense"
    ):
        services.up(settings, ignore_progress)


def test_the_password_is_in_no_command_line_and_in_no_file_that_others_can_read(home: Path):
    password = conninfo_to_dict(up(home).postgres_url)["password"]
    assert not [
        each
        for each in psutil.process_iter()
        if any(str(password) in part for part in read_arguments(each))
    ]
    readable = [
        path
        for path in (home / "local").glob("*")
        if path.is_file() and str(password) in path.read_text()
    ]
    assert {path.name: path.stat().st_mode & 0o777 for path in readable} == {
        "services.json": 0o600,
        "postgres.password": 0o600,
    }


def test_a_wrong_password_is_refused(home: Path):
    url = up(home).postgres_url.replace("promo:", "promo:x", 1)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url)
