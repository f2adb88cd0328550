-- The mart friend_recomendation. Neighbours are found by cells in space and by which of them meet.
-- The 64 most popular channels are bits, because most pairs have one of them in common. Each step
-- has a table of its own, because DuckDB plans by their sizes. As one query it takes five times as
-- long, and with lists of channels and list_has_any ten times.
create or replace temp table seen as
with located as (
    select user_id, event_at, message_id, lat, lon, city_id
    from events
    where city_id is not null and date between $start and $as_of
),
latest as (select user_id, max(event_at) as event_at from located group by user_id)
select user_id, lat, lon, city_id
from located
semi join latest using (user_id, event_at)
qualify row_number() over (
    partition by user_id order by message_id desc nulls last, lat desc, lon desc
) = 1;

create or replace temp table subscribed as
select distinct user_id, channel_id
from events
where event_type = 'subscription' and channel_id is not null and date between $start and $as_of;

create or replace temp table popular as
select channel_id, row_number() over (order by count(*) desc) - 1 as number
from subscribed
group by channel_id;

create or replace temp table rest as
select user_id, channel_id
from subscribed
join popular using (channel_id)
where number >= 64;

create or replace temp table people as
with bits as (
    select
        user_id,
        coalesce(
            bit_or(1::ubigint << (number % 64)::ubigint) filter (number < 64), 0::ubigint
        ) as bits
    from subscribed
    join popular using (channel_id)
    group by user_id
)
select
    user_id, lat, lon, city_id, bits,
    6371 * cos(radians(lat)) * cos(radians(lon)) as x,
    6371 * cos(radians(lat)) * sin(radians(lon)) as y,
    6371 * sin(radians(lat)) as z,
    ((floor(x / 1.001)::bigint + 8192) * 16384 + floor(y / 1.001)::bigint + 8192) * 16384
        + floor(z / 1.001)::bigint + 8192 as cell
from seen
join bits using (user_id);

create or replace temp table meeting as
with cells as (select distinct cell from people),
steps as (
    select (x * 16384 + y) * 16384 + z as step
    from range(-1, 2) xs(x), range(-1, 2) ys(y), range(-1, 2) zs(z)
    where (x, y, z) >= (0, 0, 0)
)
select cell as cell_1, cell + step as cell_2
from cells, steps
where cell + step in (from cells);

create or replace temp table near as
select
    least(one.user_id, other.user_id) as user_left,
    greatest(one.user_id, other.user_id) as user_right,
    case when one.user_id < other.user_id then one.city_id else other.city_id end as zone_id,
    (one.bits & other.bits) <> 0 as is_common
from people one
join meeting on cell_1 = one.cell
join people other on other.cell = cell_2
where (cell_1 <> cell_2 or one.user_id < other.user_id)
    and (
        chord_squared(one.x, one.y, one.z, other.x, other.y, other.z) < {limit} * (1 - 1e-6)
        or (
            chord_squared(one.x, one.y, one.z, other.x, other.y, other.z) < {limit} * (1 + 1e-6)
            and haversine_km(one.lat, one.lon, other.lat, other.lon) <= 1
        )
    );

with pairs as (
    select user_left, user_right, zone_id from near where is_common
    union all
    select distinct user_left, user_right, zone_id
    from near
    join rest of_left on of_left.user_id = user_left
    semi join rest of_right
        on of_right.user_id = user_right and of_right.channel_id = of_left.channel_id
    where not is_common
),
wrote as (
    select least(user_id, message_to) as user_left, greatest(user_id, message_to) as user_right
    from events
    where event_type = 'message' and date <= $as_of and message_to is not null
),
zones as (
    select city_id as zone_id, timezone(timezone, $now)::timestamptz as local_time from cities
)
select user_left, user_right, zone_id, $now as processed_dttm, local_time
from pairs
anti join wrote using (user_left, user_right)
join zones using (zone_id)
