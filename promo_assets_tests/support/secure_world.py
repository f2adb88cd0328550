"""A world on a Kafka that only lets users do what docs/security.md grants them.

Test modules import the fixtures `kafka` and `world`.
"""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AclBinding, ResourceType

from promo_assets_tests.support.expectation import campaign
from promo_assets_tests.support.secure_kafka import SecureKafka, documented_acls
from promo_assets_tests.support.world import World, database

ID = "LEDGER"  # in place of the ledger's id, which differs in each test
ACLS = documented_acls(ID)
TOPICS = ("promo_campaigns", "promo_notifications", "promo_dead_letters")
NOW = int(time.time())
FOLLOWERS = {(f"client-{number}", f"r-{number % 5}") for number in range(500)}


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    users = {acl.principal.removeprefix("User:") for acl in ACLS}
    with SecureKafka(tmp_path_factory.mktemp("secure-kafka"), sorted(users)) as kafka:
        for acl in ACLS:
            if ID not in acl.name:
                kafka.grant(acl)
        yield kafka


@pytest.fixture
def world(kafka: SecureKafka, services, tmp_path: Path) -> Iterator[World]:
    """A world whose topics have the documented names: each test creates and deletes them."""
    with database(services.postgres_url, f"w{uuid.uuid4().hex[:10]}") as url:
        made = World(
            kafka.address,
            url,
            tmp_path,
            *TOPICS,
            extra_env=kafka.environment("promo_stream"),
            kafka_login=kafka.login(),
        )
        made.create_topics(*TOPICS)
        ledger_acls = [acl for acl in documented_acls(read_ledger_id(made)) if acl not in ACLS]
        for acl in ledger_acls:
            kafka.grant(acl)
        yield made
        for acl in ledger_acls:
            kafka.revoke(acl)
        made.delete_topics(*TOPICS)


def get_ledger_acl(world: World, acl: AclBinding) -> AclBinding:
    """Return the ACL with the id of the world's ledger in its name."""
    return documented_acls(read_ledger_id(world))[ACLS.index(acl)]


def read_ledger_id(world: World) -> str:
    ((ledger_id,),) = world.execute("SELECT ledger_id::text FROM promo_ledger.stream")
    return ledger_id


def describe_permission(acl: AclBinding) -> str:
    kind = {ResourceType.TRANSACTIONAL_ID: "transactional id"}.get(
        acl.restype, acl.restype.name.lower()
    )
    return f"{acl.operation.name} on {kind} {acl.name}"


def list_acl_params(user: str) -> list:
    return [
        pytest.param(acl, id=describe_permission(acl))
        for acl in ACLS
        if acl.principal == f"User:{user}"
    ]


def due(*names: str) -> list[dict]:
    return [
        campaign(f"r-{number % 5}", name, NOW - 100, NOW + 86_400)
        for number, name in enumerate(names)
    ]
