"""What people see and click in Dagster's UI.

The tests run in this order: each needs what the tests before it left behind.
"""

import base64
import contextlib
import io
import re
import time
from datetime import UTC, datetime

import dagster as dg
import psutil
import psycopg
from dagster import DagsterRunStatus as Status
from PIL import Image, ImageChops

from promo_assets.stream.ledger.lease import read_heartbeat
from promo_assets_tests.browser.conftest import Ui, last_day
from promo_assets_tests.support.asset_graph import GRAPH, read_graph
from promo_assets_tests.support.dagster_dev import DagsterDev, read_asset_page
from promo_assets_tests.support.expectation import campaign
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World

TERMINATION_S = 30


def test_the_streams_page_shows_its_state(ui: Ui, dagster: DagsterDev) -> None:
    wait_for(
        lambda: read_asset_page(dagster, "promo_notifications").get("lag_messages") == 0,
        "a page with the lag",
        90,
    )
    with ui.open("/assets/promo_notifications?view=overview", height=2200) as page:
        ui.shows(find_metadata(page, "state"), "running")
        for name in ("running_since", "heartbeat"):
            ui.shows(find_metadata(page, name), "UTC")
        for name, value in {
            "lag_messages": 0,
            "lag_seconds": 0,
            "waiting": 1,
            "rejected": 2,
            "notifications": 60,
        }.items():
            ui.shows(find_metadata(page, name), re.compile(rf"\D{value}\s*$"))
        ui.shows(
            find_metadata(page, "waiting_campaigns"),
            re.compile("Breakfast.*restaurant-1|restaurant-1.*Breakfast", re.DOTALL),
        )
        for reason in ("the value is not JSON", "adv_campaign_id is missing"):
            ui.shows(find_metadata(page, "latest_rejections"), reason)
        ui.shows(find_metadata(page, "last_error"), "none")
        assert "Show Markdown" not in page.inner_text("body")
        top, bottom = (
            page.get_by_text(text, exact=True).first.bounding_box()["y"] - 10
            for text in ("Metadata", "latest_rejections")
        )
        ui.picture(
            page, "stream", clip={"x": 230, "y": top, "width": 850, "height": bottom + 230 - top}
        )


def test_addresses_in_campaigns_are_not_links(ui: Ui, dagster: DagsterDev, world: World) -> None:
    now = int(time.time())
    name = "https://example.com www.example.com ann@example.com"
    world.send(campaign("restaurant-1", name, now + 30_000, now + 86_400))
    wait_for(lambda: read_asset_page(dagster)["waiting"] == 2, "a second campaign that waits", 90)
    with ui.open("/assets/promo_notifications?view=overview", height=2200) as page:
        ui.shows(find_metadata(page, "waiting_campaigns"), name)
        assert [
            link.get_attribute("href")
            for link in find_metadata(page, "waiting_campaigns").locator("a[href*=example]").all()
        ] == []


def find_metadata(page, name: str):
    """Returns the row of an asset's page that shows `name`.

    Its Markdown is rendered a while after the row.
    """
    return page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))


def test_a_day_of_the_lake_is_materialized_by_clicks_and_succeeds(
    ui: Ui, dagster: DagsterDev
) -> None:
    with ui.open("/locations/promo_assets/jobs/daily_lake") as page:
        before = last_day()
        page.get_by_role("button", name="Materialize all").click()
        page.get_by_role("button", name="Latest", exact=True).click()
        page.get_by_role("button", name=re.compile("^Launch")).click()
        run = wait_for(lambda: dagster.runs("daily_lake"), "the run", 60)[0]
        assert run.tags["dagster/partition"] in (str(before), str(last_day()))
        page.goto(page.url.split("/locations")[0] + f"/runs/{run.run_id}")
        page.get_by_text("Success", exact=True).first.wait_for(timeout=300_000)
        assert dagster.status(run.run_id) == Status.SUCCESS


def test_a_marts_page_shows_its_row_count_columns_preview_and_plot(
    ui: Ui, dagster: DagsterDev
) -> None:
    (record,) = dagster.instance.fetch_materializations(
        dg.AssetKey(["mart", "geo"]), limit=1
    ).records
    assert record.asset_materialization
    metadata = {name: entry.value for name, entry in record.asset_materialization.metadata.items()}
    plot = read_png(str(metadata["zones"]))
    with ui.open("/assets/mart/geo?view=overview", height=1500) as page:
        page.get_by_text("Row count").wait_for()
        page.get_by_text(str(metadata["dagster/row_count"]), exact=True).first.wait_for()
        for column in ("zone_id", "week", "month", "week_message", "month_user"):
            page.get_by_text(column, exact=True).first.wait_for()
        preview = find_metadata(page, "preview")
        preview.wait_for()
        if preview.get_by_text("[Show Markdown]").count():  # it is long
            preview.get_by_text("[Show Markdown]").click()
            preview = page.get_by_role("dialog")
        zones_and_weeks = preview.get_by_role("row", name=re.compile(r"^\d+ 20\d\d-"))
        ui.counts(zones_and_weeks, 10)
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
        find_metadata(page, "zones").get_by_text("[Show Markdown]").click()
        image = page.get_by_role("dialog").locator("img")
        image.wait_for()
        page.wait_for_function("() => document.querySelector('[role=dialog] img').naturalWidth > 0")
        assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == list(
            plot.size
        )
        seen = Image.open(io.BytesIO(image.screenshot())).convert("RGB")
        ui.picture(page, "mart", clip={"x": 0, "y": 0, "width": 1440, "height": 900})
    # The pictures are compared at a small size, since the browser resamples the pixels.
    small = (64, 32)
    difference = ImageChops.difference(seen.resize(small), plot.convert("RGB").resize(small))
    assert max(high for _, high in difference.getextrema()) < 60
    assert len(set(seen.resize(small).getdata())) > 20, "the picture must have content"


