"""`stream reprocess`: from where it reads is checked before anything starts.

That it sends what was missed is tested with the stream.
"""

import pytest

from promo_assets_tests.support.command_line import env, one_line, put, run

__all__ = ["env"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "either --from-time, or --from-offset"),
        (["--from-time", "2026-01-01", "--from-offset", "0:1"], "either --from-time, or"),
        (["--from-time", "yesterday"], "not a time such as 2026-01-31T12:00:00Z"),
        (["--from-time", "2999-01-01"], "in the future"),
        (["--from-time", "1969-12-31"], "Kafka's times begin with 1970"),
        (["--from-offset", "0"], "--from-offset 0: not PARTITION:OFFSET"),
        (["--from-offset", "0:-1"], "--from-offset 0:-1: not PARTITION:OFFSET"),
        (
            ["--from-offset", "0:5", "--from-offset", "1:2", "--from-offset", "0:9"],
            "--from-offset 0:9: partition 0 is named twice, first with offset 5",
        ),
    ],
)
def test_a_wrong_start_is_one_line_and_status_2(arguments: list[str], problem: str):
    assert problem in one_line(run({}, "stream", "reprocess", *arguments), 2)


@pytest.mark.parametrize(
    ("start", "parts"),
    [
        ("0:2", ("partition 0 of topic {topic}", "0 to 1", "2")),
        ("3:0", ("topic {topic} has no partition 3", "0 to 2")),
    ],
)
def test_offsets_that_the_topic_does_not_have_are_refused_before_anything_starts(
    env: dict[str, str], start: str, parts: tuple[str, ...]
):
    put(env, "PROMO_TOPIC_IN", (b"k", b"{}", {}))
    line = one_line(run(env, "stream", "reprocess", "--from-offset", start), 2)
    assert line.startswith("--from-offset: ")
    for part in parts:
        assert part.format(topic=env["PROMO_TOPIC_IN"]) in line
