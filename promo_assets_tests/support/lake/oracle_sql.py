"""The oracle's statements, in DuckDB's SQL, written from the contract alone."""

# Haversine on a sphere of 6371 km; a rounding error must not take asin's argument above 1.
DISTANCE = """
create macro haversine_km(lat1, lon1, lat2, lon2) as
    2 * 6371::double * asin(sqrt(least(1::double,
        pow(sin(radians(lat2 - lat1) / 2), 2)
        + cos(radians(lat1)) * cos(radians(lat2)) * pow(sin(radians(lon2 - lon1) / 2), 2))))
"""

RAW = """
create table raw as
select event, event_type, lat, lon, date as day
from read_parquet($files, hive_partitioning = true, hive_types = {'date': date})
"""

# DuckDB's casts are lenient (it reads 24:00:00, zones, blanks and 1_000), so patterns decide what a
# number and a time are.
TYPED = r"""
create table typed as
with source as (
    select
        *,
        case event_type
            when 'message' then event.message_from::varchar
            when 'reaction' then event.reaction_from
            when 'subscription' then coalesce(event.user, event.subscription_user)
        end as user_text,
        case event_type
            when 'message' then event.message_channel_to
            when 'reaction' then event.channel_id
            when 'subscription' then event.subscription_channel
        end as channel_id,
        coalesce(event.datetime, event.message_ts) as time_text
    from raw
),
read as (
    select
        *,
        case when regexp_full_match(user_text, '[0-9]+')
            then try_cast(user_text as bigint) end as user_id,
        case when regexp_full_match(time_text, '[0-9]{4}-[0-9]{2}-[0-9]{2}[ T]'
                || '([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?')
            then try_cast(replace(left(time_text, 26), 'T', ' ') as timestamp) end as event_at
    from source
)
select
    *,
    list_filter([
        case when user_id is null then 'no user' end,
        case when event_at is null then 'no readable time' end,
        case when event_at::date <> day then 'time outside the partition''s day' end,
        case when not (coalesce(lat between -90 and 90, true)
                and coalesce(lon between -180 and 180, true))
            then 'position out of range' end,
        case when event_type is null or event_type not in ('message', 'reaction', 'subscription')
            then 'unknown type' end
    ], lambda reason: reason is not null) as reasons
from read
"""

EVENTS = """
create table events as
with position as (
    select distinct lat, lon from typed
    where lat is not null and lon is not null and len(reasons) = 0
),
away as (
    select
        position.lat, position.lon, city_id,
        round(haversine_km(position.lat, position.lon, cities.lat, cities.lon), 9) as km
    from position cross join cities
),
nearest as (
    select lat, lon, min(city_id) as city_id
    from (select *, min(km) over (partition by lat, lon) as least_km from away)
    where km = least_km
    group by lat, lon
)
select
    user_id, event.message_id, event.message_to, channel_id, event_at, lat, lon, nearest.city_id,
    event_type, day
from typed left join nearest using (lat, lon)
where len(reasons) = 0
"""

# A visit begins with a message in another city than the message before, and lasts until the next
# visit begins.
VISITS = """
create macro visits(first_day, last_day) as table
with numbered as (
    select
        *,
        row_number() over (
            partition by user_id order by event_at, message_id nulls first, lat, lon) as number
    from events
    where event_type = 'message' and city_id is not null and day between first_day and last_day
),
beginning as (
    select * from numbered
    qualify city_id is distinct from lag(city_id) over (partition by user_id order by number)
)
select
    user_id, number, city_id, event_at as begins_at,
    coalesce(
        lead(event_at) over (partition by user_id order by number),
        last_day::timestamp + interval 24 hours) as ends_at
from beginning
"""

