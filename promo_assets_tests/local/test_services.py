"""Real processes in a home of their own, one pair for the file; each test leaves it up."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from psycopg.conninfo import conninfo_to_dict

from promo_assets.local import processes, services
from promo_assets.local.postgres_account import remove_data_folder
from promo_assets.settings import PROJECT_ROOT, Settings


def settings_of(home: Path, **values: str) -> Settings:
    return Settings(home=home, _env_file=None, **values)  # pyright: ignore[reportCallIssue, reportArgumentType]


def silent(_: str) -> None:
    pass


def up(home: Path) -> services.Endpoints:
    return services.up(settings_of(home), silent)


def pids(home: Path) -> dict[str, int]:
    return {
        name: json.loads((home / "local" / f"{name}.pid").read_text())["pid"]
        for name in ("kafka", "postgres")
    }


def processes_of(home: Path) -> list[int]:
    folders = {str(home), str((home / "local" / "postgres").resolve())}
    of_home = [
        each
        for each in psutil.process_iter()
        if any(folder in part for part in _arguments(each) for folder in folders)
    ]
    return [each.pid for each in of_home]


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def write_row_and_message(endpoints: services.Endpoints, name: str) -> None:
    with psycopg.connect(endpoints.postgres_url) as connection:
        connection.execute(
            "INSERT INTO subscribers_restaurants (client_id, restaurant_id) VALUES (%s, 'r')",
            [name],
        )
    producer = Producer({"bootstrap.servers": endpoints.kafka})
    producer.produce("promo_campaigns", name)
    assert producer.flush(20) == 0


def read_rows(endpoints: services.Endpoints) -> list[str]:
    with psycopg.connect(endpoints.postgres_url) as connection:
        return [
            row[0]
            for row in connection.execute(
                "SELECT client_id FROM subscribers_restaurants ORDER BY id"
            )
        ]


def read_messages(endpoints: services.Endpoints, count: int) -> list[str]:
    consumer = Consumer(
        {
            "bootstrap.servers": endpoints.kafka,
            "group.id": os.urandom(4).hex(),
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["promo_campaigns"])
    try:
        return sorted(
            (message.value() or b"").decode() for message in consumer.consume(count, timeout=20)
        )
    finally:
        consumer.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home") / "with space and ü"
    try:
        up(home)
        yield home
    finally:
        services.down(settings_of(home), silent)
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


def test_up_twice_starts_nothing_again(home: Path):
    before, endpoints = pids(home), up(home)
    assert pids(home) == before
    found = services.status(settings_of(home))
    assert (found.kafka, found.postgres_url) == (endpoints.kafka, endpoints.postgres_url)


def test_settings_loaded_after_up_have_the_endpoints(home: Path):
    endpoints, settings = up(home), settings_of(home)
    assert (settings.bootstrap_servers, settings.database_url) == (
        endpoints.kafka,
        endpoints.postgres_url,
    )


def test_data_survive_down_and_a_kill(home: Path):
    write_row_and_message(up(home), "before down")
    services.down(settings_of(home), silent)
    assert processes_of(home) == []
    assert services.status(settings_of(home)) == services.Status(kafka=None, postgres_url=None)
    write_row_and_message(up(home), "before kill")
    for pid in pids(home).values():
        os.kill(pid, signal.SIGKILL)
    endpoints = up(home)
    assert read_rows(endpoints)[-2:] == ["before down", "before kill"]
    assert read_messages(endpoints, 2) == ["before down", "before kill"]


def test_ports_taken_by_others_are_left_to_them(home: Path):
    old = up(home)
    write_row_and_message(old, "on the old ports")
    services.down(settings_of(home), silent)
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


def test_a_foreign_process_with_a_recorded_pid_is_never_ended(home: Path):
    services.down(settings_of(home), silent)
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
        services.down(settings_of(home), silent)
        assert foreign.poll() is None
        for name in ("kafka", "postgres"):
            (home / "local" / f"{name}.pid").write_text(json.dumps(record))
        read_rows(up(home))
        assert foreign.poll() is None
        foreign.kill()


def test_outside_endpoints_start_nothing(home: Path, tmp_path: Path):
    outside = up(home)
    settings = settings_of(
        tmp_path / "other",
        kafka_bootstrap_servers=outside.kafka,
        postgres_url=outside.postgres_url,
        topic_in="outside_campaigns",
    )
    assert services.up(settings, silent) == outside
    assert processes_of(tmp_path / "other") == []
    assert (
        len(
            AdminClient({"bootstrap.servers": outside.kafka})
            .list_topics(timeout=10)
            .topics["outside_campaigns"]
            .partitions
        )
        == 3
    )
    services.down(settings, silent)
    assert read_rows(outside)


def test_an_outside_broker_that_does_not_answer_is_one_clear_line(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("promo_assets.local.topics.KAFKA_TIMEOUT_S", 2)
    address = f"127.0.0.1:{processes.free_port()}"
    with pytest.raises(services.ServiceError, match=f"Kafka at {address}") as caught:
        services.up(
            settings_of(
                tmp_path, kafka_bootstrap_servers=address, postgres_url=up(home).postgres_url
            ),
            silent,
        )
    assert "\n" not in str(caught.value)


def test_a_port_that_another_broker_takes_at_the_last_moment_is_not_insisted_on(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = up(home)
    taken = int(first.kafka.rpartition(":")[2])
    find_port, answers = processes.free_port, iter([taken])
    monkeypatch.setattr(
        processes,
        "free_port",
        lambda wanted=None: (
            next(answers, None) or find_port(wanted) if wanted == taken else find_port(wanted)
        ),
    )
    processes.write_atomically(
        tmp_path / "local" / "services.json", json.dumps({"kafka_port": taken})
    )
    settings = settings_of(tmp_path, postgres_url=first.postgres_url)
    try:
        assert services.up(settings, silent).kafka not in (first.kafka, None)
    finally:
        services.down(settings, silent)
    assert next(answers, None) is None, "the taken port was tried first"


def test_a_broker_that_dies_names_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
):
    monkeypatch.setattr("promo_assets.local.kafka.CONFIG", "process.roles=nonsense\n")
    settings = settings_of(tmp_path, postgres_url=up(home).postgres_url)
    (tmp_path / "local" / "kafka" / "data").mkdir(parents=True)
    with pytest.raises(
        services.ServiceError, match=r"ended while starting, see .*kafka\.log: .*nonsense"
    ):
        services.up(settings, silent)


def test_the_password_is_in_no_command_line_and_no_readable_file(home: Path):
    password = conninfo_to_dict(up(home).postgres_url)["password"]
    assert not [
        each
        for each in psutil.process_iter()
        if any(str(password) in part for part in _arguments(each))
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


ORDINARY_USER = """
import sys
from pathlib import Path
sys.prefix = sys.argv[1]
sys.path[:0] = sys.argv[3:]
from promo_assets.local import services
from promo_assets.settings import Settings
settings = Settings(home=Path(sys.argv[2]), _env_file=None)
print(services.up(settings, lambda line: None).kafka, flush=True)
sys.stdin.readline()
services.down(settings, lambda line: None)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="all tests run as an ordinary user already")
def test_two_ups_at_once_of_an_ordinary_user_start_one_pair():
    nobody = pwd.getpwnam("nobody")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    pythons = [sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"]
    usable = [
        each
        for each in pythons
        if _runs_as(
            nobody, each, f"import sys, os; sys.exit(not os.access({str(PROJECT_ROOT)!r}, os.X_OK))"
        )
    ]
    if not usable:
        pytest.skip(f"user nobody can run no {version}, or can't read the checkout")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    paths = [str(PROJECT_ROOT), *(part for part in sys.path if part.endswith("site-packages"))]
    command = [usable[0], "-c", ORDINARY_USER, sys.prefix, str(folder / "home"), *paths]
    started = [
        subprocess.Popen(
            command,
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            cwd="/",
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    try:
        answers = [each.stdout.readline().strip() for each in started if each.stdout]
        assert answers[0].startswith("127.0.0.1:")
        assert answers[0] == answers[1]
        owners = {
            psutil.Process(pid).username()
            for pid in processes_of(folder)
            if pid not in {each.pid for each in started}
        }
        assert owners == {"nobody"}
    finally:
        for each in started:
            each.communicate("\n", timeout=60)
        left = processes_of(folder)
        shutil.rmtree(folder)
    assert left == []


def _runs_as(user: pwd.struct_passwd, python: str, code: str) -> bool:
    try:
        done = subprocess.run(
            [python, "-c", code],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
        return done.returncode == 0
    except OSError:
        return False
