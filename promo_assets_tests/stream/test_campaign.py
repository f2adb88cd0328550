"""A campaign's state and key, and the exact bytes of its notifications."""

import hashlib

import pytest

from promo_assets.stream.messages import (
    Campaign,
    NotificationTemplate,
    campaign_key,
    client_json,
    parse_campaign,
)
from promo_assets_tests.support.campaign_message import encode_campaign


@pytest.mark.parametrize(
    ("time", "state"),
    [
        (1_699_999_999, "waiting"),
        (1_700_000_000, "due"),
        (1_700_003_599, "due"),
        (1_700_003_600, "expired"),
    ],
)
def test_a_campaign_is_active_from_its_start_until_before_its_end(time: int, state: str):
    assert parse_campaign(encode_campaign()).state_at(time) == state


def test_the_key_depends_only_on_restaurant_campaign_and_creation():
    key = parse_campaign(encode_campaign()).key
    assert key == hashlib.sha256(b'["r-1","c-1",1699999999]').digest()
    same = encode_campaign(adv_campaign_content="other", adv_campaign_datetime_end="1800000000")
    assert parse_campaign(same).key == key
    assert campaign_key("r-1", "c-1", 1_699_999_999) == key
    others = [
        encode_campaign(restaurant_id="r-2"),
        encode_campaign(adv_campaign_id="c-2"),
        encode_campaign(datetime_created=0),
    ]
    assert key not in {parse_campaign(other).key for other in others}


def test_the_key_keeps_the_ids_apart():
    first = encode_campaign(restaurant_id='a","b', adv_campaign_id="c")
    second = encode_campaign(restaurant_id="a", adv_campaign_id='b","c')
    assert parse_campaign(first).key != parse_campaign(second).key


def test_a_notification_has_exactly_these_bytes():
    campaign = Campaign(
        "r-1", "c-1", 'say "Ё"\n', "Ann", "", 1_700_000_000, 1_700_003_600, 1_699_999_999
    )
    template = NotificationTemplate(campaign, 1_700_000_042)
    expected = (
        '{"restaurant_id":"r-1","adv_campaign_id":"c-1","adv_campaign_content":"say \\"Ё\\"\\n",'
        '"adv_campaign_owner":"Ann","adv_campaign_owner_contact":"",'
        '"adv_campaign_datetime_start":1700000000,"adv_campaign_datetime_end":1700003600,'
        '"datetime_created":1699999999,"client_id":"клиент\\\\1",'
        '"trigger_datetime_created":1700000042}'
    )
    assert template.value(client_json("клиент\\1")) == expected.encode()


def test_a_notification_id_is_the_start_of_the_hash_of_its_pair():
    template = NotificationTemplate(parse_campaign(encode_campaign()), 1_700_000_042)
    # printf '["r-1","c-1","client-7",1699999999]' | sha256sum | cut -c1-32
    assert template.notification_id(client_json("client-7")) == b"aed20ba9eb145753aa4ac6848b288640"


def test_the_notification_id_does_not_depend_on_the_trigger():
    campaign = parse_campaign(encode_campaign())
    first, second = NotificationTemplate(campaign, 1), NotificationTemplate(campaign, 2)
    assert first.notification_id(client_json("c")) == second.notification_id(client_json("c"))
