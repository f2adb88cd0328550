"""A Kafka broker of one node (KRaft), on loopback only, for a laptop.

Its data survive anything that ends the broker; ports may change between two starts.
"""

import re
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import NoReturn

import tenacity
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from promo_assets.jvm.jars import kafka_classpath
from promo_assets.jvm.java import java_home
from promo_assets.local import processes
from promo_assets.local.processes import PortTaken, ServiceError

READY_SECONDS = 90

# Replication and balancing are of one node; few partitions of the internal topics, since each costs files and start-up time.
# A killed broker's session has to end before the next may register: 3 s instead of the default's 9.
CONFIG = """\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
auto.create.topics.enable=false
num.partitions=3
offsets.topic.num.partitions=3
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=3
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=16777216
"""


class LocalKafka:
    def __init__(self, home: Path) -> None:
        self.folder = home / "local" / "kafka"
        self.record = home / "local" / "kafka.pid"
        self.log = home / "local" / "logs" / "kafka.log"
        self._data = self.folder / "data"
        self._config = self.folder / "server.properties"

    def start(self, port: int) -> None:
        """Starts a broker that is not running; `wait` tells when it can be used."""
        if "," in str(self.folder) or "\n" in str(self.folder):
            raise ServiceError(
                f"Kafka takes no comma in its folder's name: set PROMO_HOME to another folder than {self.folder.parents[1]}"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._data.exists():
            self._format()
        self._write_config(self._config, self._data, port)
        processes.start(
            [*self._java(), "-Xms128m", "-Xmx512m", "kafka.Kafka", str(self._config)],
            argument=str(self._config),
            port=port,
            record=self.record,
            log=self.log,
            env=_environment(),
        )

    def wait(self, port: int) -> None:
        """Returns when the broker answers; it is asked, and watched in case it dies."""
        # AuthorizationError connections are expected: quick to try again, and not worth a line.
        conf = {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "reconnect.backoff.max.ms": 200,
            "log_level": 0,
        }
        client = AdminClient(conf | self._client())

        @tenacity.retry(
            stop=tenacity.stop_after_delay(READY_SECONDS),
            wait=tenacity.wait_fixed(0.1),
            retry=tenacity.retry_if_exception_type(KafkaException),
            retry_error_callback=lambda _: self._fail(f"did not answer within {READY_SECONDS} s"),
        )
        def ask() -> str | None:
            if processes.running(self.record) is None:
                self._fail("ended while starting")
            return client.list_topics(timeout=1).cluster_id

        if ask() != self._cluster_id():
            raise PortTaken(f"another program answers on port {port} instead of the local Kafka")

    def _fail(self, what: str) -> NoReturn:
        raise ServiceError(
            f"the local Kafka {what}, see {self.log}: {processes.last_lines(self.log)}"
        )

    def _format(self) -> None:
        """Makes an empty data folder, in one step for whoever looks."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        config = self.folder / "format.properties"
        self._write_config(config, fresh, 1)
        cluster = (
            urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        )  # a leading - looks like an option
        command = [
            *self._java(),
            "-XX:TieredStopAtLevel=1",
            "kafka.tools.StorageTool",
            "format",
            "-t",
            cluster,
            "-c",
            str(config),
        ]
        command += self._format_options()
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=_environment(),
        )
        if done.returncode != 0:
            raise ServiceError(
                f"the local Kafka's folder {fresh} could not be formatted: {(done.stderr or done.stdout).strip()[-300:]!r}"
            )
        fresh.rename(self._data)

    def _client(self) -> dict[str, str]:
        """What a client needs beyond the address; nothing here: the broker speaks plain text, on loopback."""
        return {}

    def _format_options(self) -> list[str]:
        return []

    def _write_config(self, path: Path, data: Path, port: int) -> None:
        controller = (
            processes.free_port()
        )  # nobody else needs to know it, so it is another one each time
        listeners = {
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": _escape(str(data)),
        }
        processes.write_atomically(
            path, CONFIG + "".join(f"{key}={value}\n" for key, value in listeners.items())
        )

    def _cluster_id(self) -> str | None:
        found = re.search(
            r"^cluster\.id=(.+)$", (self._data / "meta.properties").read_text(), re.MULTILINE
        )
        return found[1] if found else None

    def _java(self) -> list[str]:
        return [
            str(java_home() / "bin" / "java"),
            "-XX:+UseSerialGC",
            "-Dlog4j2.level=WARN",
            "-cp",
            kafka_classpath(),
        ]


def _environment() -> dict[str, str]:
    """Nothing of the caller's: Java options or a debug port meant for another program would change or stop the broker."""
    return {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
    }  # else Java cannot open a path that is not ASCII


def _escape(value: str) -> str:
    """As Java's properties files want it."""
    return "".join(
        c if c.isascii() and c != "\\" else "\\\\" if c == "\\" else _utf16(c) for c in value
    )


def _utf16(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
