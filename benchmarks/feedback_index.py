"""Measures an index by trigger time on `subscribers_feedback`: what it costs and what it saves.

`python benchmarks/feedback_index.py` takes five minutes. The index costs those who write the table,
and saves the lake, which reads one day, from reading the whole table.

Days of rows are copied in turn to a table without an index and to tables with each kind of index.
After each day, some rows of the week before get their feedback, a fifth in all, and the table is
vacuumed: so rows move, and new ones fill the gaps. In the end the first third of the days is
deleted, and new days take its place.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from rich.console import Console
from rich.table import Table

from promo_assets.local import processes
from promo_assets.local.postgres import LocalPostgres
from promo_assets.local.postgres_account import remove_data_folder
from promo_assets.stream.ledger.schema import apply_ddl

DAY_S, ANSWER_DAYS, ANSWERED = 86_400, 7, 0.2
BATCHES_A_DAY = 20  # each with a trigger time of its own
BASELINE = "no index"
BRIN_OPTIONS = "WITH (pages_per_range = 32, autosummarize = on)"
KINDS = {
    BASELINE: None,
    "brin": f"brin (trigger_datetime_created) {BRIN_OPTIONS}",
    "brin, multi": f"brin (trigger_datetime_created int4_minmax_multi_ops) {BRIN_OPTIONS}",
    "btree": "btree (trigger_datetime_created)",
}
COLUMNS = """restaurant_id, adv_campaign_id, adv_campaign_content, adv_campaign_owner,
    adv_campaign_owner_contact, adv_campaign_datetime_start, adv_campaign_datetime_end,
    datetime_created, client_id, trigger_datetime_created"""
TABLES = {kind: sql.Identifier(f"feedback_{number}") for number, kind in enumerate(KINDS)}
HEADINGS = (
    *("", "COPY, s", "ratio", "answers, s", "ratio"),
    *("pages of a day", "of all", "ms", "after deleting", "indexes, kB"),
)
Seconds = dict[str, list[float]]  # by kind of index, one for each day
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
    create_tables(connection)
    copy_s: Seconds = {kind: [] for kind in KINDS}
    feedback_s: Seconds = {kind: [] for kind in KINDS}
    for day in range(days):
        batches = make_batches(day, rows_a_day)
        order = list(KINDS)
        random.Random(day).shuffle(order)
        for kind in order:
            with measure_seconds(copy_s[kind]):
                copy_batches(connection, TABLES[kind], batches)
            with measure_seconds(feedback_s[kind]):
                set_feedback(connection, TABLES[kind], day)
            # This also summarizes new pages in a BRIN index.
            connection.execute(sql.SQL("VACUUM ANALYZE {}").format(TABLES[kind]))
        console.log(f"day {day + 1} of {days}")
    print_results(connection, days, rows_a_day, copy_s, feedback_s)


def create_tables(connection: psycopg.Connection) -> None:
    create = sql.SQL("CREATE TABLE {} (LIKE subscribers_feedback INCLUDING DEFAULTS)")
    alter = sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (id), SET (autovacuum_enabled = off)")
    for kind, index in KINDS.items():
        connection.execute(create.format(TABLES[kind]))
        connection.execute(alter.format(TABLES[kind]))
        if index:
            connection.execute(sql.SQL("CREATE INDEX ON {} USING " + index).format(TABLES[kind]))


def print_results(
    connection: psycopg.Connection, days: int, rows_a_day: int, copy_s: Seconds, feedback_s: Seconds
) -> None:
    """Print times and pages; this replaces old days in every table."""
    shown = Table(*HEADINGS)
    for kind, table in TABLES.items():
        pages, all_pages, ms = read_day(connection, table, days // 2)
        replace_old_days(connection, table, days, rows_a_day)
        pages_later, _, _ = read_day(connection, table, days // 2)
        query = "SELECT pg_indexes_size(%s::regclass) / 1024"
        ((index_kb,),) = connection.execute(query, (table.as_string(),)).fetchall()
        shown.add_row(
            kind,
            *(f"{sum(copy_s[kind]):.1f}", f"{median_ratio(copy_s, kind):.2f}"),
            *(f"{sum(feedback_s[kind]):.1f}", f"{median_ratio(feedback_s, kind):.2f}"),
            *(f"{pages:,}", f"{all_pages:,}", f"{ms:.0f}"),
            *(f"{pages_later:,}", f"{index_kb:,}"),
        )
    Console(width=120).print(shown)


def median_ratio(seconds: Seconds, kind: str) -> float:
    """Return the median ratio to the table without an index, day by day."""
    days = zip(seconds[kind], seconds[BASELINE], strict=True)
    return statistics.median(with_index / without for with_index, without in days)


def make_batches(day: int, rows_a_day: int) -> list[bytes]:
    """Return the day's rows in COPY's text format."""
    rows = rows_a_day // BATCHES_A_DAY
    return [batch_lines(day, batch, rows) for batch in range(BATCHES_A_DAY)]


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


def copy_batches(
    connection: psycopg.Connection, table: sql.Identifier, batches: list[bytes]
) -> None:
    statement = sql.SQL("COPY {} (" + COLUMNS + ") FROM STDIN").format(table)
    for lines in batches:
        with connection.cursor().copy(statement) as rows:
            rows.write(lines)


def set_feedback(connection: psycopg.Connection, table: sql.Identifier, day: int) -> None:
    """Set the feedback of some rows of the week before.

    The index is not used to find them: only what the moved rows cost it is measured.
    """
    connection.execute(
        "SET enable_bitmapscan = off; SET enable_indexscan = off; SET enable_seqscan = on"
    )
    statement = """UPDATE {} SET feedback = 'will come'
        WHERE trigger_datetime_created >= %s AND (id::int8 * 7919 + %s) %% 1000 < %s"""
    share = ANSWERED / ANSWER_DAYS
    values = ((day - ANSWER_DAYS + 1) * DAY_S, day * 131, round(1000 * share))
    connection.execute(sql.SQL(statement).format(table), values)


def replace_old_days(
    connection: psycopg.Connection, table: sql.Identifier, days: int, rows_a_day: int
) -> None:
    """Delete a third of the days, and add half as many new ones."""
    connection.execute("RESET ALL")
    delete = sql.SQL("DELETE FROM {} WHERE trigger_datetime_created < %s").format(table)
    connection.execute(delete, (days // 3 * DAY_S,))
    connection.execute(sql.SQL("VACUUM ANALYZE {}").format(table))
    for day in range(days, days + days // 6):
        copy_batches(connection, table, make_batches(day, rows_a_day))
    connection.execute(sql.SQL("VACUUM ANALYZE {}").format(table))


def read_day(
    connection: psycopg.Connection, table: sql.Identifier, day: int
) -> tuple[int, int, float]:
    """Read a day as the lake does; return pages read, pages of the table, and milliseconds."""
    connection.execute(
        "RESET ALL; SET max_parallel_workers_per_gather = 0; SET enable_seqscan = off"
    )
    first = day * DAY_S
    query = sql.SQL(
        """EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM {}
        WHERE trigger_datetime_created >= {} AND trigger_datetime_created < {}"""
    ).format(table, sql.Literal(first), sql.Literal(first + DAY_S))
    ((plan,),) = connection.execute(query).fetchall()
    size = "SELECT pg_relation_size(%s::regclass) / 8192"
    ((all_pages,),) = connection.execute(size, (table.as_string(),)).fetchall()
    (explained,) = plan if isinstance(plan, list) else json.loads(plan)
    top = explained["Plan"]
    pages = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
    return pages, all_pages, explained["Execution Time"]


@contextmanager
def measure_seconds(seconds: list[float]) -> Iterator[None]:
    """Append the duration of the `with` block."""
    started = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - started)


if __name__ == "__main__":
    main()
