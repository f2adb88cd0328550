"""What people see in Dagster's UI, and click: the tests go in this order, each finds what the ones before left."""

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
from promo_assets_tests.support.dagster_dev import DagsterDev, page_of
from promo_assets_tests.support.expectation import campaign
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World

# Of the specification: each asset, with its group, and what it is made from.
GRAPH = {
    "promo_stream/promo_campaigns": set(),
    "promo_stream/subscribers_restaurants": set(),
    "promo_stream/promo_notifications": {
        "promo_stream/promo_campaigns",
        "promo_stream/subscribers_restaurants",
    },
    "promo_stream/subscribers_feedback": {
        "promo_stream/promo_campaigns",
        "promo_stream/subscribers_restaurants",
    },
    "promo_stream/promo_dead_letters": {"promo_stream/promo_campaigns"},
    "raw/events": set(),
    "stg/events": {"raw/events"},
    "dds/geo": set(),
    "dds/events": {"stg/events", "dds/geo"},
    "dds/rejected_events": {"stg/events", "dds/geo"},
    "dds/visits": {"dds/events"},
    "dds/first_messages": {"dds/events"},
    "dds/correspondents": {"dds/events"},
    "dds/last_positions": {"dds/events"},
    "mart/users": {"dds/visits", "dds/geo"},
    "mart/geo": {"dds/events", "dds/first_messages"},
    "mart/friend_recomendation": {
        "dds/last_positions",
        "dds/events",
        "dds/correspondents",
        "dds/geo",
    },
    "stg/subscribers_feedback": {"promo_stream/subscribers_feedback"},
    "mart/campaign_results": {"stg/subscribers_feedback"},
    "mart/restaurant_results": {"stg/subscribers_feedback"},
}
GROUPS = {name.partition("/")[0] for name in GRAPH}
BOXES = """() => Array.from(document.querySelectorAll("svg foreignObject")).map(box => ({
    group: box.classList.contains("group") ? box.innerText || box.textContent : null,
    name: (box.querySelector("[data-tooltip]") || {dataset: {}}).dataset.tooltip,
    x: +box.getAttribute("x"), y: +box.getAttribute("y"), width: +box.getAttribute("width"), height: +box.getAttribute("height")}))"""
LINES = """() => Array.from(document.querySelectorAll("svg path[marker-end]")).map(line => line.getAttribute("d"))"""
TERMINATED_S = 30


def test_the_stream_s_page_tells_how_it_stands(ui: Ui, dagster: DagsterDev) -> None:
    wait_for(
        lambda: page_of(dagster, "promo_notifications").get("lag_messages") == 0,
        "a page with the lag",
        90,
    )
    with ui.open("/assets/promo_notifications?view=overview", height=2200) as page:
        ui.shows(metadata(page, "state"), "running")
        for name in ("running_since", "heartbeat"):
            ui.shows(metadata(page, name), "UTC")
        for name, value in {
            "lag_messages": 0,
            "lag_seconds": 0,
            "waiting": 1,
            "rejected": 2,
            "notifications": 60,
        }.items():
            ui.shows(metadata(page, name), re.compile(rf"\D{value}\s*$"))
        ui.shows(
            metadata(page, "waiting_campaigns"),
            re.compile("Breakfast.*restaurant-1|restaurant-1.*Breakfast", re.DOTALL),
        )
        for reason in ("the value is not JSON", "adv_campaign_id is missing"):
            ui.shows(metadata(page, "latest_rejections"), reason)
        ui.shows(metadata(page, "last_error"), "none")
        assert "Show Markdown" not in page.inner_text("body")
        top, bottom = (
            page.get_by_text(text, exact=True).first.bounding_box()["y"] - 10
            for text in ("Metadata", "latest_rejections")
        )
        ui.picture(
            page, "stream", clip={"x": 230, "y": top, "width": 850, "height": bottom + 230 - top}
        )


def test_addresses_that_others_wrote_are_no_links(
    ui: Ui, dagster: DagsterDev, world: World
) -> None:
    now = int(time.time())
    name = "https://example.com www.example.com ann@example.com"
    world.send(campaign("restaurant-1", name, now + 30_000, now + 86_400))
    wait_for(lambda: page_of(dagster)["waiting"] == 2, "a second campaign that waits", 90)
    with ui.open("/assets/promo_notifications?view=overview", height=2200) as page:
        ui.shows(metadata(page, "waiting_campaigns"), name)
        assert [
            link.get_attribute("href")
            for link in metadata(page, "waiting_campaigns").locator("a[href*=example]").all()
        ] == []


def metadata(page, name: str):
    """The row of an asset's page that tells `name`; its Markdown is drawn a while after the row."""
    return page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))


