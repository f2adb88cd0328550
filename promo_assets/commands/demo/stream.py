"""The demo's first part: campaigns are sent, and what they led to is read from both sinks."""

import sys
import time
from collections.abc import Sequence

import psycopg
from confluent_kafka.admin import AclOperation
from rich.console import Console
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from promo_assets.commands import console
from promo_assets.commands.console import CommandError, spinner
from promo_assets.commands.demo.data import (
    FAVOURITES,
    STARTS_IN_S,
    CampaignGroup,
    compose_first_groups,
    compose_late_group,
    count_followers,
    fill_favourites,
)
from promo_assets.commands.demo.results import (
    Position,
    Results,
    count_dead_letters,
    count_rows,
    read_results,
    read_states,
)
from promo_assets.commands.demo.session import POLL_S, DemoSession
from promo_assets.commands.kafka_client import Topic, end_offsets, find_topic
from promo_assets.commands.transactional_sender import TransactionalSender
from promo_assets.settings import Settings
from promo_assets.stream.ledger.lease import read_heartbeat

STREAM_START_TIMEOUT_S = 180
DELIVERY_TIMEOUT_S = 120
LEADER_TIMEOUT_S = 15
WIDTH = 120


def show_stream(session: DemoSession) -> Position:
    """Print what the campaigns led to, and return where the output topic ended before them.

    Raises `CommandError` if that is not what was promised.
    """
    settings, url = session.settings, session.settings.database_url
    input_topic = find_topic(settings, settings.topic_in, AclOperation.WRITE)
    output = _read_position(settings, settings.topic_out)
    dead_letters = _read_position(settings, settings.topic_dead_letters)
    with spinner(f"starting Dagster (its log is {session.dagster.log})") as show_step:
        followers = _prepare_favourites(url)
        session.wait_until(
            lambda: _is_stream_running(url), STREAM_START_TIMEOUT_S, "The stream did not start"
        )
        console.info(
            f"Dagster is running at {session.dagster.url}, and its sensor has started the stream"
        )
        show_step("sending campaigns: active, sent twice, over, malformed")
        groups = compose_first_groups(session.name, int(time.time()))
        _send_groups(settings, input_topic, groups)
        _wait_for_first_groups(session, groups, followers, dead_letters)

        show_step(f"sending a campaign that starts in {STARTS_IN_S} s")
        late = compose_late_group(session.name, int(time.time()))
        _send_groups(settings, input_topic, [late])
        _wait_for_ingest(session, late)
        groups.insert(2, late)
        due = _count_expected(groups, followers)
        failure = "The campaign that waited did not notify its clients"
        session.wait_until(lambda: count_rows(url, groups) >= due, DELIVERY_TIMEOUT_S, failure)

        show_step("reading both sinks")
        results = _read_complete_results(session, groups, followers, output, dead_letters)
    _print_results(session, results)
    return output


def _prepare_favourites(database_url: str) -> dict[str, int]:
    """Add the missing sample favourites; return each sample restaurant's number of followers."""
    added = fill_favourites(database_url)
    if added:
        console.info(f"added {added:,} favourites")
    else:
        console.info(f"the {FAVOURITES:,} sample favourites are already there")
    return count_followers(database_url)


def _wait_for_first_groups(
    session: DemoSession,
    groups: Sequence[CampaignGroup],
    followers: dict[str, int],
    dead_letters: Position,
) -> None:
    settings = session.settings
    due = _count_expected(groups, followers)
    rejected = sum(group.rejected for group in groups)
    session.wait_until(
        lambda: count_rows(settings.database_url, groups) >= due,
        DELIVERY_TIMEOUT_S,
        "Not all notifications came",
    )
    session.wait_until(
        lambda: count_dead_letters(settings, dead_letters, session.name) >= rejected,
        DELIVERY_TIMEOUT_S,
        "Not all dead letters came",
    )
    console.info("the active campaigns have notified their clients")


def _wait_for_ingest(session: DemoSession, late: CampaignGroup) -> None:
    """Wait until the stream has ingested the late campaign, which must be before its start."""
    (campaign_id,) = late.restaurants
    url = session.settings.database_url
    session.wait_until(
        lambda: campaign_id in read_states(url, session.name),
        DELIVERY_TIMEOUT_S,
        "The later campaign was not ingested",
    )
    if read_states(url, session.name)[campaign_id] != "waiting":
        raise CommandError(
            "The later campaign was ingested only after its start: this machine is too busy"
            f"{session.where_to_look()}"
        )
    console.info("the later campaign waits for its start")


def _read_complete_results(
    session: DemoSession,
    groups: Sequence[CampaignGroup],
    followers: dict[str, int],
    output: Position,
    dead_letters: Position,
) -> Results:
    """Read both sinks until Kafka, which comes a moment later, has all that Postgres has."""

    def read() -> Results:
        return read_results(session.settings, groups, followers, session.name, output, dead_letters)

    def is_complete() -> bool:
        nonlocal results
        if results.lacks_messages():
            results = read()
        return not results.lacks_messages()

    results = read()
    failure = "Kafka did not get all that Postgres has"
    session.wait_until(is_complete, DELIVERY_TIMEOUT_S, failure)
    return results


def _print_results(session: DemoSession, results: Results) -> None:
    Console(width=None if sys.stdout.isatty() else WIDTH).print(results.as_table())
    if problems := results.find_problems():
        raise CommandError(f"Not as promised: {'; '.join(problems)}{session.where_to_look()}")
    session.wait_until(session.dagster.answers, DELIVERY_TIMEOUT_S, "Dagster's UI did not answer")
    print(
        "Every pair has one row in Postgres and one message in Kafka, and they agree. "
        f"Dagster: {session.dagster.url}",
        flush=True,
    )


@retry(
    retry=retry_if_exception_type(CommandError),
    wait=wait_fixed(POLL_S),
    stop=stop_after_delay(LEADER_TIMEOUT_S),
    reraise=True,
)
def _read_position(settings: Settings, topic_name: str) -> Position:
    """Return where a topic ends; retried because a new topic has no leader for a moment."""
    topic = find_topic(settings, topic_name, AclOperation.READ)
    return Position(topic, end_offsets(settings, topic))


def _send_groups(settings: Settings, topic: Topic, groups: Sequence[CampaignGroup]) -> None:
    sender = TransactionalSender(settings, topic)
    with sender.transaction():
        for group in groups:
            for key, value in group.messages:
                sender.send(key, value, f"a message of the kind '{group.kind}'")


def _is_stream_running(database_url: str) -> bool:
    with psycopg.connect(database_url) as connection:
        return read_heartbeat(connection).locked


def _count_expected(groups: Sequence[CampaignGroup], followers: dict[str, int]) -> int:
    """Return how many (campaign, client) pairs the groups should lead to."""
    return sum(followers[name] for group in groups for name in group.restaurants.values())
