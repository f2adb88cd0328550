"""The asset graph of the definitions; `browser/test_ui.py` finds the same graph in Dagster's UI."""

from pathlib import Path

from promo_assets.definitions import build_definitions
from promo_assets.settings import Settings
from promo_assets_tests.support.asset_graph import GRAPH


def test_every_asset_is_in_its_group_and_is_made_from_the_specified_assets() -> None:
    settings = Settings(home=Path("/nowhere"), _env_file=None)  # pyright: ignore[reportCallIssue]
    specs = build_definitions(settings).resolve_all_asset_specs()
    names = {spec.key: f"{spec.group_name}/{spec.key.path[-1]}" for spec in specs}
    assert {names[spec.key]: {names[dep.asset_key] for dep in spec.deps} for spec in specs} == GRAPH
