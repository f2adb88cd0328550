"""The asset graph: as it is specified, and as a page of Dagster's UI draws it."""

import re

GRAPH: dict[str, set[str]] = {
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
"""What each asset is made from; an asset is its group and its name."""

BOXES = """() => Array.from(document.querySelectorAll("svg foreignObject")).map(box => ({
    group: box.classList.contains("group") ? box.innerText || box.textContent : null,
    name: (box.querySelector("[data-tooltip]") || {dataset: {}}).dataset.tooltip,
    x: +box.getAttribute("x"), y: +box.getAttribute("y"),
    width: +box.getAttribute("width"), height: +box.getAttribute("height")}))"""
LINES = """() => Array.from(document.querySelectorAll("svg path[marker-end]"))
    .map(line => line.getAttribute("d"))"""


def read_graph(page) -> dict[str, set[str]]:
    """Reads the graph that the page draws: the assets whose lines lead to each asset's box."""
    boxes, lines = page.evaluate(BOXES), page.evaluate(LINES)
    groups = [box for box in boxes if box["group"]]
    assets = {name_asset(box, groups): box for box in boxes if not box["group"] and box["name"]}
    edges: dict[str, set[str]] = {name: set() for name in assets}
    for line in lines:
        first_x, first_y, *_, last_x, last_y = map(float, re.findall(r"-?[\d.]+", line))
        sources = [
            name
            for name, box in assets.items()
            if touches(box, box["x"] + box["width"], first_x, first_y)
        ]
        for name, box in assets.items():
            if touches(box, box["x"], last_x, last_y):
                edges[name] |= set(sources)
    return edges


def name_asset(box: dict, groups: list[dict]) -> str:
    """Returns the asset's name after that of the group whose box it is in."""
    (group,) = [
        each["group"].split()[0]
        for each in groups
        if each["x"] <= box["x"] < each["x"] + each["width"]
        and each["y"] <= box["y"] < each["y"] + each["height"]
    ]
    return f"{group}/{box['name']}"


def touches(box: dict, side: float, x: float, y: float) -> bool:
    """Tells whether a line ends at the middle of a side of the box, give or take a few points."""
    return abs(side - x) <= 25 and abs(box["y"] + box["height"] / 2 - y) < 2
