"""Markdown for Dagster's pages, read by an independent Markdown parser."""

import base64
import html
import re
from datetime import date, datetime

import pytest
from markdown_it import MarkdownIt

from promo_assets import markdown

HUGE = 2**63 - 1
# What Dagster's Markdown reader (mdast-util-gfm-autolink-literal) turns into a link, both in the
# source and in the unescaped text.
AUTOLINK = re.compile(
    r"(https?://|www(?=\.))([-.\w]+)([^ \t\r\n]*)|([-.\w+]+)@([-\w]+(?:\.[-\w]+)+)", re.IGNORECASE
)


def test_an_image_holds_the_picture_and_its_description() -> None:
    (image,) = re.findall(
        r"<img [^>]*>",
        MarkdownIt().render(
            markdown.render_image(b"\x89PNG\x00", "zones [of *Perth*]\n& \\ `all`")
        ),
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
    assert parse_table(markdown.render_table(["before", "value", "after"], [(1, value, 2)])) == [
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
def test_an_address_is_shown_but_is_not_a_link(value: str) -> None:
    source = markdown.render_table(["value"], [(value,)])
    ((shown,),) = parse_table(source)[1:]
    assert html.unescape("".join(re.split(r"<a href=\"\"></a>", shown))) == value
    texts = [html.unescape(text) for text in re.split(r"<[^>]*>", shown)]
    assert [text for text in (source, *texts) if AUTOLINK.search(text)] == []


def test_a_table_has_at_most_ten_rows_and_aligns_numbers_to_the_right() -> None:
    text = markdown.render_table(
        ["user_id", "_city*"], [(n, None if n == 3 else f"c{n}") for n in range(50)]
    )
    assert text.splitlines()[:3] == ["| user_id | \\_city\\* |", "| ---: | --- |", "| 0 | c0 |"]
    assert parse_table(text) == [["user_id", "_city*"]] + [
        [str(n), "<em>null</em>" if n == 3 else f"c{n}"] for n in range(10)
    ]


def test_a_table_without_rows_says_so() -> None:
    text = markdown.render_table(["user_id", "city"], [])
    assert parse_table(text) == [["user_id", "city"]]
    assert text.endswith("\n\n*no rows*")


def test_a_row_of_the_wrong_length_is_an_error() -> None:
    with pytest.raises(ValueError):
        markdown.render_table(["user_id", "city"], [(1,)])


def parse_table(text: str) -> list[list[str]]:
    """Returns the cells as HTML, as an independent Markdown parser renders them."""
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    lines = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.DOTALL) for line in lines]
