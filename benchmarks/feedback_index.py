"""What an index by trigger time costs those who write `subscribers_feedback`, and what it saves the lake, which reads a day of it:
`python benchmarks/feedback_index.py` (five minutes).

Days of rows come in by COPY, in turn to a table without the index and to one with each kind of it. After each day some rows of the week
before get their feedback, a fifth in all, and the table is vacuumed: so rows move, and new ones fill the gaps. In the end the first
third of the days is deleted, and new days take its place.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg import sql
from rich.console import Console
from rich.table import Table

from promo_assets.local import processes
from promo_assets.local.postgres import LocalPostgres
from promo_assets.local.postgres_account import remove_data_folder
from promo_assets.stream.ledger.ledger import apply_ddl

DAY_S, ANSWER_DAYS, ANSWERED = 86_400, 7, 0.2
BATCHES_A_DAY = 20  # each with a trigger time of its own
KINDS = {
    "no index": None,
    "brin": "brin (trigger_datetime_created) WITH (pages_per_range = 32, autosummarize = on)",
    "brin, multi": "brin (trigger_datetime_created int4_minmax_multi_ops) WITH (pages_per_range = 32, autosummarize = on)",
    "btree": "btree (trigger_datetime_created)",
}
COLUMNS = """restaurant_id, adv_campaign_id, adv_campaign_content, adv_campaign_owner, adv_campaign_owner_contact,
    adv_campaign_datetime_start, adv_campaign_datetime_end, datetime_created, client_id, trigger_datetime_created"""
console = Console(stderr=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=120)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="promo-bench-") as folder:
        postgres, port = LocalPostgres(Path(folder)), processes.free_port()
        try:
            postgres.start(port)
            postgres.wait(port)
            apply_ddl(postgres.url(port))
            with psycopg.connect(postgres.url(port), autocommit=True) as connection:
                measure(connection, arguments.days, arguments.rows // arguments.days)
        finally:
            processes.stop(postgres.record)
            remove_data_folder(postgres.folder)


def measure(connection: psycopg.Connection, days: int, rows_a_day: int) -> None:
    for number, index in enumerate(KINDS.values()):
        table = sql.Identifier(f"feedback_{number}")
        connection.execute(
            sql.SQL("CREATE TABLE {} (LIKE subscribers_feedback INCLUDING DEFAULTS)").format(table)
        )
        connection.execute(
            sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (id), SET (autovacuum_enabled = off)").format(
                table
            )
        )
        if index:
            connection.execute(sql.SQL("CREATE INDEX ON {} USING " + index).format(table))
    copied: dict[str, list[float]] = {kind: [] for kind in KINDS}
    answered: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for day in range(days):
        lines = [
            batch_lines(day, batch, rows_a_day // BATCHES_A_DAY) for batch in range(BATCHES_A_DAY)
        ]
        order = list(enumerate(KINDS))
        random.Random(day).shuffle(order)
        for number, kind in order:
            table = sql.Identifier(f"feedback_{number}")
            copied[kind].append(
                timed(lambda table=table, lines=lines: copy(connection, table, lines))
            )
            answered[kind].append(
                timed(lambda table=table, day=day: answer(connection, table, day))
            )
            connection.execute(
                sql.SQL("VACUUM ANALYZE {}").format(table)
            )  # sums up new pages in a BRIN, too
        console.log(f"day {day + 1} of {days}")
    shown = Table(
        "",
        "COPY, s",
        "ratio",
        "answers, s",
        "ratio",
        "pages of a day",
        "of all",
        "ms",
        "after deleting",
        "indexes, kB",
    )
    for number, kind in enumerate(KINDS):
        ratios = [
            statistics.median(a / b for a, b in zip(took[kind], took["no index"], strict=True))
            for took in (copied, answered)
        ]
        pages, of_all, ms = day_read(connection, number, days // 2)
        replace_old_days(connection, sql.Identifier(f"feedback_{number}"), days, rows_a_day)
        later, _, _ = day_read(connection, number, days // 2)
        size = connection.execute(
            "SELECT pg_indexes_size(%s::regclass) / 1024", (f"feedback_{number}",)
        ).fetchone()
        assert size
        shown.add_row(
            kind, f"{sum(copied[kind]):.1f}", f"{ratios[0]:.2f}", f"{sum(answered[kind]):.1f}", f"{ratios[1]:.2f}",
            f"{pages:,}", f"{of_all:,}", f"{ms:.0f}", f"{later:,}", f"{size[0]:,}",
        )  # fmt: skip
    Console(width=120).print(shown)


def batch_lines(day: int, batch: int, rows: int) -> bytes:
    trigger = day * DAY_S + batch * DAY_S // BATCHES_A_DAY
    campaign = (
        f"restaurant-{batch}\tcampaign-{day}-{batch}\t"
        "Two bowls of noodles for the price of one, today until six\tIvan\tivan@x.example"
    )
    times = f"{trigger}\t{trigger + DAY_S}\t{trigger - 60}"
    return "".join(
        f"{campaign}\t{times}\tclient-{client:08d}\t{trigger}\n" for client in range(rows)
    ).encode()


def copy(connection: psycopg.Connection, table: sql.Identifier, batches: list[bytes]) -> None:
    for lines in batches:
        with connection.cursor().copy(
            sql.SQL("COPY {} (" + COLUMNS + ") FROM STDIN").format(table)
        ) as into:
            into.write(lines)


def answer(connection: psycopg.Connection, table: sql.Identifier, day: int) -> None:
    """Without asking the index: what is measured is what the moved rows cost it."""
    connection.execute(
        "SET enable_bitmapscan = off; SET enable_indexscan = off; SET enable_seqscan = on"
    )
    share = ANSWERED / ANSWER_DAYS
    connection.execute(
        sql.SQL(
            "UPDATE {} SET feedback = 'will come' WHERE trigger_datetime_created >= %s AND (id::int8 * 7919 + %s) %% 1000 < %s"
        ).format(table),
        ((day - ANSWER_DAYS + 1) * DAY_S, day * 131, round(1000 * share)),
    )


def replace_old_days(
    connection: psycopg.Connection, table: sql.Identifier, days: int, rows_a_day: int
) -> None:
    """A third of the days goes, and half as many come."""
    connection.execute("RESET ALL")
    connection.execute(
        sql.SQL("DELETE FROM {} WHERE trigger_datetime_created < %s").format(table),
        (days // 3 * DAY_S,),
    )
    connection.execute(sql.SQL("VACUUM ANALYZE {}").format(table))
    for day in range(days, days + days // 6):
        copy(
            connection,
            table,
            [
                batch_lines(day, batch, rows_a_day // BATCHES_A_DAY)
                for batch in range(BATCHES_A_DAY)
            ],
        )
    connection.execute(sql.SQL("VACUUM ANALYZE {}").format(table))


def day_read(connection: psycopg.Connection, number: int, day: int) -> tuple[int, int, float]:
    """(pages read, pages of the table, ms) of one day, as the lake asks for it."""
    name = f"feedback_{number}"
    connection.execute(
        "RESET ALL; SET max_parallel_workers_per_gather = 0; SET enable_seqscan = off"
    )
    first = day * DAY_S
    query = sql.SQL(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM {} WHERE trigger_datetime_created >= {} AND trigger_datetime_created < {}"
    ).format(sql.Identifier(name), sql.Literal(first), sql.Literal(first + DAY_S))
    found = connection.execute(query).fetchone()
    pages = connection.execute("SELECT pg_relation_size(%s::regclass) / 8192", (name,)).fetchone()
    assert found and pages
    plan = found[0] if isinstance(found[0], list) else json.loads(found[0])
    top = plan[0]["Plan"]
    return top["Shared Hit Blocks"] + top["Shared Read Blocks"], pages[0], plan[0]["Execution Time"]


def timed(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
