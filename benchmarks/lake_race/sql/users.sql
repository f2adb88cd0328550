-- The mart users. Homes are found in all of DDS, the rest in the window.
with ordered as (
    select
        user_id, city_id, event_at, date,
        row_number() over place as number,
        city_id is distinct from lag(city_id) over place as moved,
        date >= $start and coalesce(lag(date) over place < $start, false) as enters
    from events
    where event_type = 'message' and city_id is not null and date <= $as_of
    window place as (partition by user_id order by event_at, message_id nulls first, lat, lon)
),
visits as (
    select
        user_id, city_id, number,
        event_at + interval 27 days < coalesce(
            lead(event_at) over (partition by user_id order by number),
            ($as_of + 1)::timestamptz
        ) as is_home
    from ordered
    where moved
),
homes as (
    select user_id, arg_max(city_id, number) as city_id
    from visits
    where is_home
    group by user_id
),
travels as (
    select
        user_id,
        arg_max(city_id, number) as city_id,
        max(event_at) as last_at,
        list(city order by number) filter (moved or enters) as travel_array
    from ordered
    join cities using (city_id)
    where date >= $start
    group by user_id
)
select
    user_id,
    place.city as act_city,
    home.city as home_city,
    len(travel_array)::int as travel_count,
    travel_array,
    timezone(place.timezone, last_at)::timestamptz as local_time
from travels
join cities place using (city_id)
left join homes using (user_id)
left join cities home on home.city_id = homes.city_id
