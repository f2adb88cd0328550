"""`dead-letters replay`: each letter is sent once, unless its id is named."""

from promo_assets_tests.support.command_line import Record, env, messages, one_line, put, run
from promo_assets_tests.support.dead_letters import HEADERS, as_texts, letters

__all__ = ["env", "letters"]


def test_a_wrong_id_is_named_with_the_command_that_shows_the_ids():
    line = one_line(run({}, "dead-letters", "replay", "--id", "seven"), 2)
    assert line.startswith("--id seven: ")
    assert "`promo-assets dead-letters list`" in line


def test_a_replay_sends_key_and_value_as_they_came_and_only_once(
    env: dict[str, str], letters: list[Record]
):
    first = run(env, "dead-letters", "replay")
    assert first.returncode == 0, first.stderr
    assert f"sent 3 dead letters to topic {env['PROMO_TOPIC_IN']} again" in first.stderr.decode()
    assert as_texts(messages(env, "PROMO_TOPIC_IN")) == as_texts(letters)
    assert b"sent 0 dead letters" in run(env, "dead-letters", "replay").stderr
    put(env, "PROMO_TOPIC_DEAD_LETTERS", (b"new", b"letter", HEADERS))
    assert b"sent 1 dead letter to" in run(env, "dead-letters", "replay").stderr
    assert as_texts(messages(env, "PROMO_TOPIC_IN")) == as_texts([*letters, (b"new", b"letter")])


def test_a_letter_named_by_id_is_always_sent_and_not_sent_again_by_a_replay_of_all(
    env: dict[str, str], letters: list[Record]
):
    twice_named = run(env, "dead-letters", "replay", "--id", "0-1", "--id", "0-1")
    assert b"sent 1 dead letter to" in twice_named.stderr
    assert b"sent 1 dead letter to" in run(env, "dead-letters", "replay", "--id", "0-1").stderr
    assert as_texts(messages(env, "PROMO_TOPIC_IN")) == as_texts([letters[1]] * 2)
    assert b"sent 2 dead letters to" in run(env, "dead-letters", "replay").stderr
    assert as_texts(messages(env, "PROMO_TOPIC_IN")) == as_texts([*letters, letters[1]])


def test_an_unknown_id_sends_nothing(env: dict[str, str], letters: list[Record]):
    line = one_line(run(env, "dead-letters", "replay", "--id", "0-0", "--id", "0-99"), 2)
    assert line.startswith("--id 0-99: ")
    assert env["PROMO_TOPIC_DEAD_LETTERS"] in line and "Nothing was sent" in line
    assert messages(env, "PROMO_TOPIC_IN") == []
    assert b"sent 3 dead letters" in run(env, "dead-letters", "replay").stderr
