"""CONTRIBUTING.md, followed to the letter in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from promo_assets.settings import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "CONTRIBUTING.md").read_text()
STEP = re.compile(
    r"(Create|Insert into|In) `([\w./]+)`(?:,\s(?:before|instead of)\s`([^`]+)`)?:\n\n"
    r"```\w+\n(.*?)```\n",
    re.DOTALL | re.IGNORECASE,
)
PROGRAMS = Path(sys.executable).parent
RUN_A_DAY = """
from datetime import date
from promo_assets.definitions import build_definitions, load_settings
from promo_assets.lake import tables
from promo_assets.lake.storage.lake import Lake
from promo_assets.jvm.session import open_session

settings = load_settings()
job = build_definitions(settings).resolve_job_def("daily_lake")
result = job.execute_in_process(partition_key="2025-05-31")
made = [event.asset_key.to_user_string() for event in result.get_asset_materialization_events()]
assert "mart/city_activity" in made, made
evaluations = result.get_asset_check_evaluations()
checks = {
    check.check_name: check.passed
    for check in evaluations
    if check.asset_key.path[-1] == "city_activity"
}
expected = {"schema", "key_is_unique", "not_null", "cities_are_known"}
expected |= {"counts_are_not_negative", "as_many_rows_as_before"}
assert checks.keys() == expected, checks
assert all(checks.values()), checks
lake = Lake(open_session(settings, "look"), settings.lake_uri, settings.lake_owner)
activity = lake.read(tables.CITY_ACTIVITY, [date(2025, 5, 31)])
print("messages", activity.groupBy().sum("messages").first()[0])
"""


@pytest.mark.slow
def test_the_mart_of_the_example_is_made_by_its_steps(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(
        PROJECT_ROOT,
        copy,
        ignore=shutil.ignore_patterns(".*", "node_modules", "__pycache__", "secrets"),
    )
    steps = STEP.findall(PAGE)
    assert len(steps) == PAGE.count("```python") + PAGE.count("```toml") == 9
    for doing, name, where, text in steps:
        follow(copy / name, doing.lower(), where, text)

    def run(*command: str) -> str:
        environment = os.environ | {
            "PYTHONPATH": str(copy),
            "PROMO_HOME": str(tmp_path / "home"),
            "PROMO_LAKE_ROOT": str(tmp_path / "lake"),
        }
        done = subprocess.run(
            [PROGRAMS / command[0], *command[1:]],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-4_000:]}\n{done.stderr[-4_000:]}"
        return done.stdout

    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")
    changed = [name for _, name, _, _ in steps if name.startswith("promo_assets/")]
    run("basedpyright", "--pythonpath", sys.executable, *sorted({*changed}))
    run("lint-imports")
    tests = (
        "promo_assets_tests/lake/transform/test_mart_city_activity.py",
        "promo_assets_tests/test_graph.py",
    )
    assert "3 passed" in run("pytest", *tests, "-p", "no:cacheprovider")
    run(
        "promo-assets",
        "lake",
        "sample",
        "--days",
        "1",
        "--events-per-day",
        "200",
        "--users",
        "50",
        "--last-day",
        "2025-05-31",
    )
    assert int(run("python", "-c", RUN_A_DAY).split("messages ")[1]) > 0


def follow(file: Path, doing: str, where: str, text: str) -> None:
    """One step of the page, done by its words."""
    if doing == "create":
        assert not file.exists()
        file.write_text(text)
        return
    before = file.read_text()
    assert before.count(where) == 1, f"{file.name} has {where} {before.count(where)} times"
    new = text + where if doing == "insert into" else text.removesuffix("\n")
    file.write_text(before.replace(where, new))


def test_every_decision_is_in_the_list_under_its_title() -> None:
    listed = dict(re.findall(r"\]\((docs/adr/[^)]+)\) \| (.+) \|", PAGE))
    titles = {
        f"docs/adr/{file.name}": re.sub(r"^# \d+\. ", "", file.read_text().splitlines()[0])
        for file in (PROJECT_ROOT / "docs/adr").iterdir()
    }
    assert listed == titles
