"""Searches for secrets wherever the project writes or shows anything.

The secrets of a test contain marks. Everything that can be read is searched for these marks:
output, web pages, command lines, files, logs and tables.
"""

import json
import re
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit

import psutil
import psycopg
from psycopg import sql

from promo_assets_tests.support.daemons import DIRECTLY

# Code that splits a URL at the wrong character leaves one of the two marks in what it shows.
MARKS = ("mark3dHead", "mark3dTail")
MAX_PAGES = 300
REST_PAGES = (
    "environment",
    "allexecutors",
    "jobs",
    "stages?details=true",
    "sql?details=true&planDescription=true&length=1000",
)


def is_marked(text: str | bytes) -> bool:
    return any((mark.encode() if isinstance(text, bytes) else mark) in text for mark in MARKS)


def find_marked_files(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix != ".jar" and is_marked(file.read_bytes()):
            yield file


def find_marked_tables(url: str) -> Iterator[str]:
    """Yield the database's tables with a mark in a row, also in a compressed value.

    Dagster compresses its snapshots.
    """
    query = """SELECT table_schema, table_name FROM information_schema.tables
        WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"""
    with psycopg.connect(url) as connection:
        for schema, table in connection.execute(query).fetchall():
            select = sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))
            rows = connection.execute(select)
            if any(is_marked(_decompress(value)) for row in rows for value in row):
                yield f"{schema}.{table}"


def _decompress(value: object) -> str | bytes:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value


def crawl_pages(*start_urls: str) -> dict[str, str]:
    """Return the content of pages by URL: the first ones, and those that they link to on this host.

    Of Spark's REST interface, this includes what each application shows about itself.
    """
    pages: dict[str, str] = {}
    queue = [*start_urls]
    host = urlsplit(start_urls[0]).netloc
    while queue and len(pages) < MAX_PAGES:
        url = queue.pop(0).partition("#")[0]
        is_page = "/kill" not in url and "/static/" not in url
        if url in pages or urlsplit(url).netloc != host or not is_page:
            continue
        try:
            with DIRECTLY.open(url, timeout=30) as answer:
                pages[url] = answer.read().decode(errors="replace")
        except HTTPError as error:
            pages[url] = error.read().decode(errors="replace")
            continue
        queue += _find_links(url, pages[url])
    return pages


def _find_links(url: str, page: str) -> list[str]:
    links = re.findall(r'href="([^"#][^"]*)"', page)
    urls = [urljoin(url, link.replace("&amp;", "&")) for link in links]
    if url.endswith("/api/v1/applications"):
        for application in json.loads(page):
            urls += [f"{url}/{application['id']}/{part}" for part in REST_PAGES]
    return urls


@contextmanager
def record_command_lines(command_lines: set[str]) -> Iterator[None]:
    """Add the command lines of all processes to the set, ten times a second, within `with`."""
    stop = threading.Event()

    def record() -> None:
        while not stop.wait(0.1):
            for process in psutil.process_iter(["cmdline"]):
                command_lines.add(" ".join(process.info["cmdline"] or []))

    recorder = threading.Thread(target=record, daemon=True)
    recorder.start()
    try:
        yield
    finally:
        stop.set()
        recorder.join()
