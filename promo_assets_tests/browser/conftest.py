"""Headless Chromium on the project's `dagster dev`, with a running stream and a day of RAW."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib import util
from pathlib import Path

import pytest
from PIL import Image

from promo_assets_tests.support.command_line import COMMAND
from promo_assets_tests.support.dagster_dev import DagsterDev, dagster_dev
from promo_assets_tests.support.expectation import campaign
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World, new_world

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SLOW_MS = 60_000
FAVOURITES = [(f"client-{number:02}", f"restaurant-{number % 3}") for number in range(60)]
COLOURS = 64


def last_day() -> date:
    """The lake's, as Dagster's "Latest" has it at this moment."""
    return datetime.now(UTC).date() - timedelta(days=1)


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    if CHROMIUM is None or util.find_spec("playwright") is None:
        missing = (
            "the browser tests need Chromium (apt install chromium) "
            "and `bash promo_assets_tests/browser/install.sh`"
        )
        assert os.environ.get("CI") != "true", missing
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def world(services, chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world of a file's tests: favourites, two days of RAW and campaigns.

    The second day of RAW is the one that midnight could make the last. Of the campaigns some are
    due, some wait and some are broken.
    """
    with new_world(services, tmp_path_factory.mktemp("browser")) as made:
        made.extra_env["PROMO_LAKE_ROOT"] = str(made.home / "lake")
        made.favour(FAVOURITES)
        first = last_day()
        made.extra_env["PROMO_LAKE_START"] = str(first)
        until = ["--days", "2", "--last-day", str(first + timedelta(days=1))]
        sample = ["lake", "sample", *until, "--events-per-day", "2000", "--users", "300"]
        subprocess.run(
            [COMMAND, *sample], env=made.env, check=True, capture_output=True, timeout=60
        )
        now = int(time.time())
        made.send(
            *(
                campaign(f"restaurant-{n}", f"Two for one, no. {n}", now - 100, now + 86_400)
                for n in range(3)
            )
        )
        made.send(
            campaign("restaurant-1", "Breakfast", now + 40_000, now + 86_400),
            b"{broken",
            b'{"restaurant_id": "restaurant-2"}',
        )
        yield made


@pytest.fixture(scope="module")
def dagster(world: World) -> Iterator[DagsterDev]:
    with dagster_dev(world) as started:
        wait_for(started.web_server_answers, "the web server", 120)
        wait_for(
            lambda: world.execute("SELECT count(*) FROM subscribers_feedback") == [(60,)],
            "the first notifications",
            180,
        )
        yield started


class Ui:
    """A page of the web server, and what people do with it."""

    def __init__(self, dagster: DagsterDev, chromium, pictures: Path | None):
        self._dagster = dagster
        self._chromium = chromium
        self._pictures = pictures

    @contextmanager
    def open(self, path: str, width: int = 1440, height: int = 900, scale: float = 1) -> Iterator:
        viewport = {"width": width, "height": height}
        page = self._chromium.new_page(
            viewport=viewport, device_scale_factor=scale, timezone_id="UTC", locale="en-US"
        )
        page.set_default_timeout(SLOW_MS)
        try:
            page.goto(f"http://127.0.0.1:{self._dagster.port}{path}")
            yield page
        except BaseException:
            file = self._dagster.home.parent / f"{re.sub(r'[^a-z]+', '-', path)}.png"
            page.screenshot(path=file)
            print(f"The page at {page.url} looked like {file}:\n{page.inner_text('body')[:3_000]}")
            raise
        finally:
            page.close()

    @staticmethod
    def shows(part, text: str | re.Pattern[str]) -> None:
        """Now or soon: the UI draws a page bit by bit."""
        from playwright.sync_api import expect

        expect(part).to_contain_text(text, timeout=SLOW_MS)

    @staticmethod
    def shows_not(part, text: str) -> None:
        from playwright.sync_api import expect

        expect(part).not_to_contain_text(text, timeout=SLOW_MS)

    @staticmethod
    def counts(parts, number: int) -> None:
        from playwright.sync_api import expect

        expect(parts).to_have_count(number, timeout=SLOW_MS)

    def picture(self, page, name: str, **what) -> None:
        """For the README, with `make screenshots`; small."""
        if self._pictures is None:
            return
        file = self._pictures / f"{name}.png"
        page.screenshot(path=file, **what)
        image = Image.open(file).convert("RGB")
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)


@pytest.fixture
def ui(dagster: DagsterDev, chromium, request: pytest.FixtureRequest) -> Ui:
    folder = request.config.getoption("screenshots")
    return Ui(dagster, chromium, Path(folder) if folder else None)