USERS = """
with travel as (
    select user_id, count(*)::int as travel_count, list(city order by number) as travel_array
    from visits($first_day::date, $as_of::date) join cities using (city_id)
    group by user_id
),
home as (
    select user_id, city
    from visits(date '0001-01-01', $as_of::date) join cities using (city_id)
    where ends_at > begins_at + interval 27 days
    qualify number = max(number) over (partition by user_id)
),
last_message as (
    select user_id, city, event_at, timezone
    from events join cities using (city_id)
    where event_type = 'message' and day between $first_day and $as_of
    qualify row_number() over (
        partition by user_id
        order by event_at desc, message_id desc nulls last, events.lat desc, events.lon desc) = 1
)
select
    user_id, last_message.city, home.city, travel_count, travel_array,
    timezone(timezone, event_at at time zone 'UTC')
from last_message join travel using (user_id) left join home using (user_id)
"""

GEO = """
with first_message as (
    select * from events
    where event_type = 'message' and day <= $as_of
    qualify row_number() over (
        partition by user_id
        order by event_at, message_id nulls first, lat nulls first, lon nulls first) = 1
),
happened as (
    select city_id, day, event_type as what from events
    union all
    select city_id, day, 'registration' from first_message
),
counted as (
    select
        city_id as zone_id, what,
        date_trunc('week', day)::timestamp as week, date_trunc('month', day)::timestamp as month
    from happened
    where city_id is not null and day between $first_day and $as_of
),
weekly as (
    select
        zone_id, week,
        count(*) filter (what = 'message') as messages,
        count(*) filter (what = 'reaction') as reactions,
        count(*) filter (what = 'subscription') as subscriptions,
        count(*) filter (what = 'registration') as registrations
    from counted group by zone_id, week
),
monthly as (
    select
        zone_id, month,
        count(*) filter (what = 'message') as messages,
        count(*) filter (what = 'reaction') as reactions,
        count(*) filter (what = 'subscription') as subscriptions,
        count(*) filter (what = 'registration') as registrations
    from counted group by zone_id, month
)
select
    zone_id, week, month,
    weekly.messages, weekly.reactions, weekly.subscriptions, weekly.registrations,
    monthly.messages, monthly.reactions, monthly.subscriptions, monthly.registrations
from (select distinct zone_id, week, month from counted)
join weekly using (zone_id, week) join monthly using (zone_id, month)
"""

# Candidates come from cubes of 1.001 km in space: a chord is shorter than its arc, so two points
# within 1 km of each other lie in the same cube or in adjacent ones, also at the poles and at the
# 180th meridian.
FRIENDS = """
with seen as (
    select
        user_id, lat, lon, city_id,
        floor(6371 * cos(radians(lat)) * cos(radians(lon)) / 1.001)::int as x,
        floor(6371 * cos(radians(lat)) * sin(radians(lon)) / 1.001)::int as y,
        floor(6371 * sin(radians(lat)) / 1.001)::int as z
    from events
    where city_id is not null and day between $first_day and $as_of
    qualify row_number() over (
        partition by user_id
        order by event_at desc, message_id desc nulls last, lat desc, lon desc) = 1
),
around as (
    select user_id, lat, lon, city_id, x + dx as x, y + dy as y, z + dz as z
    from seen, range(-1, 2) as xs(dx), range(-1, 2) as ys(dy), range(-1, 2) as zs(dz)
),
near as (
    select one.user_id as user_left, other.user_id as user_right, one.city_id as zone_id
    from around as one join seen as other using (x, y, z)
    where one.user_id < other.user_id
        and haversine_km(one.lat, one.lon, other.lat, other.lon) <= 1.0
),
subscribed as (
    select distinct user_id, channel_id from events
    where event_type = 'subscription' and channel_id is not null
        and day between $first_day and $as_of
),
wrote as (
    select distinct
        least(user_id, message_to) as user_left, greatest(user_id, message_to) as user_right
    from events
    where event_type = 'message' and message_to is not null and day <= $as_of
)
select distinct user_left, user_right, zone_id
from near
join subscribed as of_left on of_left.user_id = user_left
join subscribed as of_right
    on of_right.user_id = user_right and of_right.channel_id = of_left.channel_id
anti join wrote using (user_left, user_right)
"""
