"""Every table of the lake, defined once: what a row is, its columns, its key and its path.

Readers, writers, asset pages and checks are derived from these definitions.
"""

from dataclasses import dataclass, replace
from datetime import date

from pyspark.sql.types import (
    ArrayType,
    DataType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

LONG, INT, DOUBLE, STRING, TIMESTAMP = (
    LongType(),
    IntegerType(),
    DoubleType(),
    StringType(),
    TimestampType(),
)

MESSAGE, REACTION, SUBSCRIPTION = "message", "reaction", "subscription"
EVENT_TYPES = (MESSAGE, REACTION, SUBSCRIPTION)


@dataclass(frozen=True)
class Column:
    name: str
    type: DataType
    description: str
    nullable: bool = True
    made_from: str = ""
    """The columns that it is computed from, as `layer/table.column`, separated by spaces."""
    is_count: bool = False


@dataclass(frozen=True)
class Table:
    """A table below the lake's root.

    In `path`, `{owner}` is replaced by the lake's owner. A day is the folder
    `path/date=YYYY-MM-DD/`, with a subfolder per value of the columns of `split`; the files do not
    contain these columns.
    """

    layer: str
    name: str
    row: str
    path: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    split: tuple[str, ...] = ()

    @property
    def schema(self) -> StructType:
        """All columns including those of `split`, all nullable: files do not enforce non-nulls."""
        return StructType([StructField(column.name, column.type) for column in self.columns])

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]


def day_folder(day: date) -> str:
    return f"date={day.isoformat()}"


def parse_day_folder(name: str) -> date | None:
    """Return the day of a folder `date=YYYY-MM-DD`; None for any other name."""
    try:
        day = date.fromisoformat(name.removeprefix("date="))
    except ValueError:
        return None
    return day if name == day_folder(day) else None  # Python parses other formats as well


_EVENT_FIELDS: tuple[tuple[str, DataType], ...] = (
    ("admins", ArrayType(LONG)),
    ("channel_id", LONG),
    ("datetime", STRING),
    ("media", StructType([StructField("media_type", STRING), StructField("src", STRING)])),
    ("message", STRING),
    ("message_channel_to", LONG),
    ("message_from", LONG),
    ("message_group", LONG),
    ("message_id", LONG),
    ("message_to", LONG),
    ("message_ts", STRING),
    ("reaction_from", STRING),
    ("reaction_type", STRING),
    ("subscription_channel", LONG),
    ("subscription_user", STRING),
    ("tags", ArrayType(STRING)),
    ("user", STRING),
)
_RAW_COLUMNS = (
    Column(
        "event",
        StructType([StructField(name, type_) for name, type_ in _EVENT_FIELDS]),
        "what happened, as the messenger wrote it",
    ),
    Column("event_type", STRING, "message, reaction or subscription; others may occur"),
    Column("lat", DOUBLE, "latitude, degrees"),
    Column("lon", DOUBLE, "longitude, degrees"),
)

RAW_EVENTS = Table(
    "raw",
    "events",
    "an event of the messenger, as another team writes it",
    "/user/master/data/geo/events",
    _RAW_COLUMNS,
)


def _copied_from(table: str) -> tuple[Column, ...]:
    return tuple(replace(column, made_from=f"{table}.{column.name}") for column in _RAW_COLUMNS)


