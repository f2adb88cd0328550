"""The ledger's schema as tests see it, and a made-up newer version of it."""

import os
from pathlib import Path

from promo_assets_tests.support.world import World

NEW_VERSION = 2
# It fails when it runs a second time, and it keeps the rows.
UPGRADE_STEP = """
ALTER TABLE promo_ledger.campaigns ADD COLUMN channel text DEFAULT 'push';
ALTER TABLE promo_ledger.heartbeat ADD COLUMN region text;
"""
ADDED_COLUMNS = {
    ("promo_ledger.campaigns", "channel"),
    ("promo_ledger.decided_campaigns", "channel"),
    ("promo_ledger.heartbeat", "region"),
}
_NEWER_RELEASE = f"""
from promo_assets.stream.ledger import schema

schema.UPGRADES[{NEW_VERSION}] = {UPGRADE_STEP!r}
schema.LEDGER_VERSION = {NEW_VERSION}
"""

_COLUMNS = """
SELECT table_schema || '.' || table_name, column_name,
       data_type || coalesce(column_default, '') || is_nullable
FROM information_schema.columns WHERE table_schema IN ('public', 'promo_ledger')
"""
_INDEXES = """
SELECT schemaname, indexname, indexdef
FROM pg_indexes WHERE schemaname IN ('public', 'promo_ledger')
"""
_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace IN ('public'::regnamespace, 'promo_ledger'::regnamespace)
"""


def read_shape(world: World) -> set[tuple]:
    """Every column, index and constraint of the stream's schemas, as Postgres describes them."""
    return {row for query in (_COLUMNS, _INDEXES, _CONSTRAINTS) for row in world.execute(query)}


def install_newer_release(world: World) -> None:
    """Let the processes of this world run a release whose ledger has `NEW_VERSION`."""
    folder = world.home / "newer-release"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_NEWER_RELEASE)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")]), str(Path.cwd())]
    world.extra_env["PYTHONPATH"] = os.pathsep.join(paths)
