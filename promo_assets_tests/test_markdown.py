"""Markdown, read by a reader other than ours."""

import base64
import html
import re
from datetime import date, datetime

import pytest
from markdown_it import MarkdownIt

from promo_assets import markdown

HUGE = 2**63 - 1
# What Dagster's reader of markdown (mdast-util-gfm-autolink-literal) makes a link of, in the source and in the text that is left of it.
MADE_LINKS = re.compile(
    r"(https?://|www(?=\.))([-.\w]+)([^ \t\r\n]*)|([-.\w+]+)@([-\w]+(?:\.[-\w]+)+)", re.IGNORECASE
)


def test_markdown_holds_the_picture_and_its_description() -> None:
    (image,) = re.findall(
        r"<img [^>]*>",
        MarkdownIt().render(markdown.image(b"\x89PNG\x00", "zones [of *Perth*]\n& \\ `all`")),
    )
    attributes = {
        name: html.unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', image)
    }
    assert (
        base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,")) == b"\x89PNG\x00"
    )
    assert attributes["alt"] == "zones [of *Perth*] & \\ `all`"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "<em>null</em>"),
        ("null", "null"),
        ("", ""),
        ("a|b", "a|b"),
        ("a\\|b\\", "a\\|b\\"),
        ("two\nlines\r\n| three |", "two lines | three |"),
        ("*a* _b_ `c` ~~d~~ [e](f)", "*a* _b_ `c` ~~d~~ [e](f)"),
        ("<b>&amp;</b>", "&lt;b&gt;&amp;amp;&lt;/b&gt;"),
        ("x" * 100, "x" * 79 + "…"),
        (["Sydney", None, "Gold Coast"], "[Sydney, null, Gold Coast]"),
        ([], "[]"),
        (datetime(2022, 5, 31, 14, 3, 22), "2022-05-31 14:03:22"),
        (date(2022, 5, 31), "2022-05-31"),
        (HUGE, str(HUGE)),
        (-33.8651, "-33.8651"),
        (0.1 + 0.2, "0.3"),
        (True, "True"),
    ],
)
def test_a_cell_shows_its_value(value: object, shown: str) -> None:
    assert _table(markdown.table(["before", "value", "after"], [(1, value, 2)])) == [
        ["before", "value", "after"],
        ["1", shown, "2"],
    ]


@pytest.mark.parametrize(
    "value",
    [
        "https://example.com/a?b=c",
        "HTTP://EXAMPLE.COM",
        "see (www.example.com)",
        "WWW.example.com",
        "ann_b@example.com, mailto:ann@example.com",
        "hi!@example.com",
        "![x](https://example.com)@www.example.com",
        "<https://example.com>",
    ],
)
def test_an_address_is_shown_and_is_no_link(value: str) -> None:
    source = markdown.table(["value"], [(value,)])
    ((shown,),) = _table(source)[1:]
    assert html.unescape("".join(re.split(r"<a href=\"\"></a>", shown))) == value
    texts = [html.unescape(text) for text in re.split(r"<[^>]*>", shown)]
    assert [text for text in (source, *texts) if MADE_LINKS.search(text)] == []


def test_a_preview_has_at_most_ten_rows_and_numbers_at_the_right() -> None:
    text = markdown.table(
        ["user_id", "_city*"], [(n, None if n == 3 else f"c{n}") for n in range(50)]
    )
    assert text.splitlines()[:3] == ["| user_id | \\_city\\* |", "| ---: | --- |", "| 0 | c0 |"]
    assert _table(text) == [["user_id", "_city*"]] + [
        [str(n), "<em>null</em>" if n == 3 else f"c{n}"] for n in range(10)
    ]


def test_a_preview_of_no_rows_says_so() -> None:
    text = markdown.table(["user_id", "city"], [])
    assert _table(text) == [["user_id", "city"]]
    assert text.endswith("\n\n*no rows*")


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError):
        markdown.table(["user_id", "city"], [(1,)])


def _table(text: str) -> list[list[str]]:
    """The cells as HTML, by a markdown reader other than ours."""
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    lines = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.DOTALL) for line in lines]