STG_EVENTS = Table(
    "stg",
    "events",
    "an event as it is in RAW, split by its type",
    "/user/{owner}/data/events",
    _copied_from("raw/events"),
    split=("event_type",),
)
GEO = Table(
    "dds",
    "geo",
    "a city",
    "/user/{owner}/data/citygeodata/geo.csv",
    (
        Column("city_id", LONG, "key", nullable=False),
        Column("city", STRING, "its name", nullable=False),
        Column("lat", DOUBLE, "latitude of its centre, degrees", nullable=False),
        Column("lon", DOUBLE, "longitude of its centre, degrees", nullable=False),
        Column("timezone", STRING, "IANA name of its time zone", nullable=False),
    ),
    key=("city_id",),
)
EVENTS = Table(
    "dds",
    "events",
    "a usable event, typed, with the nearest city",
    "/user/{owner}/data/dds/events",
    (
        Column(
            "user_id",
            LONG,
            "the user who wrote, reacted or subscribed",
            nullable=False,
            made_from="stg/events.event stg/events.event_type",
        ),
        Column(
            "message_id", LONG, "the message written or reacted to", made_from="stg/events.event"
        ),
        Column(
            "message_to",
            LONG,
            "the recipient of a direct message",
            made_from="stg/events.event",
        ),
        Column(
            "channel_id",
            LONG,
            "the channel subscribed to, written to or reacted in",
            made_from="stg/events.event stg/events.event_type",
        ),
        Column(
            "event_at",
            TIMESTAMP,
            "when it happened, UTC",
            nullable=False,
            made_from="stg/events.event",
        ),
        Column("lat", DOUBLE, "latitude, degrees", made_from="stg/events.lat"),
        Column("lon", DOUBLE, "longitude, degrees", made_from="stg/events.lon"),
        Column(
            "city_id",
            LONG,
            "the nearest city; null without a position",
            made_from="stg/events.lat stg/events.lon dds/geo.city_id dds/geo.lat dds/geo.lon",
        ),
        Column(
            "event_type",
            STRING,
            "message, reaction or subscription",
            nullable=False,
            made_from="stg/events.event_type",
        ),
    ),
    split=("event_type",),
)
REJECTED_EVENTS = Table(
    "dds",
    "rejected_events",
    "an unusable event, as it is in STG, with the reason",
    "/user/{owner}/data/dds/rejected_events",
    (
        *_copied_from("stg/events"),
        Column(
            "reason",
            STRING,
            "why the event cannot be used",
            nullable=False,
            made_from="stg/events.event stg/events.event_type stg/events.lat stg/events.lon",
        ),
    ),
)

# History: what the marts need from all days up to theirs, in a small file per day, so that they
# do not have to read all events.
VISITS = Table(
    "dds",
    "visits",
    "a maximal run of a user's messages of one day in one city; "
    "messages without a city do not interrupt it",
    "/user/{owner}/data/dds/visits",
    (
        Column("user_id", LONG, "the user", nullable=False, made_from="dds/events.user_id"),
        Column(
            "visit_number",
            INT,
            "1, 2, ... in the order of the user's visits that day",
            nullable=False,
            made_from="dds/events.event_at",
        ),
        Column("city_id", LONG, "the city", nullable=False, made_from="dds/events.city_id"),
        Column(
            "first_message_at",
            TIMESTAMP,
            "time of its first message, UTC",
            nullable=False,
            made_from="dds/events.event_at",
        ),
        Column(
            "last_message_at",
            TIMESTAMP,
            "time of its last message, UTC",
            nullable=False,
            made_from="dds/events.event_at",
        ),
    ),
    key=("user_id", "visit_number"),
)
FIRST_MESSAGES = Table(
    "dds",
    "first_messages",
    "a user's first message of the day",
    "/user/{owner}/data/dds/first_messages",
    (
        Column("user_id", LONG, "the user", nullable=False, made_from="dds/events.user_id"),
        Column(
            "city_id",
            LONG,
            "the city of that message; null without a position",
            made_from="dds/events.city_id",
        ),
    ),
    key=("user_id",),
)
CORRESPONDENTS = Table(
    "dds",
    "correspondents",
    "two users, one of whom wrote to the other that day",
    "/user/{owner}/data/dds/correspondents",
    (
        Column(
            "user_left",
            LONG,
            "the smaller id",
            nullable=False,
            made_from="dds/events.user_id dds/events.message_to",
        ),
        Column(
            "user_right",
            LONG,
            "the larger id",
            nullable=False,
            made_from="dds/events.user_id dds/events.message_to",
        ),
    ),
    key=("user_left", "user_right"),
)
LAST_POSITIONS = Table(
    "dds",
    "last_positions",
    "a user's last known position that day, from an event of any type",
    "/user/{owner}/data/dds/last_positions",
    (
        Column("user_id", LONG, "the user", nullable=False, made_from="dds/events.user_id"),
        Column("lat", DOUBLE, "latitude, degrees", nullable=False, made_from="dds/events.lat"),
        Column("lon", DOUBLE, "longitude, degrees", nullable=False, made_from="dds/events.lon"),
        Column("city_id", LONG, "the nearest city", nullable=False, made_from="dds/events.city_id"),
    ),
    key=("user_id",),
)

