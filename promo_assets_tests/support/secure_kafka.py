"""A real Kafka broker that only speaks SASL_SSL with SCRAM-SHA-512, and denies by default."""

import argparse
import itertools
import re
import secrets
import shlex
import signal
import subprocess
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
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
from promo_assets_tests.support.daemons import start_keeper

DOCUMENT = PROJECT_ROOT / "docs" / "security.md"
ADMIN = "admin"
_SCRAM = "listener.name.clients.scram-sha-512"
_SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"

# Only the broker knows the port of the controller's listener, so a connection to it is its own
# (User:ANONYMOUS). Clients use the other listener, with a login.
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
    """A broker that is ready inside `with SecureKafka(folder, users) as kafka`.

    `kafka.login(user)` is the client configuration of a user.
    """

    def __init__(self, folder: Path, users: list[str]) -> None:
        super().__init__(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(folder)
        self.passwords = {user: secrets.token_urlsafe(16) for user in (ADMIN, *users)}
        self.port = processes.free_port()
        self._certificate, self._private_key = self.authority.issue_loopback_certificate()
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def environment(self, user: str) -> dict[str, str]:
        """Return the settings with which the project's processes log in as this user."""
        return {
            "PROMO_KAFKA_BOOTSTRAP_SERVERS": self.address,
            "PROMO_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "PROMO_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "PROMO_KAFKA_USERNAME": user,
            "PROMO_KAFKA_PASSWORD": self.passwords[user],
            "PROMO_KAFKA_CA_FILE": str(self.authority.file),
        }

    def login(self, user: str = ADMIN) -> dict[str, str]:
        """Return a user's login under librdkafka's names, for the test's own clients."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": self.passwords[user],
            "ssl.ca.location": str(self.authority.file),
        }

    @cached_property  # a client must be kept until its answers have arrived
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address, **self.login()})

    def __enter__(self) -> Self:
        self._keeper = start_keeper(self.record)
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

    def grant(self, acl: AclBinding) -> None:
        (created,) = self.admin.create_acls([acl]).values()
        created.result()

    def revoke(self, acl: AclBinding) -> None:
        pattern = (acl.restype, acl.name, acl.resource_pattern_type, acl.principal)
        found = AclBindingFilter(*pattern, acl.host, acl.operation, acl.permission_type)
        (revoked,) = self.admin.delete_acls([found]).values()
        assert revoked.result() == [acl]

    def restart(self) -> None:
        """Kill the broker and start it again, as after a power cut."""
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
            f"{_SCRAM}.sasl.jaas.config": f"{_SCRAM_MODULE} {login}",
            "ssl.keystore.certificate.chain": _escape_newlines(self._certificate),
            "ssl.keystore.key": _escape_newlines(self._private_key),
            "ssl.truststore.certificates": _escape_newlines(self.authority.file.read_text()),
        }
        common = CONFIG.replace("inter.broker.listener.name=PLAINTEXT\n", "")
        processes.write_atomically(
            path, common + SECURITY + "".join(f"{key}={value}\n" for key, value in own.items())
        )


def _escape_newlines(pem: str) -> str:
    """Return a text as a value in a Java properties file."""
    return pem.replace("\n", "\\n")


def documented_acls(ledger_id: str) -> list[AclBinding]:
    """Return the ACLs that the `kafka-acls.sh` commands in docs/security.md create.

    The tests' users may do this and nothing else.
    """
    return [
        binding for command in _read_commands(ledger_id) for binding in _parse_bindings(command)
    ]


def _read_commands(ledger_id: str) -> list[list[str]]:
    text = DOCUMENT.read_text().replace("\\\n", " ").replace("$LEDGER_ID", ledger_id)
    return [
        shlex.split(line)[1:] for line in text.splitlines() if line.startswith("kafka-acls.sh ")
    ]


def _parse_bindings(command: list[str]) -> Iterator[AclBinding]:
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
        for name, operation in itertools.product(names, wanted.operation):
            yield make_acl(kind, name, operation, wanted.allow_principal, pattern)


def make_acl(
    kind: ResourceType, name: str, operation: str, principal: str, pattern: ResourcePatternType
) -> AclBinding:
    """Return an ACL that allows an operation, named as `kafka-acls.sh` does."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()
    allow = AclPermissionType.ALLOW
    return AclBinding(kind, name, pattern, principal, "*", AclOperation[words], allow)
