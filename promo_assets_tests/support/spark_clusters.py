"""Real Spark clusters on loopback: a standalone master with two workers, and YARN with one node."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import psutil
import pyspark

from promo_assets.jvm.jars import yarn_classpath
from promo_assets.jvm.java import java_home
from promo_assets.local import processes
from promo_assets_tests.support.daemons import DIRECTLY, QUICK_START, Daemons
from promo_assets_tests.support.lake.hdfs import Hdfs, write_configuration

SPARK_HOME = Path(pyspark.__path__[0])
EXECUTOR = "CoarseGrainedExecutorBackend"
WORKERS = ("worker 1", "worker 2")
CORES = 2


class Standalone(Daemons):
    """A standalone master and two workers with two cores each.

    Executors run the Python that the driver names, in the environment of the workers.
    """

    names = ("master", *WORKERS)
    what = "Spark cluster"

    def start(self) -> None:
        self.port, self._web_port = processes.free_port(), processes.free_port()
        own = str(self._write_properties())
        command = [self._spark_class(), "org.apache.spark.deploy.master.Master"]
        command += ["--properties-file", own, "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--webui-port", str(self._web_port)]
        self._launch("master", command, own)
        for worker in WORKERS:
            self.start_worker(worker)

    def start_worker(self, worker: str) -> None:
        own = str(self.temporary(worker))
        command = [self._spark_class(), "org.apache.spark.deploy.worker.Worker", self.master]
        command += ["--work-dir", own, "--host", "127.0.0.1", "--webui-port", "0"]
        command += ["--cores", str(CORES), "--memory", "2g"]
        self._launch(worker, command, own)

    def ready(self) -> bool:
        with DIRECTLY.open(f"http://127.0.0.1:{self._web_port}/json/", timeout=5) as answer:
            return json.load(answer)["aliveworkers"] == len(WORKERS)

    @property
    def master(self) -> str:
        return f"spark://127.0.0.1:{self.port}"

    def executors(self) -> list[psutil.Process]:
        return [each for name in WORKERS for each in _list_executors(self.records[name])]

    @property
    def env(self) -> dict[str, str]:
        return {"PROMO_SPARK_MASTER": self.master}

    def _write_properties(self) -> Path:
        """Write the master's properties, which close the REST port: it has no login."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "master.properties"
        file.write_text("spark.master.rest.enabled false\n")
        return file

    def _launch(self, name: str, command: list[str], own: str) -> None:
        environment = {
            "SPARK_HOME": str(SPARK_HOME),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "JAVA_HOME": str(java_home()),
            "SPARK_DAEMON_JAVA_OPTS": " ".join(QUICK_START),
            "SPARK_DAEMON_MEMORY": "256m",
        }
        self.launch(name, command, argument=own, port=self.port, env=environment)

    @staticmethod
    def _spark_class() -> str:
        return str(SPARK_HOME / "bin" / "spark-class")


class Yarn(Daemons):
    """A ResourceManager and a NodeManager on an HDFS.

    Containers have an environment of their own, with no folder of this project on their paths.
    """

    names = ("ResourceManager", "NodeManager")
    what = "YARN"

    def __init__(self, folder: Path, hdfs: Hdfs) -> None:
        super().__init__(folder)
        self._hdfs = hdfs
        self.conf = folder / "conf"

    def start(self) -> None:
        self._web_port, *ports = (processes.free_port() for _ in range(5))
        scheduler, tracker, rpc, admin = ports
        self._configure(
            {
                "yarn.resourcemanager.address": f"127.0.0.1:{rpc}",
                "yarn.resourcemanager.scheduler.address": f"127.0.0.1:{scheduler}",
                "yarn.resourcemanager.resource-tracker.address": f"127.0.0.1:{tracker}",
                "yarn.resourcemanager.admin.address": f"127.0.0.1:{admin}",
                "yarn.resourcemanager.webapp.address": f"127.0.0.1:{self._web_port}",
            }
        )
        for name in self.names:
            own = f"-Djava.io.tmpdir={self.temporary(name)}"
            command = [str(java_home() / "bin" / "java"), "-Xmx256m", *QUICK_START, own]
            command += ["--add-opens=java.base/java.lang=ALL-UNNAMED"]
            command += ["-cp", f"{self.conf}:{yarn_classpath()}"]
            command += [f"org.apache.hadoop.yarn.server.{name.lower()}.{name}"]
            self.launch(name, command, argument=own, port=rpc, env={"JAVA_HOME": str(java_home())})

    def ready(self) -> bool:
        metrics = "Hadoop:service=ResourceManager,name=ClusterMetrics"
        url = f"http://127.0.0.1:{self._web_port}/jmx?qry={metrics}"
        with DIRECTLY.open(url, timeout=5) as answer:
            beans = json.load(answer)["beans"]
        return bool(beans) and beans[0]["NumActiveNMs"] == 1

    def executors(self) -> list[psutil.Process]:
        return _list_executors(self.records["NodeManager"])

    @property
    def env(self) -> dict[str, str]:
        return {"PROMO_SPARK_MASTER": "yarn", "HADOOP_CONF_DIR": str(self.conf)}

    def _configure(self, addresses: Mapping[str, str]) -> None:
        for pages in ("cluster", "node"):
            (self.conf / "webapps" / pages).mkdir(parents=True, exist_ok=True)
        write_configuration(
            self.conf / "core-site.xml",
            {"fs.defaultFS": self._hdfs.uri, "hadoop.tmp.dir": str(self.folder / "tmp")},
        )
        node = {
            "yarn.resourcemanager.hostname": "127.0.0.1",
            "yarn.nodemanager.hostname": "127.0.0.1",
            "yarn.nodemanager.address": "127.0.0.1:0",
            "yarn.nodemanager.localizer.address": "127.0.0.1:0",
            "yarn.nodemanager.webapp.address": "127.0.0.1:0",
            "yarn.nodemanager.local-dirs": str(self.temporary("local")),
            "yarn.nodemanager.log-dirs": str(self.temporary("logs")),
            "yarn.nodemanager.resource.memory-mb": "6144",
            "yarn.nodemanager.resource.cpu-vcores": "8",
            "yarn.nodemanager.vmem-check-enabled": "false",
            "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "99.9",
            "yarn.scheduler.minimum-allocation-mb": "256",
            "yarn.nodemanager.env-whitelist": "JAVA_HOME",
            "yarn.resourcemanager.connect.retry-interval.ms": "200",
        }
        write_configuration(self.conf / "yarn-site.xml", node | addresses)
        queue = {
            "root.queues": "default",
            "root.default.capacity": "100",
            "maximum-am-resource-percent": "1",
        }
        properties = {f"yarn.scheduler.capacity.{name}": value for name, value in queue.items()}
        write_configuration(self.conf / "capacity-scheduler.xml", properties)


def _list_executors(record: Path) -> list[psutil.Process]:
    """Return the executors' JVMs among the descendants of the recorded process."""
    found = processes.running(record)
    descendants = found[0].children(recursive=True) if found else []
    return [process for process in descendants if _is_executor(_read_command(process))]


def _is_executor(command: list[str]) -> bool:
    is_java = os.path.basename(command[0]) == "java"
    return is_java and any(EXECUTOR in part for part in command)


def _read_command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() or [""]
    except psutil.Error:
        return [""]
