"""The lake against its peers, on the same data, in one run: `python benchmarks/lake.py` (15 minutes; `--small-only`: five minutes).

28 days of the sample's events, 0.5 M (20,000 users) and 5 M (200,000 users), 2,000 channels; the marts as of the last day. Peers:
*textbook*, the Spark jobs that tutorials show: plain reads of RAW, in each job a cross join with the cities, a Python UDF for the
distance and a window that keeps the nearest; pairs of friends by a self-join of the subscriptions. At 0.5 M only, once;
*duckdb*, two threads, each table by the fastest SQL found for it, reading and writing parquet. It reads our STG and DDS; it keeps no
tables per day, no days apart, and promises nothing to who reads meanwhile.
Each contestant is a process of its own; they take turns, one step at a time. Results that differ from ours end the run.
"""

import argparse
import json
import math
import queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import psutil
from rich.console import Console
from rich.table import Table

from promo_assets.lake import tables
from promo_assets.lake.transform.calendar_days import days_between
from promo_assets.lake.transform.cities import (
    EARTH_RADIUS_KM,
    NEARLY_EQUAL,
    SHIPPED,
    City,
    parse_cities,
)
from promo_assets.local.sample.days import Sample, write_day
from promo_assets.settings import Settings

DEPTH = 28
AS_OF = date(2022, 6, 28)
START = AS_OF - timedelta(days=DEPTH - 1)
THREADS = 2
OWNER = "bench"
SIZES = {"0.5 M": (500_000, 20_000), "5 M": (5_000_000, 200_000)}  # events, users
CHANNELS = 2_000
HISTORY = [table.name for table in tables.HISTORY]
MARTS = USERS, GEO, FRIENDS = [tables.USERS.name, tables.GEO_MART.name, tables.FRIENDS.name]
STG, DDS, REJECTED = "STG", "DDS events", "rejected_events"
OURS = [STG, DDS, REJECTED, *HISTORY, *MARTS]
NEEDED = ["visits", "first_messages"]  # of the history, by the marts users and geo
SUMS = {
    "DDS + users + geo": [DDS, USERS, GEO],
    "the same + their history": [DDS, USERS, GEO, *NEEDED],
    "all marts": MARTS,
    "all marts + history": [*HISTORY, *MARTS],
}
Steps = dict[str, Callable[[], object]]
Seconds = dict[str, list[float]]  # of each step, by round; the first is cold
console = Console(stderr=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="warm rounds, after the cold one")
    parser.add_argument("--small-only", action="store_true", help="leave out the 5 M events")
    parser.add_argument("--skip-textbook", action="store_true", help="leave out the textbook jobs")
    parser.add_argument(
        "--friends-limit",
        type=int,
        default=180,
        help="seconds that the textbook's friends are waited for",
    )
    parser.add_argument("--contestant", nargs=2, metavar=("NAME", "ROOT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        name, root = arguments.contestant
        serve(CONTESTANTS[name], Path(root))
        return
    results = {}
    for size in list(SIZES)[: 1 if arguments.small_only else None]:
        with tempfile.TemporaryDirectory(prefix="promo-bench-") as folder:
            make_sample(Path(folder), *SIZES[size])
            results[size] = race(Path(folder), arguments.rounds)
            if size == "0.5 M" and not arguments.skip_textbook:
                results[size]["textbook"] = run_textbook(Path(folder), arguments.friends_limit)
    for size, of_size in results.items():
        print_times(size, of_size)
    print_targets(results)


@dataclass
class Result:
    seconds: Seconds
    peak_mib: dict[str, float]

    def cold(self, steps: list[str]) -> float:
        return sum(self.seconds[step][0] for step in steps)

    def warm(self, steps: list[str]) -> float:
        return sum(
            statistics.median(self.seconds[step][1:] or self.seconds[step]) for step in steps
        )


def make_sample(root: Path, events: int, users: int) -> None:
    days = days_between(START, AS_OF)
    console.log(f"{events:,} events")
    for number, day in enumerate(days):
        sample = Sample(
            events // len(days) + (number < events % len(days)), users, CHANNELS, seed=1
        )
        folder = root / tables.RAW_EVENTS.path.lstrip("/") / tables.day_folder(day)
        folder.mkdir(parents=True)
        write_day(sample, day, folder / "part-0.parquet", lambda _: None)


def race(root: Path, rounds: int) -> dict[str, Result]:
    with Contestant("ours", root) as ours, Contestant("duckdb", root) as duck:
        for number in range(1 + rounds):
            for contestant in (ours, duck):
                for step in OURS if contestant is ours else [DDS, *MARTS]:
                    contestant.take(step)
            if number == 0:
                compare(root, "duckdb", [DDS, *MARTS])
            console.log(
                f"round {number} of {rounds}: "
                + ", ".join(
                    f"{c.name} {sum(s[-1] for s in c.seconds.values()):.1f} s" for c in (ours, duck)
                )
            )
        return {contestant.name: contestant.result() for contestant in (ours, duck)}


def run_textbook(root: Path, friends_limit: int) -> Result:
    with Contestant("textbook", root) as textbook:
        for step in (DDS, USERS, GEO):
            textbook.take(step)
        compare(root, "textbook", [DDS, USERS, GEO])
        textbook.take(FRIENDS, friends_limit)
        return textbook.result()


class Contestant:
    """A peer in its own process: it takes the steps that it reads from its standard input, and says how long each took."""

    def __init__(self, name: str, root: Path):
        self.name = name
        self.seconds: Seconds = {}
        self._peak_mib: dict[str, float] = {}
        self._said: queue.Queue[str | None] = queue.Queue()
        self._log = root / f"{name}.log"
        with self._log.open("w") as log:
            command = [sys.executable, __file__, "--contestant", name, str(root)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._watch_memory, daemon=True).start()

    def __enter__(self) -> "Contestant":
        self._hear("session", None)
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*psutil.Process(self._process.pid).children(recursive=True), self._process):
            process.kill()
        self._process.wait()

    def take(self, step: str, limit_s: float | None = None) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{step}\n")
        self._process.stdin.flush()
        self._hear(step, limit_s)

    def result(self) -> Result:
        return Result(self.seconds, self._peak_mib)

    def _hear(self, step: str, limit_s: float | None) -> None:
        try:
            line = self._said.get(timeout=limit_s)
        except queue.Empty:
            line = json.dumps(math.inf)  # not finished in time
        if line is None:
            sys.exit(f"{self.name} has ended at {step}:\n{self._log.read_text()[-5000:]}")
        self.seconds.setdefault(step, []).append(json.loads(line))
        console.log(f"{self.name}, {step}: {self.seconds[step][-1]:.2f} s")

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._said.put(line)
        self._said.put(None)

    def _watch_memory(self) -> None:
        """The most that its processes had in memory, by program."""
        while True:
            try:
                root = psutil.Process(self._process.pid)
                for process in (root, *root.children(recursive=True)):
                    # Not by its name: what the JVM forks has, until it is another program, the name of a thread and the JVM's memory.
                    kind = "JVM" if Path(process.exe()).name == "java" else "Python"
                    self._peak_mib[kind] = max(
                        self._peak_mib.get(kind, 0), process.memory_info().rss / 2**20
                    )
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                if self._process.poll() is not None:
                    return
            time.sleep(0.2)


def serve(open_contestant: Callable[[Path], Steps], root: Path) -> None:
    def say(since: float) -> None:
        print(json.dumps(time.perf_counter() - since), flush=True)

    started = time.perf_counter()
    steps = open_contestant(root)
    say(started)
    for line in sys.stdin:
        started = time.perf_counter()
        steps[line.strip()]()
        say(started)


# -- contestants


def open_ours(root: Path) -> Steps:
    from promo_assets.jvm.session import open_session
    from promo_assets.lake import steps
    from promo_assets.lake.storage.lake import Lake

    lake = Lake(
        open_session(Settings(home=root / "home", spark_master=f"local[{THREADS}]"), "bench"),
        str(root),
        OWNER,
    )
    cities, days = steps.load_cities(lake), days_between(START, AS_OF)
    return {
        STG: lambda: steps.stage(lake, days),
        DDS: lambda: steps.clean(lake, cities, days),
        REJECTED: lambda: steps.reject(lake, days),
        **{
            table.name: lambda table=table: steps.build_history(lake, table, days)
            for table in tables.HISTORY
        },
        USERS: lambda: steps.build_users(lake, cities, AS_OF, DEPTH),
        GEO: lambda: steps.build_geo(lake, AS_OF, DEPTH),
        FRIENDS: lambda: steps.build_friends(lake, cities, AS_OF, DEPTH, datetime.now(UTC)),
    }


def open_textbook(root: Path) -> Steps:
    from pyspark.sql import DataFrame, SparkSession, Window
    from pyspark.sql import functions as F

    from promo_assets.jvm.session import prepare_environment

    prepare_environment(Settings(home=root / "home"))
    session = SparkSession.builder.master(f"local[{THREADS}]").config(
        "spark.sql.session.timeZone", "UTC"
    )
    spark = session.config("spark.ui.enabled", "false").getOrCreate()
    rows = [
        (city.city_id, city.city, city.lat, city.lon, city.timezone)
        for city in parse_cities(SHIPPED.read_bytes())
    ]
    cities = spark.createDataFrame(
        rows, "city_id long, city string, city_lat double, city_lon double, timezone string"
    )
    timezones = cities.select("city_id", "city", "timezone")

    @F.udf("double")
    def distance(lat_1: float, lon_1: float, lat_2: float, lon_2: float) -> float:
        lat_1, lon_1, lat_2, lon_2 = map(math.radians, (lat_1, lon_1, lat_2, lon_2))
        a = (
            math.sin((lat_2 - lat_1) / 2) ** 2
            + math.cos(lat_1) * math.cos(lat_2) * math.sin((lon_2 - lon_1) / 2) ** 2
        )
        return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(a))

    def read_events() -> DataFrame:
        raw = spark.read.parquet(str(root / tables.RAW_EVENTS.path.lstrip("/")))
        event, kind = F.col("event"), F.col("event_type")
        message, reaction, subscription = (kind == name for name in tables.EVENT_TYPES)
        user = F.when(message, event.message_from.cast("string")).when(
            reaction, event.reaction_from
        )
        user = user.when(subscription, F.coalesce(event.user, event.subscription_user))
        channel = (
            F.when(message, event.message_channel_to)
            .when(reaction, event.channel_id)
            .when(subscription, event.subscription_channel)
        )
        at = F.coalesce(event.datetime, event.message_ts)
        events = raw.where(kind.isin(*tables.EVENT_TYPES)).select(
            F.when(user.rlike("^[0-9]+$"), user.cast("long")).alias("user_id"),
            event.message_id.alias("message_id"),
            event.message_to.alias("message_to"),
            channel.alias("channel_id"),
            F.when(
                at.rlike(r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?$"), at.try_cast("timestamp")
            ).alias("event_at"),
            *("lat", "lon", "event_type", "date"),
        )
        on_earth = F.coalesce(F.col("lat").between(-90, 90), F.lit(True)) & F.coalesce(
            F.col("lon").between(-180, 180), F.lit(True)
        )
        return events.where(
            F.col("user_id").isNotNull() & (F.to_date("event_at") == F.col("date")) & on_earth
        )

    def with_city(events: DataFrame) -> DataFrame:
        located = events.where("lat is not null and lon is not null").withColumn(
            "number", F.monotonically_increasing_id()
        )
        away = located.crossJoin(cities.drop("city", "timezone")).withColumn(
            "distance", distance("lat", "lon", "city_lat", "city_lon")
        )
        nearest = Window.partitionBy("number").orderBy("distance", "city_id")
        return (
            away.withColumn("rank", F.row_number().over(nearest))
            .where("rank = 1")
            .select(*events.columns, "city_id")
        )

    def write(frame: DataFrame, table: str, *split: str) -> None:
        frame.write.mode("overwrite").partitionBy(*split).parquet(str(root / "textbook" / table))

    def dds() -> None:
        nowhere = (
            read_events()
            .where("lat is null or lon is null")
            .withColumn("city_id", F.lit(None).cast("long"))
        )
        write(with_city(read_events()).unionByName(nowhere), DDS, "date", "event_type")

    def users() -> None:
        ordered = Window.partitionBy("user_id").orderBy("event_at", "message_id", "lat", "lon")
        messages = with_city(read_events().where("event_type = 'message'")).join(
            timezones, "city_id"
        )
        arrivals = messages.withColumn("before", F.lag("city_id").over(ordered)).where(
            "before is null or before <> city_id"
        )
        left = F.coalesce(
            F.lead("event_at").over(ordered), F.lit(AS_OF + timedelta(days=1)).cast("timestamp")
        )
        visits = arrivals.withColumn(
            "days", (left.cast("double") - F.col("event_at").cast("double")) / 86_400
        )
        backwards = Window.partitionBy("user_id").orderBy(
            *(F.desc(name) for name in ("event_at", "message_id", "lat", "lon"))
        )
        last = messages.withColumn("rank", F.row_number().over(backwards)).where("rank = 1")
        home = (
            visits.where("days > 27")
            .withColumn("rank", F.row_number().over(backwards))
            .where("rank = 1")
        )
        travels = visits.groupBy("user_id").agg(
            F.sort_array(
                F.collect_list(F.struct("event_at", "message_id", "lat", "lon", "city"))
            ).alias("v")
        )
        mart = last.join(
            home.select("user_id", F.col("city").alias("home_city")), "user_id", "left"
        ).join(travels, "user_id")
        local_time = F.from_utc_timestamp("event_at", F.col("timezone")).alias("local_time")
        travel = (F.size("v").alias("travel_count"), F.col("v.city").alias("travel_array"))
        write(
            mart.select(
                "user_id", F.col("city").alias("act_city"), "home_city", *travel, local_time
            ),
            USERS,
        )

    def geo() -> None:
        events = with_city(read_events()).select(
            "user_id", "message_id", "lat", "lon", "event_at", "event_type", "city_id", "date"
        )
        nowhere = (
            read_events()
            .where("event_type = 'message' and (lat is null or lon is null)")
            .withColumn("city_id", F.lit(None).cast("long"))
        )
        messages = events.where("event_type = 'message'").unionByName(
            nowhere.select(*events.columns)
        )
        ordered = Window.partitionBy("user_id").orderBy("event_at", "message_id", "lat", "lon")
        first = (
            messages.withColumn("rank", F.row_number().over(ordered))
            .where("rank = 1 and city_id is not null")
            .drop("rank")
        )
        happened = events.unionByName(first.withColumn("event_type", F.lit("user")))
        happened = happened.withColumn("week", F.date_trunc("week", "event_at")).withColumn(
            "month", F.date_trunc("month", "event_at")
        )
        mart = happened.select(F.col("city_id").alias("zone_id"), "week", "month").distinct()
        for period in ("week", "month"):
            counts = (
                F.count(F.when(F.col("event_type") == kind, 1)).alias(f"{period}_{kind}")
                for kind in (*tables.EVENT_TYPES, "user")
            )
            mart = mart.join(
                happened.groupBy(F.col("city_id").alias("zone_id"), period).agg(*counts),
                ["zone_id", period],
            )
        write(mart.select(*tables.GEO_MART.column_names), GEO)

    def friends() -> None:
        subscribed = (
            read_events()
            .where("event_type = 'subscription'")
            .select("user_id", "channel_id")
            .distinct()
        )
        left, right = (
            subscribed.withColumnRenamed("user_id", "user_left"),
            subscribed.withColumnRenamed("user_id", "user_right"),
        )
        pairs = (
            left.join(right, "channel_id")
            .where("user_left < user_right")
            .select("user_left", "user_right")
            .distinct()
        )
        backwards = Window.partitionBy("user_id").orderBy(
            *(F.desc(name) for name in ("event_at", "message_id", "lat", "lon"))
        )
        last = (
            with_city(read_events())
            .withColumn("rank", F.row_number().over(backwards))
            .where("rank = 1")
        )
        one = last.selectExpr(
            "user_id user_left", "lat lat_1", "lon lon_1", "city_id zone_id"
        ).join(timezones.withColumnRenamed("city_id", "zone_id"), "zone_id")
        other = last.selectExpr("user_id user_right", "lat lat_2", "lon lon_2")
        near = (
            pairs.join(one, "user_left")
            .join(other, "user_right")
            .where(distance("lat_1", "lon_1", "lat_2", "lon_2") <= 1)
        )
        direct = read_events().where("event_type = 'message'")
        wrote = direct.select(
            F.least("user_id", "message_to").alias("user_left"),
            F.greatest("user_id", "message_to").alias("user_right"),
        )
        strangers = near.join(wrote, ["user_left", "user_right"], "left_anti").withColumn(
            "processed_dttm", F.current_timestamp()
        )
        local_time = F.from_utc_timestamp("processed_dttm", F.col("timezone")).alias("local_time")
        write(
            strangers.select("user_left", "user_right", "zone_id", "processed_dttm", local_time),
            FRIENDS,
        )

    return {DDS: dds, USERS: users, GEO: geo, FRIENDS: friends}


NEAR = """
create macro haversine_km(lat_1, lon_1, lat_2, lon_2) as 2 * 6371.0::double * asin(sqrt(least(1.0::double,
    sin(radians(lat_2 - lat_1) / 2) * sin(radians(lat_2 - lat_1) / 2)
    + cos(radians(lat_1)) * cos(radians(lat_2)) * sin(radians(lon_2 - lon_1) / 2) * sin(radians(lon_2 - lon_1) / 2))));
create macro chord_squared(x_1, y_1, z_1, x_2, y_2, z_2) as
    (x_1 - x_2) * (x_1 - x_2) + (y_1 - y_2) * (y_1 - y_2) + (z_1 - z_2) * (z_1 - z_2);
"""
DUCK_DDS = r"""
with told as (
    select *, coalesce(event.datetime, event.message_ts) as at_text,
        case event_type when 'message' then event.message_from::varchar when 'reaction' then event.reaction_from
            else coalesce(event.user, event.subscription_user) end as user_text,
        case event_type when 'message' then event.message_channel_to when 'reaction' then event.channel_id
            else event.subscription_channel end as channel_id
    from staged where event_type in ('message', 'reaction', 'subscription')
),
typed as (
    select case when regexp_full_match(user_text, '[0-9]+') then try_cast(user_text as bigint) end as user_id,
        event.message_id as message_id, event.message_to as message_to, channel_id,
        case when regexp_full_match(at_text, '\d\d\d\d-\d\d-\d\d[ T]([01]\d|2[0-3]):[0-5]\d:[0-5]\d([.]\d+)?')
            then try_cast(replace(left(at_text, 26), 'T', ' ') as timestamp)::timestamptz end as event_at,
        lat, lon, event_type, date
    from told
),
usable as (
    select *, cos(radians(lat)) * cos(radians(lon)) as x, cos(radians(lat)) * sin(radians(lon)) as y, sin(radians(lat)) as z
    from typed where user_id is not null and event_at::date = date
        and coalesce(lat between -90 and 90, true) and coalesce(lon between -180 and 180, true)
),
dots as (select *, {dots} from usable),
best as (select *, greatest({names}) - {nearly} as nearly_best from dots)
select user_id, message_id, message_to, channel_id, event_at, lat, lon, case {cases} end::bigint as city_id, event_type, date from best
"""
DUCK_USERS = """
with ordered as (
    select user_id, city_id, event_at, date, row_number() over place as number,
        city_id is distinct from lag(city_id) over place as moved,
        date >= $start and coalesce(lag(date) over place < $start, false) as enters
    from events where event_type = 'message' and city_id is not null and date <= $as_of
    window place as (partition by user_id order by event_at, message_id nulls first, lat, lon)
),
visits as (
    select user_id, city_id, number, event_at + interval 27 days < coalesce(
        lead(event_at) over (partition by user_id order by number), ($as_of + 1)::timestamptz) as is_home
    from ordered where moved
),
homes as (select user_id, arg_max(city_id, number) as city_id from visits where is_home group by user_id),
travels as (
    select user_id, arg_max(city_id, number) as city_id, max(event_at) as last_at,
        list(city order by number) filter (moved or enters) as travel_array
    from ordered join cities using (city_id) where date >= $start group by user_id
)
select user_id, place.city as act_city, home.city as home_city, len(travel_array)::int as travel_count, travel_array,
    timezone(place.timezone, last_at)::timestamptz as local_time
from travels join cities place using (city_id) left join homes using (user_id) left join cities home on home.city_id = homes.city_id
"""
DUCK_GEO = """
with first_messages as (
    select min(date) as date, arg_min_null(city_id, (event_at, coalesce(message_id, -9223372036854775808),
        coalesce(lat, '-infinity'::double), coalesce(lon, '-infinity'::double))) as city_id
    from events where event_type = 'message' and date <= $as_of group by user_id
),
days as (
    select city_id, date, event_type, count(*) as number from events where date between $start and $as_of group by all
    union all
    select city_id, date, 'user', count(*) from first_messages where date >= $start group by all
),
zones as (
    select city_id as zone_id, date_trunc('week', date) as week, date_trunc('month', date) as month,
        sum(number) filter (event_type = 'message') as message, sum(number) filter (event_type = 'reaction') as reaction,
        sum(number) filter (event_type = 'subscription') as subscription, sum(number) filter (event_type = 'user') as registration
    from days where city_id is not null group by all
)
select zone_id, week::timestamptz as week, month::timestamptz as month, {counts} from zones
window in_week as (partition by zone_id, week), in_month as (partition by zone_id, month)
"""
# Cells in space, and which of them meet; the 64 most popular channels as bits: most pairs have one of them in common. Tables for the
# steps, because DuckDB plans by their sizes. (As one query it takes five times as long; with lists of channels and list_has_any, ten.)
DUCK_FRIENDS = """
create or replace temp table seen as
with located as (
    select user_id, event_at, message_id, lat, lon, city_id from events where city_id is not null and date between $start and $as_of
),
latest as (select user_id, max(event_at) as event_at from located group by user_id)
select user_id, lat, lon, city_id from located semi join latest using (user_id, event_at)
qualify row_number() over (partition by user_id order by message_id desc nulls last, lat desc, lon desc) = 1;

create or replace temp table subscribed as
select distinct user_id, channel_id from events
where event_type = 'subscription' and channel_id is not null and date between $start and $as_of;

create or replace temp table popular as
select channel_id, row_number() over (order by count(*) desc) - 1 as number from subscribed group by channel_id;

create or replace temp table rest as select user_id, channel_id from subscribed join popular using (channel_id) where number >= 64;

create or replace temp table people as
with bits as (
    select user_id, coalesce(bit_or(1::ubigint << (number % 64)::ubigint) filter (number < 64), 0::ubigint) as bits
    from subscribed join popular using (channel_id) group by user_id
)
select user_id, lat, lon, city_id, bits, 6371 * cos(radians(lat)) * cos(radians(lon)) as x,
    6371 * cos(radians(lat)) * sin(radians(lon)) as y, 6371 * sin(radians(lat)) as z,
    ((floor(x / 1.001)::bigint + 8192) * 16384 + floor(y / 1.001)::bigint + 8192) * 16384 + floor(z / 1.001)::bigint + 8192 as cell
from seen join bits using (user_id);

create or replace temp table meeting as
with cells as (select distinct cell from people),
steps as (
    select (x * 16384 + y) * 16384 + z as step from range(-1, 2) xs(x), range(-1, 2) ys(y), range(-1, 2) zs(z) where (x, y, z) >= (0, 0, 0)
)
select cell as cell_1, cell + step as cell_2 from cells, steps where cell + step in (from cells);

create or replace temp table near as
select least(one.user_id, other.user_id) as user_left, greatest(one.user_id, other.user_id) as user_right,
    case when one.user_id < other.user_id then one.city_id else other.city_id end as zone_id, (one.bits & other.bits) <> 0 as is_common
from people one join meeting on cell_1 = one.cell join people other on other.cell = cell_2
where (cell_1 <> cell_2 or one.user_id < other.user_id)
    and (chord_squared(one.x, one.y, one.z, other.x, other.y, other.z) < {limit} * (1 - 1e-6)
        or (chord_squared(one.x, one.y, one.z, other.x, other.y, other.z) < {limit} * (1 + 1e-6)
            and haversine_km(one.lat, one.lon, other.lat, other.lon) <= 1));

with pairs as (
    select user_left, user_right, zone_id from near where is_common
    union all
    select distinct user_left, user_right, zone_id from near join rest of_left on of_left.user_id = user_left
    semi join rest of_right on of_right.user_id = user_right and of_right.channel_id = of_left.channel_id where not is_common
),
wrote as (
    select least(user_id, message_to) as user_left, greatest(user_id, message_to) as user_right
    from events where event_type = 'message' and date <= $as_of and message_to is not null
)
select user_left, user_right, zone_id, $now as processed_dttm, local_time
from pairs anti join wrote using (user_left, user_right)
join (select city_id as zone_id, timezone(timezone, $now)::timestamptz as local_time from cities) using (zone_id)
"""


def open_duckdb(root: Path) -> Steps:
    database = connect(root)
    cities = parse_cities(SHIPPED.read_bytes())
    database.execute("create table cities (city_id bigint, city varchar, timezone varchar)")
    database.executemany(
        "insert into cities values (?, ?, ?)",
        [(city.city_id, city.city, city.timezone) for city in cities],
    )
    database.execute(NEAR)
    database.execute("set preserve_insertion_order = false")
    dots = [
        f"x * {x!r} + y * {y!r} + z * {z!r} as dot_{city.city_id}"
        for city, (x, y, z) in zip(cities, map(unit_vector, cities), strict=True)
    ]
    names = [f"dot_{city.city_id}" for city in cities]
    cases = [f"when dot_{city.city_id} >= nearly_best then {city.city_id}" for city in cities]
    dds = DUCK_DDS.format(
        dots=", ".join(dots), names=", ".join(names), nearly=NEARLY_EQUAL, cases=" ".join(cases)
    )
    counts = [
        f"coalesce(sum({kind}) over in_{period}, 0)::bigint as {period}_{'user' if kind == 'registration' else kind}"
        for period in ("week", "month")
        for kind in (*tables.EVENT_TYPES, "registration")
    ]
    limit = (2 * EARTH_RADIUS_KM * math.sin(1 / (2 * EARTH_RADIUS_KM))) ** 2
    (root / "duckdb").mkdir()

    def replace(
        name: str,
        statements: str,
        values: dict[str, object],
        options: str = "",
        suffix: str = ".parquet",
    ) -> None:
        place = root / "duckdb" / f"{name}{suffix}"
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        view("events", tables.EVENTS)
        view("staged", tables.STG_EVENTS)
        *steps, query = statements.split(";")
        for statement in (*steps, f"copy ({query}) to '{place}' (format parquet{options})"):
            database.execute(
                statement,
                {name: value for name, value in values.items() if f"${name}" in statement},
            )

    def view(name: str, table: tables.Table) -> None:
        files = path_of_ours(root, table) / "*" / "*" / "*.parquet"
        types = "{'date': date, 'event_type': varchar}"
        database.execute(
            f"create or replace view {name} as from read_parquet('{files}', hive_partitioning = true, hive_types = {types})"
        )

    window = {"start": START, "as_of": AS_OF}
    return {
        DDS: lambda: replace(DDS, dds, {}, ", partition_by (date, event_type)", ""),
        USERS: lambda: replace(USERS, DUCK_USERS, window),
        GEO: lambda: replace(GEO, DUCK_GEO.format(counts=", ".join(counts)), window),
        FRIENDS: lambda: replace(
            FRIENDS, DUCK_FRIENDS.format(limit=repr(limit)), {**window, "now": datetime.now(UTC)}
        ),
    }


def unit_vector(city: City) -> tuple[float, float, float]:
    lat, lon = math.radians(city.lat), math.radians(city.lon)
    return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)


