-- The mart geo. First messages are found in all of DDS, the rest in the window.
with first_messages as (
    select
        min(date) as date,
        arg_min_null(
            city_id,
            (
                event_at,
                coalesce(message_id, -9223372036854775808),
                coalesce(lat, '-infinity'::double),
                coalesce(lon, '-infinity'::double)
            )
        ) as city_id
    from events
    where event_type = 'message' and date <= $as_of
    group by user_id
),
days as (
    select city_id, date, event_type, count(*) as number
    from events
    where date between $start and $as_of
    group by all
    union all
    select city_id, date, 'user', count(*)
    from first_messages
    where date >= $start
    group by all
),
zones as (
    select
        city_id as zone_id,
        date_trunc('week', date) as week,
        date_trunc('month', date) as month,
        sum(number) filter (event_type = 'message') as message,
        sum(number) filter (event_type = 'reaction') as reaction,
        sum(number) filter (event_type = 'subscription') as subscription,
        sum(number) filter (event_type = 'user') as registration
    from days
    where city_id is not null
    group by all
)
select zone_id, week::timestamptz as week, month::timestamptz as month, {counts}
from zones
window
    in_week as (partition by zone_id, week),
    in_month as (partition by zone_id, month)
