"""A real HDFS for the tests: a NameNode and a DataNode process that listen on loopback only."""

import json
import subprocess
from pathlib import Path
from xml.sax.saxutils import escape

from promo_assets.jvm.jars import hdfs_classpath
from promo_assets.jvm.java import java_home
from promo_assets.local import processes
from promo_assets.local.processes import ServiceError
from promo_assets_tests.support.daemons import (
    DIRECTLY,
    ENVIRONMENT,
    QUICK_START,
    READY_SECONDS,
    Daemons,
)

PROGRAMS = {
    "NameNode": "org.apache.hadoop.hdfs.server.namenode.NameNode",
    "DataNode": "org.apache.hadoop.hdfs.server.datanode.DataNode",
}

# Port 0 is any free port: the DataNode reports its ports to the NameNode, which passes them on to
# clients. Host names are never looked up.
# With the default extension, a NameNode that finds existing blocks stays in safe mode for half a
# minute. The DataNode starts together with the NameNode, so it tries to connect often.
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


class Hdfs(Daemons):
    """An HDFS with data and logs below a folder; `with Hdfs(folder)` waits until it is ready."""

    names = tuple(PROGRAMS)
    what = "HDFS"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port = self._web_port = 0

    @property
    def uri(self) -> str:
        return f"hdfs://127.0.0.1:{self._port}"

    @property
    def conf(self) -> Path:
        """The value of HADOOP_CONF_DIR for clients."""
        return self.folder / "conf"

    def start(self) -> None:
        """Start both nodes; `wait` waits until they are ready."""
        self._port, self._web_port = processes.free_port(), processes.free_port()
        self._configure()
        if not (self.folder / "name").exists():
            self._format()
        for node, program in PROGRAMS.items():
            own = f"-Djava.io.tmpdir={self.temporary(node)}"
            self.launch(node, [*self._java(own), program], argument=own, port=self._port)

    def ready(self) -> bool:
        query = (
            f"http://127.0.0.1:{self._web_port}/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo"
        )
        with DIRECTLY.open(query, timeout=5) as answer:
            beans = json.load(answer)["beans"]
        if not beans or beans[0]["Safemode"]:
            return False
        # A node that has registered is alive, but accepts blocks only after it has reported its
        # capacity.
        return any(node["capacity"] > 0 for node in json.loads(beans[0]["LiveNodes"]).values())

    def _configure(self) -> None:
        own = {
            "dfs.namenode.http-address": f"127.0.0.1:{self._web_port}",
            "dfs.namenode.name.dir": (self.folder / "name").as_uri(),
            "dfs.datanode.data.dir": (self.folder / "data").as_uri(),
        }
        # Empty web pages come before those in the jar on the class path: unpacking the latter would
        # take as long as everything else. JMX works without them.
        for pages in ("hdfs", "datanode"):
            (self.conf / "webapps" / pages).mkdir(parents=True, exist_ok=True)
        write_configuration(self.conf / "hdfs-site.xml", CONFIG | own)
        write_configuration(
            self.conf / "core-site.xml",
            {"fs.defaultFS": self.uri, "hadoop.tmp.dir": str(self.folder / "tmp")},
        )

    def _format(self) -> None:
        command = [
            *self._java(f"-Djava.io.tmpdir={self.temporary('format')}"),
            PROGRAMS["NameNode"],
            "-format",
            "-nonInteractive",
        ]
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
        )
        if done.returncode != 0:
            output = (done.stderr + done.stdout).strip()
            raise ServiceError(f"the tests' HDFS could not be formatted: {output[-300:]!r}")

    def _java(self, *options: str) -> list[str]:
        return [
            str(java_home() / "bin" / "java"),
            "-Xmx256m",
            *QUICK_START,
            *options,
            "-cp",
            f"{self.conf}:{hdfs_classpath()}",
        ]


def write_configuration(file: Path, properties: dict[str, str]) -> None:
    """Write a configuration file of Hadoop."""
    elements = [
        f"<property><name>{name}</name><value>{escape(value)}</value></property>"
        for name, value in properties.items()
    ]
    file.write_text(f"<configuration>{''.join(elements)}</configuration>")
