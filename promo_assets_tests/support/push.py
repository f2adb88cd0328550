"""Notifications for `promo-assets push` in a world of the test's own, and the feedback it wrote."""

import subprocess

from confluent_kafka import Producer

from promo_assets.stream.messages import Campaign, NotificationTemplate, client_json
from promo_assets_tests.support.command_line import COMMAND
from promo_assets_tests.support.world import World

PUSH = [COMMAND, "push"]
CAMPAIGN = Campaign("r", "c", "Two for one", "Ann", "ann@example.com", 100, 900, 50)
TRIGGERED_AT = 500  # unix seconds
INSERT_ROW = f"INSERT INTO subscribers_feedback VALUES (DEFAULT, {', '.join(['%s'] * 10)}, NULL)"


def push(world: World, *arguments: str, status: int = 0) -> str:
    """Run `push` to the end of the topic, and return what it writes to standard error."""
    done = subprocess.run(
        [*PUSH, "--until-caught-up", *arguments],
        env=world.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    return done.stderr


def notify(world: World, *clients: str, rows: bool = True) -> None:
    """Write messages, and rows unless `rows` is false, as the stream writes them."""
    producer = Producer({"bootstrap.servers": world.kafka})
    template = NotificationTemplate(CAMPAIGN, TRIGGERED_AT)
    for client in clients:
        encoded = client_json(client)
        producer.produce(
            world.topic_out,
            template.value(encoded),
            client.encode(),
            headers={"notification_id": template.notification_id(encoded)},
        )
    assert producer.flush(30) == 0
    if rows:
        for client in clients:
            world.execute(INSERT_ROW, (*CAMPAIGN, client, TRIGGERED_AT))


def read_feedback(world: World) -> dict[str, str | None]:
    """Return each client's feedback."""
    return dict(world.execute("SELECT client_id, feedback FROM subscribers_feedback"))