CONTESTANTS = {"ours": open_ours, "textbook": open_textbook, "duckdb": open_duckdb}


# -- what came out


def connect(root: Path) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(config={"threads": THREADS, "temp_directory": str(root / "spill")})
    database.execute("set TimeZone = 'UTC'")
    return database


def path_of_ours(root: Path, table: tables.Table) -> Path:
    return root / table.path.format(owner=OWNER).lstrip("/")


def compare(root: Path, name: str, steps: list[str]) -> None:
    """Ends the bench where a table of ours is not the same as the contestant's."""
    database = connect(root)
    of = {DDS: tables.EVENTS, **{table.name: table for table in tables.MARTS}}
    for step in steps:
        columns = ", ".join(
            column
            for column in of[step].column_names
            if step != FRIENDS or column not in ("processed_dttm", "local_time")
        )
        theirs_path = root / name / step
        glob = f"{theirs_path}/**/*.parquet" if theirs_path.is_dir() else f"{theirs_path}.parquet"
        mine, theirs = (
            f"select {columns} from read_parquet('{place}', hive_partitioning = true, hive_types_autocast = false)"
            for place in (f"{path_of_ours(root, of[step])}/**/*.parquet", glob)
        )
        sums = [
            database.execute(
                f"select count(*), sum(hash(row))::varchar from ({query}) row"
            ).fetchone()
            for query in (mine, theirs)
        ]
        if sums[0] != sums[1]:
            for title, one, other in (("ours only", mine, theirs), (f"{name} only", theirs, mine)):
                console.print(
                    title,
                    database.execute(f"{one} except all {other} order by all limit 5").fetchall(),
                )
            sys.exit(f"{step}: ours has (rows, checksum) {sums[0]}, {name} {sums[1]}")
        console.log(f"{step}: {sums[0][0]:,} rows, the same as {name}'s")


