"""kill -9 of the stream at each point of a delivery, over a running load, favourites changing meanwhile: nothing lost, nothing doubled."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from promo_assets_tests.support.expectation import Favourites, campaign, problems
from promo_assets_tests.support.stream_process import StreamProcess
from promo_assets_tests.support.world import World

POINTS = [
    "offsets logged",
    "registered",
    "before the Kafka commit of dead letters",
    "after the Kafka commit of dead letters",
    "before the freeze",
    "frozen",
    "in the Postgres write",
    "after the Postgres commit",
    "while producing",
    "before the Kafka commit",
    "after the Kafka commit",
    "before the commit log",
]
RESTAURANTS, CLIENTS = 40, 400
NOW = int(time.time())


class Load:
    """Campaigns sent while streams die and come back; favourites change only while no stream lives."""

    def __init__(self, world: World, seed: int):
        self.world = world
        self.draw = random.Random(seed)
        self.sent: list[dict] = []
        self.broken = 0
        self.favourites: Favourites = {
            (f"client-{client}", f"restaurant-{restaurant}")
            for client in range(CLIENTS)
            for restaurant in self.draw.sample(range(RESTAURANTS), 8)
        }
        world.favour(sorted(self.favourites))
        self.snapshots = [set(self.favourites)]
        self.frozen: dict[tuple, int] = {}

    def send_some(self, number: int) -> None:
        """Due campaigns, some of them twice, and a broken message, into all partitions."""
        for partition in range(3):
            fresh = [
                campaign(
                    f"restaurant-{self.draw.randrange(RESTAURANTS)}",
                    f"promo-{len(self.sent) + index}",
                    NOW - 100,
                    NOW + 86_400,
                )
                for index in range(number)
            ]
            repeated = self.draw.sample(self.sent, min(3, len(self.sent)))
            self.sent += fresh
            self.broken += 1
            self.world.send(*fresh, *repeated, b"broken %d" % len(self.sent), partition=partition)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keeps sending in the background."""
        over = Event()

        def keep_sending() -> None:
            while not over.is_set():
                self.send_some(3)
                over.wait(0.5)

        sender = Thread(target=keep_sending)
        sender.start()
        try:
            yield
        finally:
            over.set()
            sender.join()

    def change_favourites(self) -> None:
        """A tenth of the favourites goes, as many come. What was stored before, must keep its audience."""
        for row in self.world.execute(
            "SELECT DISTINCT restaurant_id, adv_campaign_id, datetime_created FROM subscribers_feedback"
        ):
            self.frozen.setdefault(row, len(self.snapshots))
        gone = self.draw.sample(sorted(self.favourites), len(self.favourites) // 10)
        come = {
            (
                f"client-{self.draw.randrange(2 * CLIENTS)}",
                f"restaurant-{self.draw.randrange(RESTAURANTS)}",
            )
            for _ in gone
        }
        self.world.execute(
            "DELETE FROM subscribers_restaurants s USING unnest(%s::text[], %s::text[]) gone (c, r)"
            " WHERE (s.client_id, s.restaurant_id) = (c, r)",
            ([client for client, _ in gone], [restaurant for _, restaurant in gone]),
        )
        self.favourites = self.favourites - set(gone)
        self.world.favour(sorted(come - self.favourites))
        self.favourites |= come
        self.snapshots.append(set(self.favourites))

    def problems(self) -> list[str]:
        found = problems(self.world, self.sent, self.snapshots)
        for (
            key,
            known,
        ) in self.frozen.items():  # later favourites got nothing from what had been sent
            of_key = [
                value
                for value in self.sent
                if (value["restaurant_id"], value["adv_campaign_id"], value["datetime_created"])
                == key
            ]
            audience = {
                client
                for (client,) in self.world.execute(
                    "SELECT client_id FROM subscribers_feedback WHERE (restaurant_id, adv_campaign_id, datetime_created) = (%s, %s, %s)",
                    key,
                )
            }
            earlier = [
                {client for client, restaurant in favourites if restaurant == key[0]}
                for favourites in self.snapshots[:known]
            ]
            if of_key and audience not in earlier:
                found.append(f"{key}: its audience changed after it was first sent")
        letters = [tuple(letter.headers()[1:]) for letter in self.world.dead_letters()]
        if len(letters) != self.broken or len(set(letters)) != self.broken:
            found.append(
                f"{len(letters)} dead letters, {len(set(letters))} different ones, for {self.broken} broken messages"
            )
        return found


@pytest.mark.timeout(900)
def test_killed_at_every_point_nothing_is_lost_nothing_is_doubled(
    world: World, request: pytest.FixtureRequest
) -> None:
    repetition = (
        request.node.callspec.params.get("repetition", 0)
        if hasattr(request.node, "callspec")
        else 0
    )
    load = Load(world, seed=repetition)
    order = load.draw.sample(POINTS, len(POINTS))
    for point in order:
        with load.running():
            stream = StreamProcess.killed_at(world, point, count=1 + load.draw.randrange(2))
            try:
                stream.wait_until_killed()
            finally:
                stream.end()
        load.change_favourites()
    load.send_some(3)
    finish(world)
    assert len(world.rows()) > 5_000
    assert load.problems() == []


@pytest.mark.timeout(240)
def test_a_transaction_that_the_dead_run_left_open_does_not_keep_the_next_from_starting(
    world: World,
) -> None:
    world.send(b"broken", partition=0)
    stream = StreamProcess.killed_at(world, "before the Kafka commit of dead letters")
    try:
        stream.wait_until_killed()
    finally:
        stream.end()
    finish(world)
    assert len(world.dead_letters()) == 1


def test_control_without_the_ledgers_marks_the_same_comparison_finds_doubles(world: World) -> None:
    load = Load(world, seed=99)
    load.send_some(20)
    stream = StreamProcess.killed_at(world, "after the Kafka commit")
    try:
        stream.wait_until_killed()
    finally:
        stream.end()
    assert world.execute(
        "UPDATE promo_ledger.audience SET stored = false WHERE stored RETURNING shard"
    ), "something was stored when it was killed"
    finish(
        world,
        env={
            "PYTHONPATH": StreamProcess.HOOKS,
            "KILL_MARK": str(world.home / "none"),
            "BREAK": "published",
        },
    )
    found = load.problems()
    assert any(" rows for " in problem for problem in found), found[:5]
    assert any(" messages for " in problem for problem in found), found[:5]


def finish(world: World, env: dict[str, str] | None = None) -> None:
    last = StreamProcess(world, "--until-caught-up", env=env)
    try:
        assert last.process.wait(120) == 0, last.tail()
    finally:
        last.end()
