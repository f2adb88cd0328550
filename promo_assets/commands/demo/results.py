"""What the demo's campaigns led to, read from both sinks and compared."""

import json
from collections import Counter
from dataclasses import dataclass

import psycopg
from psycopg.sql import SQL, Identifier
from rich.box import SIMPLE_HEAD
from rich.table import Table

from promo_assets.commands.demo.data import Sample
from promo_assets.commands.kafka import Topic, read_to_end
from promo_assets.settings import Settings
from promo_assets.stream.messages import FIELDS

COLUMNS = (*FIELDS, "client_id", "trigger_datetime_created")


@dataclass(frozen=True)
class Position:
    """A topic and where it ended when the demo began."""

    topic: Topic
    offsets: dict[int, int]


def count_rows(database_url: str, samples: list[Sample]) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM subscribers_feedback WHERE adv_campaign_id = ANY(%s)",
            (_ids(samples),),
        ).fetchone()
    return row[0] if row else 0


def states(database_url: str, run: str) -> dict[str, str]:
    """What the ledger says of this demo's campaigns, by adv_campaign_id."""
    with psycopg.connect(database_url) as connection:
        query = "SELECT adv_campaign_id, state FROM promo_ledger.campaigns WHERE starts_with(adv_campaign_id, %s)"
        return dict(connection.execute(query, (run,)).fetchall())


def count_dead_letters(settings: Settings, dead_letters: Position, run: str) -> int:
    return sum(
        message.key() == run.encode()
        for message in read_to_end(settings, dead_letters.topic, dead_letters.offsets)
    )


class Results:
    """Rows and messages of a demo run, each a tuple of `COLUMNS`; and what they should be."""

    def __init__(
        self,
        settings: Settings,
        samples: list[Sample],
        audience: dict[str, int],
        run: str,
        out: Position,
        dead_letters: Position,
    ):
        self._samples = samples
        self._audience = audience
        self._states = states(settings.database_url, run)
        with psycopg.connect(settings.database_url) as connection:
            columns = SQL(", ").join(map(Identifier, COLUMNS))
            query = SQL(
                "SELECT {} FROM subscribers_feedback WHERE starts_with(adv_campaign_id, %s)"
            ).format(columns)
            self._rows = Counter(connection.execute(query, (run,)).fetchall())
        values = (
            json.loads(message.value() or b"{}")
            for message in read_to_end(settings, out.topic, out.offsets)
        )
        ours = (value for value in values if str(value.get("adv_campaign_id")).startswith(run))
        self._messages = Counter(tuple(value.get(name) for name in COLUMNS) for value in ours)
        self._dead_letters = count_dead_letters(settings, dead_letters, run)

    def missing_messages(self) -> bool:
        """Kafka has not all of what Postgres has: it comes a moment later."""
        return self._messages.total() < self._rows.total()

    def problems(self) -> list[str]:
        """What is not as promised, in words; nothing where all is."""
        checks = {
            "some pairs have more than one row in Postgres": max(self._rows.values(), default=0)
            > 1,
            "some pairs have more than one message in Kafka": max(
                self._messages.values(), default=0
            )
            > 1,
            "rows and messages differ": self._rows != self._messages,
            "the numbers are not the expected ones": any(
                len({*figures}) > 1 for *_, figures in self._lines()
            ),
            "a malformed message is not among the dead letters": self._dead_letters
            != sum(sample.rejected for sample in self._samples),
            "the campaign that was over is not marked as expired": "expired"
            not in self._states.values(),
            "a campaign notified before its start": any(
                row[COLUMNS.index("trigger_datetime_created")]
                < row[COLUMNS.index("adv_campaign_datetime_start")]
                for row in self._rows
            ),
        }
        return [problem for problem, found in checks.items() if found]

    def table(self) -> Table:
        caption = "rows are counted in Postgres, messages in Kafka (read_committed)"
        table = Table(
            "campaigns", caption=caption, caption_justify="left", box=SIMPLE_HEAD, show_footer=True
        )
        for name in ("sent", "became", "rows", "messages", "expected"):
            table.add_column(name, justify="left" if name == "became" else "right")
        for sample, (rows, messages, expected) in self._lines():
            table.add_row(
                sample.what,
                str(len(sample.messages)),
                self._became(sample),
                f"{rows:,}",
                f"{messages:,}",
                f"{expected:,}",
            )
        sums = [sum(part) for part in zip(*(figures for _, figures in self._lines()), strict=True)]
        for column, total in zip(table.columns[3:], sums, strict=True):
            column.footer = f"{total:,}"
        table.columns[0].footer = "all"
        table.columns[1].footer = str(sum(len(sample.messages) for sample in self._samples))
        return table

    def _became(self, sample: Sample) -> str:
        return f"{self._dead_letters} {sample.becomes}" if sample.rejected else sample.becomes

    def _lines(self) -> list[tuple[Sample, tuple[int, int, int]]]:
        """Of each sample: rows, messages, and what both should be."""
        return [
            (
                sample,
                (
                    _of(self._rows, sample),
                    _of(self._messages, sample),
                    sum(self._audience[name] for name in sample.campaigns.values()),
                ),
            )
            for sample in self._samples
        ]


def _of(pairs: Counter, sample: Sample) -> int:
    place = COLUMNS.index("adv_campaign_id")
    return sum(count for pair, count in pairs.items() if pair[place] in sample.campaigns)


def _ids(samples: list[Sample]) -> list[str]:
    return [campaign_id for sample in samples for campaign_id in sample.campaigns]