def print_times(size: str, results: dict[str, Result]) -> None:
    ours, duck, textbook = results["ours"], results["duckdb"], results.get("textbook")
    rounds = len(ours.seconds[USERS]) - 1
    table = Table(title=f"{size} events, {DEPTH} days, seconds; warm: median of {rounds} rounds")
    for column in (
        "",
        "ours cold",
        "ours warm",
        "share",
        "duckdb cold",
        "duckdb warm",
        "ours / duckdb",
        "textbook",
        "textbook / ours cold",
    ):
        table.add_column(column, justify="left" if not column else "right")
    for name, steps in {"session": ["session"], **{step: [step] for step in OURS}, **SUMS}.items():
        theirs = [step for step in steps if step in duck.seconds]
        known = (
            textbook
            and all(step in textbook.seconds or step in HISTORY for step in steps)
            and not set(steps) <= set(HISTORY)
        )
        slow = (
            textbook.cold([step for step in steps if step in textbook.seconds])
            if textbook and known
            else 0
        )
        table.add_row(
            name,
            f"{ours.cold(steps):.2f}",
            "" if name == "session" else f"{ours.warm(steps):.2f}",
            f"{ours.warm(steps) / ours.warm(OURS):.0%}" if name in OURS else "",
            f"{duck.cold(theirs):.2f}" if theirs else "",
            f"{duck.warm(theirs):.2f}" if theirs and name != "session" else "",
            f"{ours.warm(steps) / duck.warm(theirs):.2f}" if theirs and name != "session" else "",
            f"{slow:.1f}" if slow and slow < math.inf else "not finished" if slow else "",
            f"{slow / ours.cold(steps):.1f}"
            if slow and slow < math.inf and name != "session"
            else "",
            end_section=name in ("session", FRIENDS),
        )
    Console(width=160).print(table)
    for name, result in results.items():
        print(
            f"peak memory, {size}, {name}: "
            + ", ".join(f"{kind} {mib:,.0f} MiB" for kind, mib in result.peak_mib.items())
        )


