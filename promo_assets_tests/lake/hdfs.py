"""A real HDFS for the tests: a NameNode and a DataNode, each a process of its own, on loopback only."""

import json
import subprocess
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self
from xml.sax.saxutils import escape

import tenacity

from promo_assets.local import processes
from promo_assets.local.jars import hdfs_classpath
from promo_assets.local.java import java_home
from promo_assets.local.processes import ServiceError

READY_SECONDS = 90
STARTS = 3
PROGRAMS = {
    "NameNode": "org.apache.hadoop.hdfs.server.namenode.NameNode",
    "DataNode": "org.apache.hadoop.hdfs.server.datanode.DataNode",
}
# Nothing of the caller's: HADOOP_* and Java's options would change it. Java cannot open a path that is not ASCII without the locale.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

# Port 0 is any free one: the DataNode tells the NameNode its ports, and that tells the clients. Names are never looked up.
# Without the extension a NameNode that finds blocks again stays in safe mode for half a minute.
# The DataNode starts together with the NameNode, so it tries often to reach it.
CONFIG = {
    "dfs.replication": "1",
    "dfs.datanode.hostname": "127.0.0.1",
    "dfs.datanode.address": "127.0.0.1:0",
    "dfs.datanode.ipc.address": "127.0.0.1:0",
    "dfs.datanode.http.address": "127.0.0.1:0",
    "dfs.namenode.datanode.registration.ip-hostname-check": "false",
    "dfs.namenode.safemode.extension": "0",
    "ipc.client.connect.retry.interval": "200",
    "ipc.client.connect.max.retries": str(READY_SECONDS * 5),
}

# Ends the nodes when its input ends, as it does with the process that started them, however that ends: pytest-timeout
# and kill -9 leave no time for a fixture's end.
KEEPER = """
import sys
from pathlib import Path
from promo_assets.local import processes
sys.stdin.read()
for record in sys.argv[1:]:
    processes.stop(Path(record))
"""

# A proxy that the environment names has no way to this machine's loopback.
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Hdfs:
    """`with Hdfs(folder) as hdfs`: it can be written to from then on. Data and logs lie below the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = {node: folder / f"{node}.pid" for node in PROGRAMS}
        self.logs = {node: folder / f"{node}.log" for node in PROGRAMS}
        self._port = self._web_port = 0
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"hdfs://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        for attempt in range(1, STARTS + 1):
            try:
                self.start()
                self.wait()
                break
            except ServiceError:
                self.stop()
                # Somebody may take a port between the moment it is chosen and the moment it is used.
                if attempt == STARTS or "BindException" not in self.logs["NameNode"].read_text(errors="replace"):
                    raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Starts both nodes; `wait` tells when they can be used."""
        self._port, self._web_port = processes.free_port(), processes.free_port()
        self._configure()
        if not (self.folder / "name").exists():
            self._format()
        self._keeper = subprocess.Popen(
            [sys.executable, "-c", KEEPER, *map(str, self.records.values())], stdin=subprocess.PIPE, start_new_session=True
        )
        for node, program in PROGRAMS.items():
            own = f"-Djava.io.tmpdir={self._temporary(node)}"
            command = [*self._java(own), program]
            processes.start(command, argument=own, port=self._port, record=self.records[node], log=self.logs[node], env=ENVIRONMENT)

    def wait(self) -> None:
        """Returns when the NameNode says that a file can be written; it is asked, and both are watched in case they die."""

        @tenacity.retry(
            stop=tenacity.stop_after_delay(READY_SECONDS),
            wait=tenacity.wait_fixed(0.1),
            retry=tenacity.retry_if_result(lambda ready: not ready) | tenacity.retry_if_exception_type((OSError, HTTPException)),
            retry_error_callback=lambda _: self._fail("NameNode", f"was not ready within {READY_SECONDS} s"),
        )
        def ask() -> bool:
            for node, record in self.records.items():
                if processes.running(record) is None:
                    self._fail(node, "ended while starting")
            return self._ready()

        ask()

    def stop(self) -> None:
        """Ends both nodes; harmless if they do not run."""
        if self._keeper is not None:
            self._keeper.communicate(timeout=60)
            self._keeper = None

    def _ready(self) -> bool:
        query = f"http://127.0.0.1:{self._web_port}/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo"
        with DIRECTLY.open(query, timeout=5) as answer:
            beans = json.load(answer)["beans"]
        if not beans or beans[0]["Safemode"]:
            return False
        # A node that has registered is alive, but takes blocks only once it has told how much it holds.
        return any(node["capacity"] > 0 for node in json.loads(beans[0]["LiveNodes"]).values())

    def _fail(self, node: str, what: str) -> NoReturn:
        log = self.logs[node]
        raise ServiceError(f"the {node} of the tests' HDFS {what}, see {log}: {processes.last_lines(log)}")

    def _configure(self) -> None:
        own = {
            "fs.defaultFS": self.uri,
            "dfs.namenode.http-address": f"127.0.0.1:{self._web_port}",
            "dfs.namenode.name.dir": (self.folder / "name").as_uri(),
            "dfs.datanode.data.dir": (self.folder / "data").as_uri(),
            "hadoop.tmp.dir": str(self.folder / "tmp"),
        }
        properties = [f"<property><name>{name}</name><value>{escape(value)}</value></property>" for name, value in (CONFIG | own).items()]
        # Empty web pages stand before those in the jar: unpacking those would take as long as all the rest. JMX is asked without them.
        for pages in ("hdfs", "datanode"):
            (self.folder / "conf" / "webapps" / pages).mkdir(parents=True, exist_ok=True)
        (self.folder / "conf" / "hdfs-site.xml").write_text(f"<configuration>{''.join(properties)}</configuration>")

    def _format(self) -> None:
        command = [*self._java(f"-Djava.io.tmpdir={self._temporary('format')}"), PROGRAMS["NameNode"], "-format", "-nonInteractive"]
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=ENVIRONMENT)
        if done.returncode != 0:
            raise ServiceError(f"the tests' HDFS could not be formatted: {(done.stderr + done.stdout).strip()[-300:]!r}")

    def _temporary(self, program: str) -> Path:
        folder = self.folder / "tmp" / program
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _java(self, *options: str) -> list[str]:
        quick_start = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN"]
        return [str(java_home() / "bin" / "java"), *quick_start, *options, "-cp", f"{self.folder / 'conf'}:{hdfs_classpath()}"]