USERS = Table(
    "mart",
    "users",
    "a user with a message that has a city in the window",
    "/user/{owner}/marts/users",
    (
        Column("user_id", LONG, "key", nullable=False, made_from="dds/visits.user_id"),
        Column(
            "act_city",
            STRING,
            "city of the last message",
            nullable=False,
            made_from="dds/visits.city_id dds/geo.city",
        ),
        Column(
            "home_city",
            STRING,
            "city of the last visit of more than 27 days in all of history; null if there is none",
            made_from="dds/visits.city_id dds/visits.first_message_at dds/geo.city",
        ),
        Column(
            "travel_count",
            INT,
            "number of visits in the window",
            nullable=False,
            made_from="dds/visits.city_id",
        ),
        Column(
            "travel_array",
            ArrayType(STRING),
            "cities of those visits, in order",
            nullable=False,
            made_from="dds/visits.city_id dds/geo.city",
        ),
        Column(
            "local_time",
            TIMESTAMP,
            "wall clock of the last message in act_city's time zone",
            nullable=False,
            made_from="dds/visits.last_message_at dds/visits.city_id dds/geo.timezone",
        ),
    ),
    key=("user_id",),
)
_REGISTRATION = "user"
_COUNTED = {
    MESSAGE: "messages",
    REACTION: "reactions",
    SUBSCRIPTION: "subscriptions",
    _REGISTRATION: "registrations",
}


def _count_columns(period: str) -> tuple[Column, ...]:
    return tuple(
        Column(
            f"{period}_{kind}",
            LONG,
            f"{what} in the zone and {period}, within the window; 0 if there are none",
            nullable=False,
            made_from="dds/first_messages.city_id"
            if kind == _REGISTRATION
            else "dds/events.city_id dds/events.event_type",
        )
        for kind, what in _COUNTED.items()
    )


GEO_MART = Table(
    "mart",
    "geo",
    "a zone in a week and a month with at least one event",
    "/user/{owner}/marts/geo",
    (
        Column(
            "zone_id", LONG, "city_id of the zone", nullable=False, made_from="dds/events.city_id"
        ),
        Column(
            "week", TIMESTAMP, "Monday of the week", nullable=False, made_from="dds/events.event_at"
        ),
        Column(
            "month",
            TIMESTAMP,
            "first day of the month",
            nullable=False,
            made_from="dds/events.event_at",
        ),
        *_count_columns("week"),
        *_count_columns("month"),
    ),
    key=("zone_id", "week", "month"),
)
_PAIR_FROM = (
    "dds/last_positions.user_id dds/last_positions.lat dds/last_positions.lon "
    "dds/events.channel_id dds/correspondents.user_left dds/correspondents.user_right"
)
FRIENDS = Table(
    "mart",
    "friend_recomendation",
    "two users who share a channel, never wrote to each other, and are within 1 km",
    "/user/{owner}/marts/friend_recomendation",
    (
        Column(
            "user_left",
            LONG,
            "the smaller id",
            nullable=False,
            made_from=_PAIR_FROM,
        ),
        Column(
            "user_right",
            LONG,
            "the larger id",
            nullable=False,
            made_from=_PAIR_FROM,
        ),
        Column(
            "zone_id",
            LONG,
            "city_id of user_left's last position",
            nullable=False,
            made_from="dds/last_positions.city_id",
        ),
        Column(
            "processed_dttm",
            TIMESTAMP,
            "when it was computed, UTC; the same in all rows",
            nullable=False,
        ),
        Column(
            "local_time",
            TIMESTAMP,
            "processed_dttm in the zone's time zone",
            nullable=False,
            made_from="dds/last_positions.city_id dds/geo.timezone",
        ),
    ),
    key=("user_left", "user_right"),
)

# Campaigns: the stream's table, day by day, and the results of the campaigns.
_FEEDBACK_COLUMNS = (
    Column("id", INT, "the row's id in Postgres", nullable=False),
    Column("restaurant_id", STRING, "the restaurant whose campaign it is", nullable=False),
    Column("adv_campaign_id", STRING, "the campaign's id within its restaurant", nullable=False),
    Column("adv_campaign_content", STRING, "the text that the client gets", nullable=False),
    Column("adv_campaign_owner", STRING, "who is responsible for the campaign", nullable=False),
    Column("adv_campaign_owner_contact", STRING, "how to reach the owner", nullable=False),
    Column(
        "adv_campaign_datetime_start",
        LONG,
        "start: active from this time on, unix seconds UTC",
        nullable=False,
    ),
    Column(
        "adv_campaign_datetime_end",
        LONG,
        "end: no longer active from this time on, unix seconds UTC",
        nullable=False,
    ),
    Column(
        "datetime_created", LONG, "when the campaign was created, unix seconds UTC", nullable=False
    ),
    Column("client_id", STRING, "the client who is notified", nullable=False),
    Column(
        "trigger_datetime_created",
        INT,
        "when its micro-batch was triggered, unix seconds UTC",
        nullable=False,
    ),
    Column("feedback", STRING, "the client's answer so far, verbatim; null if there is none"),
)
SUBSCRIBERS_FEEDBACK = Table(
    "stg",
    "subscribers_feedback",
    "a campaign for a client, as it was in Postgres when the day was last loaded; "
    "its day is that of trigger_datetime_created, UTC",
    "/user/{owner}/data/subscribers_feedback",
    tuple(
        replace(column, made_from=f"subscribers_feedback.{column.name}")
        for column in _FEEDBACK_COLUMNS
    ),
    key=("restaurant_id", "adv_campaign_id", "datetime_created", "client_id"),
)
OTHER = "other"
VALUES_COUNTED = 10
_ANSWERS = ArrayType(StructType([StructField("value", STRING), StructField("clients", LONG)]))
_STG = "stg/subscribers_feedback."


