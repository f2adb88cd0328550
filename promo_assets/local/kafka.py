"""Runs a Kafka broker of one node (KRaft) on loopback, for a laptop.

The data survive whatever ends the broker. The ports may change from one start to the next.
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

from promo_assets.jvm.class_data import archive_options
from promo_assets.jvm.jars import kafka_classpath
from promo_assets.jvm.java import java_home
from promo_assets.local import processes
from promo_assets.local.processes import PortTaken, ServiceError

READY_SECONDS = 90

# One node needs no replication and no balancing. The internal topics have few partitions, because
# each costs files and start-up time. After a broker was killed, the next one can register only when
# the killed one's session has ended: after 3 s instead of the default of 9.
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
        """Start the broker; it must not be running. `wait` returns when it can be used."""
        if "," in str(self.folder) or "\n" in str(self.folder):
            raise ServiceError(
                "Kafka cannot use a folder with a comma or a line break in its path. Set"
                f" PROMO_HOME to another folder than {self.folder.parents[1]}"
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
        """Wait until the broker answers. Raises `ServiceError` if it does not, or if it exits."""
        # Refused connections are expected while the broker starts: retry fast, and do not log them.
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
        def read_cluster_id() -> str | None:
            if processes.running(self.record) is None:
                self._fail("exited while it was starting")
            return client.list_topics(timeout=1).cluster_id

        if read_cluster_id() != self._cluster_id():
            raise PortTaken(f"Another program answers on port {port} instead of the local Kafka")

    def _fail(self, problem: str) -> NoReturn:
        raise ServiceError(
            f"The local Kafka {problem}. See {self.log}, which ends with:"
            f" {processes.last_lines(self.log)}"
        )

    def _format(self) -> None:
        """Create an empty data folder; it appears in one step, already formatted."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        config = self.folder / "format.properties"
        self._write_config(config, fresh, 1)
        # The id must not begin with "-", which would look like an option.
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        java = [*self._java(), "-XX:TieredStopAtLevel=1"]
        command = [*java, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(config)]
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
            output = (done.stderr or done.stdout).strip()[-300:]
            raise ServiceError(f"Cannot format the local Kafka's folder {fresh}: {output!r}")
        fresh.rename(self._data)

    def _client(self) -> dict[str, str]:
        """Return what a client needs besides the address: nothing, for plain text on loopback."""
        return {}

    def _format_options(self) -> list[str]:
        return []

    def _write_config(self, path: Path, data: Path, port: int) -> None:
        # No client uses the controller's port, so any free port will do at each start.
        controller = processes.free_port()
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
        properties = (self._data / "meta.properties").read_text()
        match = re.search(r"^cluster\.id=(.+)$", properties, re.MULTILINE)
        return match[1] if match else None

    def _java(self) -> list[str]:
        options = [*archive_options("kafka"), "-XX:+UseSerialGC", "-Dlog4j2.level=WARN"]
        return [str(java_home() / "bin" / "java"), *options, "-cp", kafka_classpath()]


def _environment() -> dict[str, str]:
    """Return an environment with nothing of the caller's.

    Java options or a debug port meant for another program would change or stop the broker. Without
    the locale, Java cannot open a path that is not ASCII.
    """
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def _escape(value: str) -> str:
    """Escape a value for one of Java's properties files."""
    return "".join(
        c if c.isascii() and c != "\\" else "\\\\" if c == "\\" else _utf16(c) for c in value
    )


def _utf16(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
