"""Checkpoints, topics, sequences and tables start over or go back: nothing is lost or repeated.

No identifier that comes from another system is trusted alone (docs/adr/0004).
"""

import shutil
import time
from dataclasses import replace

from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.world import ROW_FIELDS, World

NOW = int(time.time())
FOLLOWERS = {(f"client-{number}", "r") for number in range(50)}


def due(*names: str) -> list[dict]:
    return [campaign("r", name, NOW - 100, NOW + 86_400) for name in names]


def test_a_new_checkpoint_reads_everything_again_and_sends_only_what_is_new(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a", "b"), b"broken")
    catch_up(world)
    shutil.rmtree(world.home / "checkpoint")
    world.send(*due("c"), b"broken too")
    metrics = catch_up(world).metrics
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []
    assert sorted(letter.value() for letter in world.dead_letters()) == [b"broken", b"broken too"]
    assert metrics.repeated == 2


def test_a_restored_checkpoint_gives_the_same_batch_numbers_to_other_messages(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a"), b"broken")
    catch_up(world)
    shutil.copytree(world.home / "checkpoint", world.home / "kept")
    world.send(*due("b"))
    catch_up(world)
    shutil.rmtree(world.home / "checkpoint")
    shutil.copytree(world.home / "kept", world.home / "checkpoint")
    world.send(*due("c"))  # the same query's same batch number now holds b and c
    catch_up(world)
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []
    assert [letter.value() for letter in world.dead_letters()] == [b"broken"]


def test_other_topics_get_only_campaigns_that_no_topic_had_before(world: World, catch_up) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a", "b"), b"broken")
    catch_up(world)
    other = replace(
        world,
        topic_in=world.topic_in + "2",
        topic_out=world.topic_out + "2",
        topic_dead_letters=world.topic_dead_letters + "2",
    )
    other.create_topics(other.topic_in, other.topic_out, other.topic_dead_letters)
    other.send(*due("b", "c"), b"broken as well")
    catch_up(other)
    assert {row["adv_campaign_id"] for row in other.rows()} == {"a", "b", "c"}
    assert len(other.rows()) == len(world.messages()) + len(other.messages()) == 150
    assert [letter.value() for letter in other.dead_letters()] == [b"broken as well"]
    world.send(*due("d"))  # back to the first topic, which has a checkpoint of its own
    catch_up(world)
    assert len(world.messages()) == 150
    other.delete_topics(other.topic_in, other.topic_out, other.topic_dead_letters)


def test_an_input_topic_that_was_deleted_and_created_again_is_read_from_its_start(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a", "b", "c"), b"broken", partition=0)
    catch_up(world)
    world.delete_topics(world.topic_in)
    world.create_topics(world.topic_in)
    world.send(b"broken again", *due("c", "d"), partition=0)
    catch_up(world)
    assert problems(world, due("a", "b", "c", "d"), [FOLLOWERS]) == []
    assert sorted(letter.value() for letter in world.dead_letters()) == [b"broken", b"broken again"]


def test_a_feedback_table_truncated_with_its_sequence_gets_only_new_rows(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a"))
    catch_up(world)
    world.execute("TRUNCATE subscribers_feedback RESTART IDENTITY")
    world.send(*due("a", "b"))
    catch_up(world)
    assert [row["adv_campaign_id"] for row in world.rows()] == ["b"] * 50
    assert len(world.messages()) == 100


def test_a_sequence_set_back_below_ids_in_use_is_lifted_and_no_row_is_lost(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a"))
    catch_up(world)
    world.execute("SELECT setval('subscribers_feedback_id_seq', 7)")
    world.send(*due("b"))
    catch_up(world)
    assert problems(world, due("a", "b"), [FOLLOWERS]) == []


def test_rows_that_others_wrote_to_the_feedback_table_do_not_change(world: World, catch_up) -> None:
    world.favour(FOLLOWERS)
    values = ("r", "a", "old", "o", "oc", 1, 2, 3, "client-1", 4, "liked it")
    world.execute(
        f"INSERT INTO subscribers_feedback ({', '.join(ROW_FIELDS)}, feedback)"
        f" VALUES ({', '.join(['%s'] * len(values))})",
        values,
    )
    before = world.execute("SELECT * FROM subscribers_feedback")
    world.send(*due("a"))
    catch_up(world)
    assert world.execute("SELECT * FROM subscribers_feedback WHERE feedback IS NOT NULL") == before
    world.execute("DELETE FROM subscribers_feedback WHERE feedback IS NOT NULL")
    assert problems(world, due("a"), [FOLLOWERS]) == []
