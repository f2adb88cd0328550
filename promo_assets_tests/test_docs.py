"""The pages: links lead somewhere; cited rules, decisions, commands and settings exist."""

import re
from functools import cache
from pathlib import Path

import pytest
import typer

from promo_assets.cli import app
from promo_assets.settings import PROJECT_ROOT, Settings

PAGES = sorted(
    [
        *(PROJECT_ROOT / "docs").rglob("*.md"),
        *(PROJECT_ROOT / name for name in ("README.md", "README.ru.md", "CONTRIBUTING.md")),
        PROJECT_ROOT / "CHANGELOG.md",
    ]
)
LONGEST_LINE = 100
RULES = (PROJECT_ROOT / "docs" / "rules.md").read_text()
DECISIONS = {int(file.name[:4]): file for file in (PROJECT_ROOT / "docs" / "adr").iterdir()}
every_page = pytest.mark.parametrize(
    "page", PAGES, ids=[str(page.relative_to(PROJECT_ROOT)) for page in PAGES]
)


def without_code_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(page: Path) -> set[str]:
    """The names by which GitHub links to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", without_code_blocks(page.read_text()), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


@every_page
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", without_code_blocks(page.read_text()))
    broken = []
    for link in links:
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@every_page
def test_a_line_of_prose_is_not_too_long(page: Path) -> None:
    lines = without_code_blocks(page.read_text()).splitlines()
    # A step of CONTRIBUTING.md ends with the code that it quotes, which cannot be broken.
    prose = [line for line in lines if not line.startswith("|") and not line.endswith("`:")]
    assert [line for line in prose if len(line) > LONGEST_LINE] == []


@every_page
def test_a_cited_decision_is_a_link_to_its_page(page: Path) -> None:
    text = without_code_blocks(page.read_text())
    linked = re.findall(r"\[ADR (\d+)\]\((?:docs/)?(?:\.\./)?(?:adr/)?([^)]+)\)", text)
    assert len(linked) == len(re.findall(r"\bADRs? \d+", text))
    assert [name for number, name in linked if DECISIONS[int(number)].name != name] == []


def test_code_cites_only_rules_and_decisions_that_exist() -> None:
    sources = [
        file
        for folder in ("promo_assets", "promo_assets_tests")
        for ending in ("*.py", "*.sql")
        for file in (PROJECT_ROOT / folder).rglob(ending)
    ]
    text = "\n".join(file.read_text() for file in sources)
    rules = set(re.findall(r"\b[Rr]ules?(?:\.md)? (\d\.\d(?:\.\d)?)", text))
    decisions = {int(n) for n in re.findall(r"\bADR (\d+)|docs/adr/(\d{4})", text) for n in n if n}
    assert {
        rule for rule in rules if not re.search(rf"^#+ {re.escape(rule)} ", RULES, re.M)
    } == set()
    assert decisions - DECISIONS.keys() == set()


def test_every_command_that_a_page_names_exists_with_its_options() -> None:
    root = typer.main.get_command(app)
    wrong = []
    for page in PAGES:
        for line in re.findall(r"(?:^|[\s`/])promo-assets ([a-z][^`|#)\n]*)", page.read_text()):
            words = line.split()
            command = root
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            known = {option for each in command.params for option in each.opts} | {"--help"}
            if command.name == "with-dagster":  # the rest is another program's
                continue
            unknown = {word for word in words if word.startswith("--")} - known
            if hasattr(command, "commands") or unknown:
                wrong.append(f"{page.name}: {line}")
    assert wrong == []


def test_the_page_of_settings_and_the_example_name_every_setting() -> None:
    settings = {f"PROMO_{name.upper()}" for name in Settings.model_fields}
    for name in ("docs/settings.md", ".env.example"):
        named = set(re.findall(r"PROMO_[A-Z_]+", (PROJECT_ROOT / name).read_text()))
        assert named - {"PROMO_UI_ADDRESS", "PROMO_"} == settings, name