def _result_columns(delay: Column) -> tuple[Column, ...]:
    """Columns that the results of a campaign and those of a restaurant have in common."""
    triggered, client, feedback = (
        f"{_STG}trigger_datetime_created",
        f"{_STG}client_id",
        f"{_STG}feedback",
    )
    return (
        Column(
            "first_notification_at",
            TIMESTAMP,
            "first notification of the day, UTC",
            nullable=False,
            made_from=triggered,
        ),
        Column(
            "last_notification_at",
            TIMESTAMP,
            "last notification of the day, UTC",
            nullable=False,
            made_from=triggered,
        ),
        Column(
            "clients_notified",
            LONG,
            "clients notified that day; each counts once",
            nullable=False,
            made_from=client,
            is_count=True,
        ),
        Column(
            "clients_answered",
            LONG,
            "notified clients whose feedback is not blank",
            nullable=False,
            made_from=f"{client} {feedback}",
            is_count=True,
        ),
        Column(
            "feedback",
            _ANSWERS,
            f"clients by answer, most frequent first, equally frequent ones by text: "
            f'{VALUES_COUNTED} answers, then all others as "{OTHER}", which includes clients who '
            f'answered "{OTHER}". White space around an answer is removed; case matters',
            nullable=False,
            made_from=f"{client} {feedback}",
        ),
        Column(
            "feedback_rate",
            DOUBLE,
            "clients_answered / clients_notified, 0 to 1",
            nullable=False,
            made_from=f"{client} {feedback}",
        ),
        delay,
    )


CAMPAIGN_RESULTS = Table(
    "mart",
    "campaign_results",
    "a campaign that notified clients that day",
    "/user/{owner}/marts/campaign_results",
    (
        *(
            replace(column, made_from=f"{_STG}{column.name}")
            for column in _FEEDBACK_COLUMNS
            if column.name in ("restaurant_id", "adv_campaign_id", "datetime_created")
        ),
        *_result_columns(
            Column(
                "seconds_to_first_notification",
                LONG,
                "from datetime_created to first_notification_at; negative if the sender's clock is "
                "ahead, null if the difference does not fit into a long",
                made_from=f"{_STG}datetime_created {_STG}trigger_datetime_created",
            )
        ),
    ),
    key=("restaurant_id", "adv_campaign_id", "datetime_created"),
)
RESTAURANT_RESULTS = Table(
    "mart",
    "restaurant_results",
    "a restaurant whose campaigns notified clients that day",
    "/user/{owner}/marts/restaurant_results",
    (
        Column("restaurant_id", STRING, "key", nullable=False, made_from=f"{_STG}restaurant_id"),
        Column(
            "campaigns",
            LONG,
            "number of its campaigns that notified clients",
            nullable=False,
            made_from=f"{_STG}adv_campaign_id {_STG}datetime_created",
            is_count=True,
        ),
        *_result_columns(
            Column(
                "seconds_to_first_notification",
                DOUBLE,
                "median of its campaigns; null if it is known for none of them",
                made_from=f"{_STG}datetime_created {_STG}trigger_datetime_created",
            )
        ),
    ),
    key=("restaurant_id",),
)

HISTORY = (VISITS, FIRST_MESSAGES, CORRESPONDENTS, LAST_POSITIONS)
MARTS = (USERS, GEO_MART, FRIENDS)
CAMPAIGNS = (SUBSCRIBERS_FEEDBACK, CAMPAIGN_RESULTS, RESTAURANT_RESULTS)