def test_a_day_of_the_lake_is_materialized_by_clicks_and_ends_green(
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


def test_a_mart_s_page_shows_its_rows_its_columns_a_preview_and_a_picture(
    ui: Ui, dagster: DagsterDev
) -> None:
    (record,) = dagster.instance.fetch_materializations(
        dg.AssetKey(["mart", "geo"]), limit=1
    ).records
    assert record.asset_materialization
    told = {name: entry.value for name, entry in record.asset_materialization.metadata.items()}
    drawn = png_in(str(told["zones"]))
    with ui.open("/assets/mart/geo?view=overview", height=1500) as page:
        page.get_by_text("Row count").wait_for()
        page.get_by_text(str(told["dagster/row_count"]), exact=True).first.wait_for()
        for column in ("zone_id", "week", "month", "week_message", "month_user"):
            page.get_by_text(column, exact=True).first.wait_for()
        preview = metadata(page, "preview")
        preview.wait_for()
        if preview.get_by_text("[Show Markdown]").count():  # it is long
            preview.get_by_text("[Show Markdown]").click()
            preview = page.get_by_role("dialog")
        zones_and_weeks = preview.get_by_role("row", name=re.compile(r"^\d+ 20\d\d-"))
        ui.counts(zones_and_weeks, 10)
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
        metadata(page, "zones").get_by_text("[Show Markdown]").click()
        image = page.get_by_role("dialog").locator("img")
        image.wait_for()
        page.wait_for_function("() => document.querySelector('[role=dialog] img').naturalWidth > 0")
        assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == list(
            drawn.size
        )
        seen = Image.open(io.BytesIO(image.screenshot())).convert("RGB")
        ui.picture(page, "mart", clip={"x": 0, "y": 0, "width": 1440, "height": 900})
    # Each picture as a small one: what is drawn is where it was drawn, whatever the browser made of the pixels.
    small = (64, 32)
    difference = ImageChops.difference(seen.resize(small), drawn.convert("RGB").resize(small))
    assert max(high for _, high in difference.getextrema()) < 60
    assert len(set(seen.resize(small).getdata())) > 20, "a picture of one colour is no picture"


def png_in(markdown: str) -> Image.Image:
    (encoded,) = re.findall(r"base64,([^)]*)", markdown)
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


def test_the_graph_shows_every_group_and_every_edge(ui: Ui) -> None:
    with ui.open("/asset-groups", width=3000, height=4300, scale=0.6) as page:
        page.get_by_text("promo_stream", exact=True).first.wait_for()
        page.keyboard.press("Alt+e")
        with contextlib.suppress(AssertionError):  # it is drawn bit by bit
            wait_for(lambda: drawn_graph(page) == GRAPH, "the whole graph", 30)
        assert drawn_graph(page) == GRAPH
        ui.shows_not(page.locator("svg[class*=svgContainer]"), "Loading")
        drawn = page.locator("svg[class*=svgContainer]").bounding_box()
        ui.picture(page, "graph", clip=drawn)


def drawn_graph(page) -> dict[str, set[str]]:
    """Each asset's name, and where the lines that lead to its box come from."""
    boxes, lines = page.evaluate(BOXES), page.evaluate(LINES)
    groups = [box for box in boxes if box["group"]]
    assets = {name_in(box, groups): box for box in boxes if not box["group"] and box["name"]}
    edges: dict[str, set[str]] = {name: set() for name in assets}
    for line in lines:
        first_x, first_y, *_, last_x, last_y = map(float, re.findall(r"-?[\d.]+", line))
        sources = [
            name
            for name, box in assets.items()
            if touches(box, box["x"] + box["width"], first_x, first_y)
        ]
        for made in (
            name for name, box in assets.items() if touches(box, box["x"], last_x, last_y)
        ):
            edges[made] |= set(sources)
    return edges


def name_in(box: dict, groups: list[dict]) -> str:
    """With the group whose box it lies in."""
    (group,) = [
        each["group"].split()[0]
        for each in groups
        if each["x"] <= box["x"] < each["x"] + each["width"]
        and each["y"] <= box["y"] < each["y"] + each["height"]
    ]
    return f"{group}/{box['name']}"


def touches(box: dict, side: float, x: float, y: float) -> bool:
    """A line ends a few points before the box, at the middle of its side."""
    return abs(side - x) <= 25 and abs(box["y"] + box["height"] / 2 - y) < 2


def test_the_sensor_s_page_shows_its_ticks_and_the_running_stream(
    ui: Ui, dagster: DagsterDev
) -> None:
    run_id = dagster.runs()[0].run_id
    with ui.open("/locations/promo_assets/sensors/promo_stream_sensor") as page:
        page.get_by_text("promo_stream", exact=True).first.wait_for()
        page.get_by_text("0 runs requested").nth(1).wait_for()
        ui.picture(page, "sensor")
        newest = page.get_by_role("row").filter(has_text="View logs").first
        newest.get_by_text("0 runs requested").last.click()
        page.get_by_text(re.compile(f"run {run_id} streams")).first.wait_for()


def test_a_failed_check_is_red_and_the_marts_are_not_made(
    ui: Ui, dagster: DagsterDev, world: World
) -> None:
    today = str(datetime.now(UTC).date())
    world.execute(
        """INSERT INTO subscribers_feedback SELECT nextval('subscribers_feedback_id_seq'), restaurant_id, adv_campaign_id,
            adv_campaign_content, adv_campaign_owner, adv_campaign_owner_contact, adv_campaign_datetime_start,
            adv_campaign_datetime_end, datetime_created, client_id, trigger_datetime_created FROM subscribers_feedback LIMIT 1"""
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
    with ui.open(
        "/locations/promo_assets/sensors/promo_stream_sensor"
    ) as page:  # else it starts the next one
        page.get_by_role("switch").or_(page.locator("input[type=checkbox]")).first.dispatch_event(
            "click"
        )
        page.wait_for_function("() => !document.querySelector('input[type=checkbox]').checked")
        page.goto(page.url.split("/locations")[0] + f"/runs/{run_id}")
        page.get_by_role("button", name="Terminate").first.click()
        page.get_by_role("dialog").get_by_role("button", name=re.compile("Terminate")).click()
        page.get_by_text("Canceled", exact=True).first.wait_for()
    assert psutil.wait_procs([process], TERMINATED_S)[1] == []
    assert dagster.status(run_id) == Status.CANCELED
    with psycopg.connect(world.postgres_url) as connection:
        assert not read_heartbeat(connection).locked
