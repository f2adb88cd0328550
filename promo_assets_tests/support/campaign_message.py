"""A valid campaign message, and its encoding with some fields changed."""

import json

VALID = {
    "restaurant_id": "r-1",
    "adv_campaign_id": "c-1",
    "adv_campaign_content": "two for one",
    "adv_campaign_owner": "Ann",
    "adv_campaign_owner_contact": "ann@r.example",
    "adv_campaign_datetime_start": 1_700_000_000,
    "adv_campaign_datetime_end": 1_700_003_600,
    "datetime_created": 1_699_999_999,
}


def encode_campaign(**changed: object) -> bytes:
    return json.dumps(VALID | changed).encode()
