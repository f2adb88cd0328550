"""The ledger's statements find their campaigns by an index, however many old ones there are."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from promo_assets.stream.ledger import retention, waiting
from promo_assets.stream.ledger.sql_files import read_sql
from promo_assets_tests.support.world import World, new_world

BATCHES, CAMPAIGNS = 500, 60_000
FILL = f"""
INSERT INTO promo_ledger.batches
    (query_id, batch_id, messages, rejected, repeated, expired, waiting, due)
SELECT '00000000-0000-0000-0000-000000000001', number, 1, 0, 0, 0, 0, 1
FROM generate_series(1, {BATCHES}) number;
INSERT INTO promo_ledger.campaigns
SELECT sha256(number::text::bytea), 'r', number::text, 'content', 'owner', 'contact', number,
       number + 10, 1, '00000000-0000-0000-0000-000000000001', 1 + mod(number, {BATCHES}),
       number, 0, 0,
       CASE mod(number, 1000) WHEN 1 THEN 'waiting' WHEN 2 THEN 'due' ELSE 'dispatched' END,
       CASE mod(number, 1000) WHEN 1 THEN NULL ELSE number END
FROM generate_series(1, {CAMPAIGNS}) number;
"""
DISPATCH = {"topic": "t", "shards": 1, "campaigns": 2_000, "text_bytes": 16_000_000}


@pytest.fixture(scope="module")
def full_ledger(services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A ledger with `CAMPAIGNS` decided campaigns: 60 wait, 60 are due, the others are old."""
    home: Path = tmp_path_factory.mktemp("full-ledger")
    with new_world(services, home) as world:
        world.execute(FILL)
        yield world


@pytest.mark.parametrize("analyzed", [False, True], ids=["before ANALYZE", "after ANALYZE"])
@pytest.mark.parametrize(
    ("statement", "values", "index"),
    [
        (read_sql("open_dispatch"), DISPATCH, "campaigns_due"),
        (read_sql("start_due"), {"time": 100}, "campaigns_waiting"),
        (waiting._READ_WAITING, (10,), "campaigns_waiting"),
        (waiting._CANCEL, (b"key",), "campaigns_pkey"),
        (retention._CLEAN_CAMPAIGNS, {"before": 30_000, "rows": 5_000}, "campaigns_to_clean"),
    ],
    ids=["open a dispatch", "start what is due", "list waiting", "cancel", "clean"],
)
def test_a_statement_uses_its_index(
    full_ledger: World, statement, values, index: str, analyzed: bool
) -> None:
    with psycopg.connect(full_ledger.postgres_url) as connection:
        if analyzed:
            connection.execute("ANALYZE promo_ledger.campaigns, promo_ledger.batches")
        text = statement if isinstance(statement, str | bytes) else statement.as_bytes(connection)
        explain = (text.encode() if isinstance(text, str) else text).strip()
        rows = connection.execute(b"EXPLAIN " + _without_comments(explain), values).fetchall()
        connection.rollback()
    plan = "\n".join(row[0] for row in rows)
    assert f"using {index}" in plan or f"on {index}" in plan, plan
    if statement is not retention._CLEAN_CAMPAIGNS:  # it updates many rows, found by the index
        assert "Seq Scan on campaigns" not in plan, plan


def _without_comments(statement: bytes) -> bytes:
    return b"\n".join(line for line in statement.splitlines() if not line.startswith(b"--"))
