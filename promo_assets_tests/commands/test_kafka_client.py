"""What every command that needs Kafka says where Kafka or a topic is missing."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from promo_assets_tests.conftest import Services
from promo_assets_tests.support.command_line import (
    UNREACHABLE_KAFKA,
    campaign,
    lines,
    one_line,
    run,
)


def test_without_a_broker_every_command_fails_soon_and_names_its_address(services: Services):
    env = services.env | {"PROMO_KAFKA_BOOTSTRAP_SERVERS": UNREACHABLE_KAFKA}
    commands = (
        "stream run",
        "campaigns send",
        "notifications watch",
        "push",
        "dead-letters list",
        "dead-letters replay",
    )
    with ThreadPoolExecutor(len(commands)) as pool:  # each waits some 10 s for an answer
        results = pool.map(
            lambda command: run(env, *command.split(), input=lines(campaign()), timeout=30),
            commands,
        )
        for command, done in zip(commands, results, strict=True):
            assert f"Kafka at {UNREACHABLE_KAFKA}" in one_line(done, 1), command


@pytest.mark.parametrize(
    ("arguments", "topic"),
    [
        (["stream", "run"], "PROMO_TOPIC_IN"),
        (["stream", "reprocess", "--from-offset", "0:0"], "PROMO_TOPIC_IN"),
        (["campaigns", "send"], "PROMO_TOPIC_IN"),
        (["campaigns", "send", "--raw"], "PROMO_TOPIC_IN"),
        (["notifications", "watch"], "PROMO_TOPIC_OUT"),
        (["push"], "PROMO_TOPIC_OUT"),
        (["dead-letters", "list"], "PROMO_TOPIC_DEAD_LETTERS"),
        (["dead-letters", "replay"], "PROMO_TOPIC_DEAD_LETTERS"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_missing_topic_is_named_with_the_command_that_creates_it(
    arguments: list[str], topic: str, services: Services
):
    done = run(services.env | {topic: "no-such-topic"}, *arguments, input=lines(campaign()))
    line = one_line(done, 1)
    for part in ("no-such-topic does not exist", services.kafka, "`promo-assets up`"):
        assert part in line