def print_targets(results: dict[str, dict[str, Result]]) -> None:
    table = Table(title="targets")
    for column in ("", "target", "measured", ""):
        table.add_column(column)

    def judge(what: str, target: str, measured: str, reached: bool) -> None:
        table.add_row(what, target, measured, "reached" if reached else "NOT reached")

    small, large = results["0.5 M"], results.get("5 M")
    ours = small["ours"]
    if "textbook" in small:
        slow = small["textbook"].cold([DDS, USERS, GEO])
        for name in ("DDS + users + geo", "the same + their history"):
            cold, warm = slow / ours.cold(SUMS[name]), slow / ours.warm(SUMS[name])
            judge(
                f"{name}, 0.5 M, textbook / ours",
                ">= 10",
                f"{cold:.1f} cold, {warm:.1f} warm",
                cold >= 10,
            )
    if large:
        mine, theirs = large["ours"], large["duckdb"]
        for name in ("all marts", "all marts + history"):
            ratio = mine.warm(SUMS[name]) / theirs.warm(MARTS)
            judge(f"{name}, 5 M, ours / duckdb, warm", "<= 3 (aim: 2)", f"{ratio:.2f}", ratio <= 3)
        for mart in MARTS:
            ratio = mine.warm([mart]) / ours.warm([mart])
            target, reached = (
                ("grows with the pairs", True) if mart == FRIENDS else ("<= 12", ratio <= 12)
            )
            judge(f"{mart}, 5 M / 0.5 M, warm", target, f"{ratio:.1f}", reached)
        peak = sum(mine.peak_mib.values())
        judge("peak memory of ours, 5 M", "<= 2048 MiB", f"{peak:,.0f} MiB", peak <= 2048)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
