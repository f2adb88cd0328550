-- DDS events from STG: typed, usable, each with its nearest city by dot product.
with texts as (
    select
        *,
        coalesce(event.datetime, event.message_ts) as at_text,
        case event_type
            when 'message' then event.message_from::varchar
            when 'reaction' then event.reaction_from
            else coalesce(event.user, event.subscription_user)
        end as user_text,
        case event_type
            when 'message' then event.message_channel_to
            when 'reaction' then event.channel_id
            else event.subscription_channel
        end as channel_id
    from staged
    where event_type in ('message', 'reaction', 'subscription')
),
typed as (
    select
        case
            when regexp_full_match(user_text, '[0-9]+') then try_cast(user_text as bigint)
        end as user_id,
        event.message_id as message_id,
        event.message_to as message_to,
        channel_id,
        case
            when regexp_full_match(
                at_text,
                '\d\d\d\d-\d\d-\d\d[ T]([01]\d|2[0-3]):[0-5]\d:[0-5]\d([.]\d+)?'
            )
            then try_cast(replace(left(at_text, 26), 'T', ' ') as timestamp)::timestamptz
        end as event_at,
        lat, lon, event_type, date
    from texts
),
usable as (
    select
        *,
        cos(radians(lat)) * cos(radians(lon)) as x,
        cos(radians(lat)) * sin(radians(lon)) as y,
        sin(radians(lat)) as z
    from typed
    where user_id is not null
        and event_at::date = date
        and coalesce(lat between -90 and 90, true)
        and coalesce(lon between -180 and 180, true)
),
dots as (select *, {dots} from usable),
best as (select *, greatest({names}) - {nearly} as nearly_best from dots)
select
    user_id, message_id, message_to, channel_id, event_at, lat, lon,
    case {cases} end::bigint as city_id,
    event_type, date
from best
