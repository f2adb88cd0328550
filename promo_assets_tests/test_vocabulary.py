"""The project's language: the field's words (docs/glossary.md), and none of the private ones."""

import re
import subprocess

import pytest

from promo_assets.settings import PROJECT_ROOT

# Private words and archaisms, with what to write instead. Extend the list when one comes back.
PRIVATE = {
    r"take_turn|whose turn": "acquire_lease, lease",
    r"TakenOver": "LeaseLost",
    r"\blanes?\b|_lanes?\b": "shard",
    r"\bunits? of delivery\b|open_unit|unit_id": "dispatch",
    r"take_in\b|\btaken in\b|\btakes in\b|\bintake\b": "ingest",
    r"\bwoken\b|wake_waiting": "start what is due",
    r"\bRefused\(|\brefusals?_": "AuthorizationError",
    r"class Figures|\bBatchFigures\b": "metrics",
    r"\bHosted\b|host_promo_stream": "StreamRun",
    r"\brehearse\b": "check_kafka_permissions",
    r"promo_stream_keeper|\bthe keeper\b": "promo_stream_sensor, the sensor",
    r"promo_assets/half": "promo_assets/subsystem",
    r"note_loaded": "load marker",
    r"\binterruptible\b": "cancellable",
    r"\bcommands\.talk\b": "console",
    r"\b(?:LOOK|ANSWER|ASK_AGAIN|TELL_EVERY)_S\b": "POLL_S, …_TIMEOUT_S, REPORT_INTERVAL_S",
    r"\banew\b": "again",
    r"\bto be had\b": "unavailable",
    r"\bsign of life\b": "heartbeat",
    r"\bgave up for lost\b": "presumed dead",
    r"\bhas had its time\b": "expired",
    r'"""(?:Of|As|By|To|In|Also|Until|At|With) ': "a docstring is a sentence of its own",
}
# Files that name the private words.
LEXICON = {"promo_assets_tests/test_vocabulary.py", "CHANGELOG.md"}


def read_sources() -> dict[str, str]:
    patterns = ["*.py", "*.md", "*.sql", "*.yaml", "*.yml", "Makefile"]
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *patterns],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in listed.stdout.split("\n") if name and name not in LEXICON]
    return {name: (PROJECT_ROOT / name).read_text() for name in names}


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    if not (PROJECT_ROOT / ".git").exists():
        pytest.skip("only a git checkout knows which files belong to the project")
    return read_sources()


@pytest.mark.parametrize(("word", "instead"), PRIVATE.items(), ids=PRIVATE.values())
def test_no_private_word_is_left(sources: dict[str, str], word: str, instead: str) -> None:
    found = [
        f"{name}: {line.strip()[:100]}"
        for name, text in sources.items()
        for line in text.splitlines()
        if re.search(word, line)
    ]
    assert found == [], f"write {instead} instead"
