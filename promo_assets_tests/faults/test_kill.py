"""The stream is killed with SIGKILL at each point of a delivery while campaigns keep coming.

Favourites change between the kills. Nothing may be lost and nothing doubled.
"""

import pytest

from promo_assets_tests.support.load import Load
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


@pytest.mark.timeout(900)
def test_killed_at_every_point_nothing_is_lost_nothing_is_doubled(
    world: World, request: pytest.FixtureRequest
) -> None:
    callspec = getattr(request.node, "callspec", None)
    load = Load(world, seed=callspec.params.get("repetition", 0) if callspec else 0)
    order = load.draw.sample(POINTS, len(POINTS))
    for point in order:
        with load.running():
            kill_at(world, point, count=1 + load.draw.randrange(2))
        load.change_favourites()
    load.send_some(3)
    finish(world)
    assert len(world.rows()) > 5_000
    assert load.problems() == []


@pytest.mark.timeout(240)
def test_a_transaction_that_a_dead_run_left_open_does_not_keep_the_next_run_from_starting(
    world: World,
) -> None:
    world.send(b"broken", partition=0)
    kill_at(world, "before the Kafka commit of dead letters")
    finish(world)
    assert len(world.dead_letters()) == 1


def test_control_without_the_ledgers_marks_the_same_comparison_finds_doubles(world: World) -> None:
    load = Load(world, seed=99)
    load.send_some(20)
    kill_at(world, "after the Kafka commit")
    assert world.execute(
        "UPDATE promo_ledger.audience SET stored = false WHERE stored RETURNING shard"
    ), "something was stored when the stream was killed"
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


def kill_at(world: World, point: str, count: int = 1) -> None:
    """Run a stream until it is killed at the `count`th passing of a point."""
    stream = StreamProcess.killed_at(world, point, count)
    try:
        stream.wait_until_killed()
    finally:
        stream.end()


def finish(world: World, env: dict[str, str] | None = None) -> None:
    """Run a stream until it has caught up."""
    stream = StreamProcess(world, "--until-caught-up", env=env)
    try:
        assert stream.process.wait(120) == 0, stream.tail()
    finally:
        stream.end()
