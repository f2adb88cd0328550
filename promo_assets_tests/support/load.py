"""A load of campaigns for fault tests, and what must have come out of it."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from promo_assets_tests.support.expectation import Favourites, campaign, problems
from promo_assets_tests.support.world import World

RESTAURANTS, CLIENTS = 40, 400


class Load:
    """Campaigns that are sent while streams die and come back.

    Favourites change only while no stream is running.
    """

    def __init__(self, world: World, seed: int):
        self.world = world
        self.draw = random.Random(seed)
        self.now = int(time.time())
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
        """For each campaign that has rows: how many snapshots there were when that was seen."""

    def send_some(self, number: int) -> None:
        """Send due campaigns, some repeated ones and a broken message to each partition."""
        for partition in range(3):
            new = [self._make_campaign(len(self.sent) + index) for index in range(number)]
            repeated = self.draw.sample(self.sent, min(3, len(self.sent)))
            self.sent += new
            self.broken += 1
            self.world.send(*new, *repeated, b"broken %d" % len(self.sent), partition=partition)

    def _make_campaign(self, number: int) -> dict:
        restaurant = f"restaurant-{self.draw.randrange(RESTAURANTS)}"
        return campaign(restaurant, f"promo-{number}", self.now - 100, self.now + 86_400)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep sending in the background."""
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
        """Remove a tenth of the favourites and add as many.

        Campaigns that have rows by now must keep their audience.
        """
        for row in self.world.execute(
            "SELECT DISTINCT restaurant_id, adv_campaign_id, datetime_created"
            " FROM subscribers_feedback"
        ):
            self.frozen.setdefault(row, len(self.snapshots))
        removed = self.draw.sample(sorted(self.favourites), len(self.favourites) // 10)
        added = {
            (
                f"client-{self.draw.randrange(2 * CLIENTS)}",
                f"restaurant-{self.draw.randrange(RESTAURANTS)}",
            )
            for _ in removed
        }
        self.world.execute(
            "DELETE FROM subscribers_restaurants s USING unnest(%s::text[], %s::text[]) gone (c, r)"
            " WHERE (s.client_id, s.restaurant_id) = (c, r)",
            ([client for client, _ in removed], [restaurant for _, restaurant in removed]),
        )
        self.favourites = self.favourites - set(removed)
        self.world.favour(sorted(added - self.favourites))
        self.favourites |= added
        self.snapshots.append(set(self.favourites))

    def problems(self) -> list[str]:
        """Return everything that is wrong in the sinks, in words."""
        found = problems(self.world, self.sent, self.snapshots)
        found += self._changed_audiences()
        letters = [tuple(letter.headers()[1:]) for letter in self.world.dead_letters()]
        if len(letters) != self.broken or len(set(letters)) != self.broken:
            counts = f"{len(letters)} dead letters, {len(set(letters))} different ones"
            found.append(f"{counts}, for {self.broken} broken messages")
        return found

    def _changed_audiences(self) -> list[str]:
        """Favourites of later snapshots must get nothing of a campaign that had rows before."""
        sent = {
            (value["restaurant_id"], value["adv_campaign_id"], value["datetime_created"])
            for value in self.sent
        }
        found = []
        for key, known in self.frozen.items():
            rows = self.world.execute(
                "SELECT client_id FROM subscribers_feedback"
                " WHERE (restaurant_id, adv_campaign_id, datetime_created) = (%s, %s, %s)",
                key,
            )
            audience = {client for (client,) in rows}
            earlier = [
                {client for client, restaurant in favourites if restaurant == key[0]}
                for favourites in self.snapshots[:known]
            ]
            if key in sent and audience not in earlier:
                found.append(f"{key}: its audience changed after it was first sent")
        return found
