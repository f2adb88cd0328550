"""What the demo's campaigns led to, read from both sinks and compared."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import psycopg
from psycopg.sql import SQL, Identifier
from rich.box import SIMPLE_HEAD
from rich.table import Table

from promo_assets.commands.demo.data import CampaignGroup
from promo_assets.commands.kafka_client import Topic, read_to_end
from promo_assets.settings import Settings
from promo_assets.stream.messages import FIELDS

COLUMNS = (*FIELDS, "client_id", "trigger_datetime_created")
_CAMPAIGN_ID = COLUMNS.index("adv_campaign_id")
_START = COLUMNS.index("adv_campaign_datetime_start")
_TRIGGERED = COLUMNS.index("trigger_datetime_created")


@dataclass(frozen=True)
class Position:
    """A topic, and its end offset in each partition when the demo began."""

    topic: Topic
    offsets: dict[int, int]


def count_rows(database_url: str, groups: Sequence[CampaignGroup]) -> int:
    campaign_ids = [campaign_id for group in groups for campaign_id in group.restaurants]
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM subscribers_feedback WHERE adv_campaign_id = ANY(%s)",
            (campaign_ids,),
        ).fetchone()
    return row[0] if row else 0


def read_states(database_url: str, demo_name: str) -> dict[str, str]:
    """Return by adv_campaign_id the state of this demo's campaigns in the ledger."""
    query = """SELECT adv_campaign_id, state FROM promo_ledger.campaigns
        WHERE starts_with(adv_campaign_id, %s)"""
    with psycopg.connect(database_url) as connection:
        return dict(connection.execute(query, (demo_name,)).fetchall())


def count_dead_letters(settings: Settings, start: Position, demo_name: str) -> int:
    messages = read_to_end(settings, start.topic, start.offsets)
    return sum(message.key() == demo_name.encode() for message in messages)


class Counts(NamedTuple):
    """A group's rows and messages, and how many of each there should be."""

    rows: int
    messages: int
    expected: int


@dataclass(frozen=True)
class Results:
    """What a demo's campaigns led to.

    followers: number of clients by restaurant. states: the ledger's, by campaign. rows, messages:
    how often each tuple of `COLUMNS` is in Postgres and in Kafka.
    """

    groups: Sequence[CampaignGroup]
    followers: dict[str, int]
    states: dict[str, str]
    rows: Counter[tuple]
    messages: Counter[tuple]
    dead_letters: int

    def lacks_messages(self) -> bool:
        """Whether Kafka has fewer pairs than Postgres, as for a moment after each delivery."""
        return self.messages.total() < self.rows.total()

    def find_problems(self) -> list[str]:
        """Return in words what is not as promised."""
        counts = [self._count(group) for group in self.groups]
        rejected = sum(group.rejected for group in self.groups)
        checks = {
            "some pairs have more than one row in Postgres": _has_repeats(self.rows),
            "some pairs have more than one message in Kafka": _has_repeats(self.messages),
            "rows and messages differ": self.rows != self.messages,
            "the counts are not the expected ones": any(len(set(each)) > 1 for each in counts),
            "a malformed message is not among the dead letters": self.dead_letters != rejected,
            "the ended campaign is not marked as expired": "expired" not in self.states.values(),
            "a campaign notified before its start": any(
                row[_TRIGGERED] < row[_START] for row in self.rows
            ),
        }
        return [problem for problem, is_found in checks.items() if is_found]

    def as_table(self) -> Table:
        counts = [self._count(group) for group in self.groups]
        sent = sum(len(group.messages) for group in self.groups)
        table = Table(
            caption="rows are counted in Postgres, messages in Kafka (read_committed)",
            caption_justify="left",
            box=SIMPLE_HEAD,
            show_footer=True,
        )
        table.add_column("campaigns", footer="all")
        table.add_column("sent", footer=str(sent), justify="right")
        table.add_column("became")
        for name in Counts._fields:
            total = sum(getattr(each, name) for each in counts)
            table.add_column(name, footer=f"{total:,}", justify="right")
        for group, each in zip(self.groups, counts, strict=True):
            outcome = f"{self.dead_letters} {group.outcome}" if group.rejected else group.outcome
            numbers = (f"{number:,}" for number in each)
            table.add_row(group.kind, str(len(group.messages)), outcome, *numbers)
        return table

    def _count(self, group: CampaignGroup) -> Counts:
        return Counts(
            rows=_count_group(self.rows, group),
            messages=_count_group(self.messages, group),
            expected=sum(self.followers[name] for name in group.restaurants.values()),
        )


def read_results(
    settings: Settings,
    groups: Sequence[CampaignGroup],
    followers: dict[str, int],
    demo_name: str,
    output: Position,
    dead_letters: Position,
) -> Results:
    """Read both sinks; the topics only from where they ended when the demo began."""
    values = (
        json.loads(message.value() or b"{}")
        for message in read_to_end(settings, output.topic, output.offsets)
    )
    ours = (value for value in values if str(value.get("adv_campaign_id")).startswith(demo_name))
    return Results(
        groups=groups,
        followers=followers,
        states=read_states(settings.database_url, demo_name),
        rows=_read_rows(settings.database_url, demo_name),
        messages=Counter(tuple(value.get(name) for name in COLUMNS) for value in ours),
        dead_letters=count_dead_letters(settings, dead_letters, demo_name),
    )


def _read_rows(database_url: str, demo_name: str) -> Counter[tuple]:
    columns = SQL(", ").join(map(Identifier, COLUMNS))
    query = SQL("SELECT {} FROM subscribers_feedback WHERE starts_with(adv_campaign_id, %s)")
    with psycopg.connect(database_url) as connection:
        return Counter(connection.execute(query.format(columns), (demo_name,)).fetchall())


def _has_repeats(pairs: Counter[tuple]) -> bool:
    return max(pairs.values(), default=0) > 1


def _count_group(pairs: Counter[tuple], group: CampaignGroup) -> int:
    return sum(count for pair, count in pairs.items() if pair[_CAMPAIGN_ID] in group.restaurants)
