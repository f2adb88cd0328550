"""`status`: what it prints where everything answers, and where only a part can be read."""

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from promo_assets.commands.console import count_of
from promo_assets_tests.conftest import Services
from promo_assets_tests.support.command_line import COMMAND, env, one_line, run
from promo_assets_tests.support.world import World, world

__all__ = ["env", "world"]


def status_lines(world: World, exit_status: int, **changed: str | None) -> list[str]:
    """Return what `status` writes to standard error; a variable that is None is removed."""
    env = {name: value for name, value in (world.env | changed).items() if value is not None}
    done = subprocess.run(
        [COMMAND, "status"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        check=False,
    )
    assert done.returncode == exit_status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


def listen_to_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Once


def test_local_services_are_printed_with_the_owner_s_url(services: Services):
    done = run({"PROMO_HOME": str(services.home)}, "status")
    assert done.stdout == f"kafka {services.kafka}\npostgres {services.postgres_url}\n".encode()


def test_without_services_it_names_them_and_the_command_that_starts_them(tmp_path: Path):
    line = one_line(run({"PROMO_HOME": str(tmp_path)}, "status"), 1)
    assert line.startswith("the local Kafka and Postgres are not running")
    assert "`promo-assets up`" in line


def test_without_the_local_kafka_what_postgres_knows_is_shown(world: World, tmp_path: Path) -> None:
    home = str(tmp_path / "nothing-runs")
    *state, problem = status_lines(world, 1, PROMO_KAFKA_BOOTSTRAP_SERVERS=None, PROMO_HOME=home)
    assert state == ["stream: has never run", "waiting: 0 campaigns"]
    assert problem.startswith("promo-assets: the local Kafka is not running")
    assert "`promo-assets up`" in problem


def test_a_role_without_rights_on_the_whole_ledger_is_shown_what_it_may_read(
    world: World,
) -> None:
    role = f"{world.postgres_url.rpartition('/')[2]}_looks"
    name = sql.Identifier(role)
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'l00ks'").format(name))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA promo_ledger TO {}").format(name))
        grant = "GRANT SELECT ON promo_ledger.heartbeat, promo_ledger.stream TO {}"
        connection.execute(sql.SQL(grant).format(name))
        try:
            url = f"postgresql://{role}:l00ks@{world.postgres_url.rpartition('@')[2]}"
            assert status_lines(world, 0, PROMO_POSTGRES_URL=url) == [
                "Postgres: answers: permission denied for table campaigns",
                "stream: has never run",
            ]
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(name))
            connection.execute(sql.SQL("DROP ROLE {}").format(name))


# With --watch


def test_watched_as_json_it_prints_until_ctrl_c(services: Services):
    process = subprocess.Popen(
        [COMMAND, "status", "--watch", "--json"],
        env=os.environ | services.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=listen_to_ctrl_c,
    )
    assert process.stdout
    states = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == (b"", b"")
    assert process.returncode == 130
    assert [state["kafka"]["answers"] for state in states] == [True, True]


def test_watched_as_json_it_prints_to_a_pipe_even_if_standard_error_is_a_terminal(
    services: Services,
):
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


def test_watched_without_services_it_goes_on_and_says_so(tmp_path: Path):
    process = subprocess.Popen(
        [COMMAND, "status", "--watch"],
        env=os.environ | {"PROMO_HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        first, second = (process.stderr.readline() for _ in range(2))
    finally:
        process.terminate()
        assert process.wait(20) == 130
    assert first == second
    assert first.startswith("problem: the local Kafka and Postgres are not running")
    assert "`promo-assets up`" in first


def test_watched_on_a_terminal_it_redraws_one_picture(env: dict[str, str], services: Services):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "status", "--watch"],
        env=os.environ | env | {"COLUMNS": "150", "TERM": "xterm"},
        stdout=theirs,
        stderr=theirs,
        preexec_fn=listen_to_ctrl_c,
    )
    os.close(theirs)
    output = b""
    while output.count(b"waiting") < 2:
        output += os.read(ours, 10_000)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert b"stream" in output and b"campaign" in output
    assert b"\x1b[1A" in output, "the second picture is drawn over the first one"
    os.close(ours)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 campaigns"), (1, "1 campaign"), (2, "2 campaigns"), (2_000, "2,000 campaigns")],
)
def test_a_count_of_one_is_singular(number: int, expected: str) -> None:
    assert count_of(number, "campaigns") == expected
