"""The graph that a browser is asked for is the one of the definitions: found without a browser, too."""

from pathlib import Path

from promo_assets.definitions import build_definitions
from promo_assets.settings import Settings
from promo_assets_tests.browser.test_ui import GRAPH


def test_each_asset_has_its_place_and_is_made_from_what_the_specification_says() -> None:
    settings = Settings(home=Path("/nowhere"), _env_file=None)  # pyright: ignore[reportCallIssue]
    specs = build_definitions(settings).resolve_all_asset_specs()
    names = {spec.key: f"{spec.group_name}/{spec.key.path[-1]}" for spec in specs}
    assert {names[spec.key]: {names[dep.asset_key] for dep in spec.deps} for spec in specs} == GRAPH