def read_png(markdown: str) -> Image.Image:
    (encoded,) = re.findall(r"base64,([^)]*)", markdown)
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


def test_the_graph_shows_every_group_and_every_edge(ui: Ui) -> None:
    with ui.open("/asset-groups", width=3000, height=4300, scale=0.6) as page:
        page.get_by_text("promo_stream", exact=True).first.wait_for()
        page.keyboard.press("Alt+e")
        with contextlib.suppress(AssertionError):  # it is drawn step by step
            wait_for(lambda: read_graph(page) == GRAPH, "the whole graph", 30)
        assert read_graph(page) == GRAPH
        ui.shows_not(page.locator("svg[class*=svgContainer]"), "Loading")
        drawn = page.locator("svg[class*=svgContainer]").bounding_box()
        ui.picture(page, "graph", clip=drawn)


def test_the_sensors_page_shows_its_ticks_and_the_running_stream(
    ui: Ui, dagster: DagsterDev
) -> None:
    run_id = dagster.runs()[0].run_id
    with ui.open("/locations/promo_assets/sensors/promo_stream_sensor") as page:
        page.get_by_text("promo_stream", exact=True).first.wait_for()
        page.get_by_text("0 runs requested").nth(1).wait_for()
        ui.picture(page, "sensor")
        newest = page.get_by_role("row").filter(has_text="View logs").first
        newest.get_by_text("0 runs requested").last.click()
        page.get_by_text(re.compile(f"run {run_id} is streaming")).first.wait_for()


def test_a_failed_check_is_shown_and_the_marts_are_not_built(
    ui: Ui, dagster: DagsterDev, world: World
) -> None:
    today = str(datetime.now(UTC).date())
    world.execute(
        """INSERT INTO subscribers_feedback
        SELECT nextval('subscribers_feedback_id_seq'), restaurant_id, adv_campaign_id,
            adv_campaign_content, adv_campaign_owner, adv_campaign_owner_contact,
            adv_campaign_datetime_start, adv_campaign_datetime_end, datetime_created, client_id,
            trigger_datetime_created
        FROM subscribers_feedback LIMIT 1"""
    )
    with ui.open("/locations/promo_assets/jobs/campaign_results") as page:
        page.get_by_role("button", name="Materialize all").click()
        page.get_by_role("button", name="Latest", exact=True).click()
        page.get_by_role("button", name=re.compile("^Launch")).click()
        run = wait_for(lambda: dagster.runs("campaign_results"), "the run", 60)[0]
        assert run.tags["dagster/partition"] == today
        page.goto(page.url.split("/locations")[0] + f"/runs/{run.run_id}")
        page.get_by_text("Failure", exact=True).first.wait_for(timeout=180_000)
    with ui.open("/assets/stg/subscribers_feedback?view=checks") as page:
        page.get_by_text("key_is_unique").first.click()
        page.get_by_text("Failed", exact=True).first.wait_for()
    with ui.open("/assets/mart/campaign_results?view=overview") as page:
        page.get_by_text(re.compile("^Failed")).first.wait_for()
        page.get_by_text("No metadata entries").wait_for()
    assert (
        dagster.instance.get_latest_materialization_event(dg.AssetKey(["mart", "campaign_results"]))
        is None
    )


def test_terminating_the_run_by_clicks_stops_the_stream(
    ui: Ui, dagster: DagsterDev, world: World
) -> None:
    run_id = dagster.runs()[0].run_id
    process = psutil.Process(dagster.pid(run_id))
    with ui.open("/locations/promo_assets/sensors/promo_stream_sensor") as page:
        # The sensor is switched off first, since it would start the next run.
        switch = page.get_by_role("switch").or_(page.locator("input[type=checkbox]")).first
        switch.dispatch_event("click")
        page.wait_for_function("() => !document.querySelector('input[type=checkbox]').checked")
        page.goto(page.url.split("/locations")[0] + f"/runs/{run_id}")
        page.get_by_role("button", name="Terminate").first.click()
        page.get_by_role("dialog").get_by_role("button", name=re.compile("Terminate")).click()
        page.get_by_text("Canceled", exact=True).first.wait_for()
    assert psutil.wait_procs([process], TERMINATION_S)[1] == []
    assert dagster.status(run_id) == Status.CANCELED
    with psycopg.connect(world.postgres_url) as connection:
        assert not read_heartbeat(connection).locked
