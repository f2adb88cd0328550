"""A real broker that speaks nothing but SASL_SSL with SCRAM-SHA-512 to its clients, and denies what no ACL allows."""

import argparse
import re
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from promo_assets.local import processes
from promo_assets.local.kafka import CONFIG, LocalKafka
from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.support.authority import Authority
from promo_assets_tests.support.daemons import KEEPER

DOCUMENT = PROJECT_ROOT / "docs" / "security.md"
ADMIN = "admin"

# The controller's listener is this one process's own: nobody else knows its port. Whoever comes by the other one has a name.
SECURITY = """\
listener.security.protocol.map=CLIENTS:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:ANONYMOUS;User:admin
ssl.keystore.type=PEM
ssl.truststore.type=PEM
"""


class SecureKafka(LocalKafka):
    """`with SecureKafka(folder, users) as kafka`: it can be used from then on, with `kafka.login(user)`."""

    def __init__(self, folder: Path, users: list[str]) -> None:
        super().__init__(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(folder)
        self.passwords = {user: secrets.token_urlsafe(16) for user in (ADMIN, *users)}
        self.port = processes.free_port()
        self._certificate, self._private_key = self.authority.for_loopback()
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def environment(self, user: str) -> dict[str, str]:
        """The settings by which one of the project's processes gets in as this user."""
        return {
            "PROMO_KAFKA_BOOTSTRAP_SERVERS": self.address,
            "PROMO_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "PROMO_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "PROMO_KAFKA_USERNAME": user,
            "PROMO_KAFKA_PASSWORD": self.passwords[user],
            "PROMO_KAFKA_CA_FILE": str(self.authority.file),
        }

    def login(self, user: str = ADMIN) -> dict[str, str]:
        """The same under librdkafka's names, for a client of the test's own."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": self.passwords[user],
            "ssl.ca.location": str(self.authority.file),
        }

    @cached_property  # an answer comes only as long as somebody holds the client
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address, **self.login()})

    def __enter__(self) -> Self:
        self._keeper = subprocess.Popen(
            [sys.executable, "-c", KEEPER, str(self.record)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self.start(self.port)
            self.wait(self.port)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def restart(self) -> None:
        """As after a power cut."""
        processes.stop(self.record, gently=signal.SIGKILL)
        self.start(self.port)
        self.wait(self.port)

    def _end(self) -> None:
        if self._keeper is not None:
            self._keeper.communicate(timeout=60)
            self._keeper = None

    def _client(self) -> dict[str, str]:
        return self.login()

    def _format_options(self) -> list[str]:
        return [
            f"--add-scram=SCRAM-SHA-512=[name={user},password={password}]"
            for user, password in self.passwords.items()
        ]

    def _write_config(self, path: Path, data: Path, port: int) -> None:
        controller = processes.free_port()
        login = f'required username="{ADMIN}" password="{self.passwords[ADMIN]}";'
        own = {
            "inter.broker.listener.name": "CLIENTS",
            "listeners": f"CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"CLIENTS://127.0.0.1:{port}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(data),
            "listener.name.clients.scram-sha-512.sasl.jaas.config": f"org.apache.kafka.common.security.scram.ScramLoginModule {login}",
            "ssl.keystore.certificate.chain": _one_line(self._certificate),
            "ssl.keystore.key": _one_line(self._private_key),
            "ssl.truststore.certificates": _one_line(self.authority.file.read_text()),
        }
        common = CONFIG.replace("inter.broker.listener.name=PLAINTEXT\n", "")
        processes.write_atomically(
            path, common + SECURITY + "".join(f"{key}={value}\n" for key, value in own.items())
        )


def _one_line(pem: str) -> str:
    """As Java's properties files want it."""
    return pem.replace("\n", "\\n")


def documented_acls(ledger_id: str) -> list[AclBinding]:
    """What the `kafka-acls.sh` commands of the document make: the tests' users may do this and nothing else."""
    return [binding for command in _commands(ledger_id) for binding in _bindings(command)]


def _commands(ledger_id: str) -> list[list[str]]:
    text = DOCUMENT.read_text().replace("\\\n", " ").replace("$LEDGER_ID", ledger_id)
    return [
        shlex.split(line)[1:] for line in text.splitlines() if line.startswith("kafka-acls.sh ")
    ]


def _bindings(command: list[str]) -> Iterator[AclBinding]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap-server", required=True)
    parser.add_argument("--command-config", required=True)
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--allow-principal", required=True)
    parser.add_argument("--operation", action="append", required=True)
    parser.add_argument(
        "--resource-pattern-type", default="literal", choices=["literal", "prefixed"]
    )
    for kind in ("--topic", "--group", "--transactional-id"):
        parser.add_argument(kind, action="append", default=[])
    wanted = parser.parse_args(command)
    pattern = ResourcePatternType[wanted.resource_pattern_type.upper()]
    named = {
        ResourceType.TOPIC: wanted.topic,
        ResourceType.GROUP: wanted.group,
        ResourceType.TRANSACTIONAL_ID: wanted.transactional_id,
    }
    for kind, names in named.items():
        for name in names:
            for operation in wanted.operation:
                yield acl(kind, name, operation, wanted.allow_principal, pattern)


def acl(
    kind: ResourceType, name: str, operation: str, principal: str, pattern: ResourcePatternType
) -> AclBinding:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()
    return AclBinding(
        kind, name, pattern, principal, "*", AclOperation[words], AclPermissionType.ALLOW
    )
