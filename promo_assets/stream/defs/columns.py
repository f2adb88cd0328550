"""The columns of the stream's topics and tables, as Dagster shows them; each is described once."""

import dagster as dg

from promo_assets.stream.messages import FIELDS, TEXT_FIELDS

_CAMPAIGN_FIELDS = {
    "restaurant_id": "the restaurant that runs the campaign",
    "adv_campaign_id": "the campaign's id, unique within its restaurant",
    "adv_campaign_content": "the text for the client",
    "adv_campaign_owner": "the person responsible for the campaign",
    "adv_campaign_owner_contact": "how to reach the owner",
    "adv_campaign_datetime_start": "the first second of the campaign, unix seconds UTC",
    "adv_campaign_datetime_end": "the first second after the campaign, unix seconds UTC",
    "datetime_created": "when the campaign was created, unix seconds UTC",
}


def column_schema(*columns: dg.TableColumn) -> dict[str, dg.TableSchema]:
    """The metadata that shows the columns on an asset's page."""
    return {"dagster/column_schema": dg.TableSchema(list(columns))}


def column(name: str, type_: str, description: str, nullable: bool = False) -> dg.TableColumn:
    constraints = dg.TableColumnConstraints(nullable=nullable)
    return dg.TableColumn(name, type_, description, constraints=constraints)


def campaign_columns(text_type: str, time_type: str) -> list[dg.TableColumn]:
    """The campaign's eight fields, with the topic's or the table's types of texts and times."""
    return [
        column(name, text_type if name in TEXT_FIELDS else time_type, _CAMPAIGN_FIELDS[name])
        for name in FIELDS
    ]


def notification_columns(text_type: str, time_type: str, trigger_type: str) -> list[dg.TableColumn]:
    """The campaign's fields and those of one notification of it."""
    triggered = "when the micro-batch was triggered, unix seconds UTC"
    return [
        *campaign_columns(text_type, time_type),
        column("client_id", text_type, "the client who is notified"),
        column("trigger_datetime_created", trigger_type, triggered),
    ]


CAMPAIGN = column_schema(*campaign_columns("string", "long"))
NOTIFICATION = column_schema(*notification_columns("string", "long", "long"))
SUBSCRIBER = column_schema(
    column("id", "serial4", "the row's key"),
    column("client_id", "varchar", "the client"),
    column("restaurant_id", "varchar", "a favourite restaurant of the client"),
)
FEEDBACK = column_schema(
    column("id", "serial4", "the row's key"),
    *notification_columns("text", "int8", "int4"),
    column("feedback", "varchar", "the client's answer; the stream writes NULL", nullable=True),
)
DEAD_LETTER = column_schema(
    column("key", "bytes", "the key of the rejected message, unchanged", nullable=True),
    column("value", "bytes", "the value of the rejected message, unchanged", nullable=True),
    column("reason", "string", "why the message is not a valid campaign, in words"),
    column("source_topic", "string", "the topic of the rejected message"),
    column("source_partition", "int", "the partition of the rejected message"),
    column("source_offset", "long", "the offset of the rejected message"),
)
