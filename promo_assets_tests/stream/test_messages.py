"""Every rule of the campaign message at its edges, and the notification's exact bytes."""

import hashlib
import json

import pytest

from promo_assets.stream.messages import (
    Campaign,
    NotificationTemplate,
    RejectedMessage,
    client_json,
    parse_campaign,
)

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
TEXTS = [
    "restaurant_id",
    "adv_campaign_id",
    "adv_campaign_content",
    "adv_campaign_owner",
    "adv_campaign_owner_contact",
]
TIMES = ["adv_campaign_datetime_start", "adv_campaign_datetime_end", "datetime_created"]
NOT_A_TIME = "must be whole unix seconds (an integer, or a string of digits)"
TOO_SMALL = "is smaller than a long can hold"
TOO_LATE = "lies beyond the year 9999 (are these milliseconds?)"


def message(**changed: object) -> bytes:
    return json.dumps(VALID | changed).encode()


def raw(name: str, value: str) -> bytes:
    """A valid message but for one field, whose JSON text is given."""
    others = json.dumps({key: each for key, each in VALID.items() if key != name})
    return f'{others[:-1]}, "{name}": {value}}}'.encode()


def reason_for(value: bytes | None) -> str:
    with pytest.raises(RejectedMessage) as caught:
        parse_campaign(value)
    return str(caught.value)


def test_a_valid_message_is_the_campaign_it_describes():
    assert parse_campaign(message()) == Campaign(
        "r-1",
        "c-1",
        "two for one",
        "Ann",
        "ann@r.example",
        1_700_000_000,
        1_700_003_600,
        1_699_999_999,
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the message has no value (null)"),
        (b"", "the value is not JSON: Expecting value (character 0)"),
        (b"promo", "the value is not JSON: Expecting value (character 0)"),
        (b"\xff{}", "the value is not UTF-8 text (byte 0)"),
        (b'{"a": "\xc3"}', "the value is not UTF-8 text (byte 7)"),
        (b"{}", "restaurant_id is missing or null"),
        (b"[]", "the value is JSON, but not an object"),
        (b"[[1, 2]]", "the value is JSON, but not an object"),
        (b'"text"', "the value is JSON, but not an object"),
        (b"null", "the value is JSON, but not an object"),
        (b"1", "the value is JSON, but not an object"),
        (b"{} {}", "the value is not JSON: Extra data (character 3)"),
        (b"{},", "the value is not JSON: Extra data (character 2)"),
        (
            b"\xef\xbb\xbf{}",
            "the value is not JSON: Unexpected UTF-8 BOM (decode using utf-8-sig) (character 0)",
        ),
        (
            b"{'a': 1}",
            "the value is not JSON: Expecting property name enclosed in double quotes (character 1)",
        ),
        (b'{"extra": NaN}', "the value is not JSON: NaN is not a JSON number"),
        (b'{"extra": Infinity}', "the value is not JSON: Infinity is not a JSON number"),
        (b'{"extra": -Infinity}', "the value is not JSON: -Infinity is not a JSON number"),
        (b"[" * 100_000 + b"]" * 100_000, "the value is not usable JSON: nested too deeply"),
        (
            b'{"extra": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
            "the value is not usable JSON: nested too deeply",
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_json_object_is_rejected(value: bytes | None, reason: str):
    assert reason_for(value) == reason


def test_a_control_character_within_a_string_is_no_json():
    assert (
        reason_for(b'{"a": "\n"}')
        == "the value is not JSON: Invalid control character at (character 7)"
    )


@pytest.mark.parametrize("name", [*TEXTS, *TIMES])
def test_a_field_that_is_missing_null_or_twice_is_rejected(name: str):
    missing = json.dumps({key: each for key, each in VALID.items() if key != name}).encode()
    assert reason_for(missing) == f"{name} is missing or null"
    assert reason_for(message(**{name: None})) == f"{name} is missing or null"
    twice = message()[:-1] + f', "{name}": {json.dumps(VALID[name])}}}'.encode()
    assert reason_for(twice) == f"{name} stands twice in the object"


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1", "must be a string"),
        ("1.5", "must be a string"),
        ("true", "must be a string"),
        ("[]", "must be a string"),
        ("{}", "must be a string"),
        (r'"a\u0000b"', "holds a NUL character"),
        (r'"\u0000"', "holds a NUL character"),
        (r'"\ud800"', "holds half of a surrogate pair"),
        (r'"a\udfffb"', "holds half of a surrogate pair"),
        (r'"\udc00\ud800"', "holds half of a surrogate pair"),
    ],
)
def test_a_text_that_is_none_is_rejected(name: str, text: str, reason: str):
    assert reason_for(raw(name, text)) == f"{name} {reason}"


@pytest.mark.parametrize("name", ["restaurant_id", "adv_campaign_id"])
@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0", "\u3000"])
def test_a_blank_id_is_rejected(name: str, blank: str):
    assert reason_for(message(**{name: blank})) == f"{name} is blank"


@pytest.mark.parametrize("name", TEXTS[2:])
def test_other_texts_may_be_empty(name: str):
    assert getattr(parse_campaign(message(**{name: ""})), name) == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"\ud83c\udf55"', "🍕"),
        ('"  r 1  "', "  r 1  "),
        (r'"\u001f\t"', "\x1f\t"),
        ('"Ё\u2028"', "Ё\u2028"),
        (r'"\uffff"', "\uffff"),
    ],
)
def test_a_text_stays_as_it_is(text: str, value: str):
    assert parse_campaign(raw("adv_campaign_content", text)).adv_campaign_content == value


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1700000000.0", NOT_A_TIME),
        ("1.7e9", NOT_A_TIME),
        ("true", NOT_A_TIME),
        ("false", NOT_A_TIME),
        ("[1]", NOT_A_TIME),
        ("{}", NOT_A_TIME),
        ('""', NOT_A_TIME),
        ('" 1700000000"', NOT_A_TIME),
        ('"-1"', NOT_A_TIME),
        ('"+1"', NOT_A_TIME),
        ('"1_000"', NOT_A_TIME),
        ('"1.0"', NOT_A_TIME),
        ('"0x10"', NOT_A_TIME),
        ('"١٢"', NOT_A_TIME),
        ('"²"', NOT_A_TIME),
        ('"2023-11-14"', NOT_A_TIME),
        ("253402300800", TOO_LATE),
        ('"253402300800"', TOO_LATE),
        ("1700000000000", TOO_LATE),
        ("9223372036854775808", TOO_LATE),
        ("9" * 5_000, TOO_LATE),
        ('"' + "9" * 5_000 + '"', TOO_LATE),
        ("-9223372036854775809", TOO_SMALL),
        ("-" + "9" * 5_000, TOO_SMALL),
    ],
    ids=lambda text: text[:24],
)
def test_a_time_that_is_none_is_rejected(name: str, text: str, reason: str):
    assert reason_for(raw(name, text)) == f"{name} {reason}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ('"0"', 0),
        ("-1", -1),
        ("-9223372036854775808", -(2**63)),
        ('"1699999999"', 1_699_999_999),
        ('"0000000000000001699999999"', 1_699_999_999),
        ('"' + "0" * 5_000 + '1699999999"', 1_699_999_999),
        ('"' + "0" * 5_000 + '"', 0),
        ("253402300799", 253_402_300_799),
        ('"253402300799"', 253_402_300_799),
    ],
)
def test_a_time_is_a_whole_number_or_one_in_quotes(text: str, value: int):
    assert parse_campaign(raw("datetime_created", text)).datetime_created == value


@pytest.mark.parametrize("end", ["1700000000", '"1700000000"', "1699999999", "0"])
def test_an_end_not_later_than_the_start_is_rejected(end: str):
    expected = "adv_campaign_datetime_end must be later than adv_campaign_datetime_start"
    assert reason_for(raw("adv_campaign_datetime_end", end)) == expected


def test_one_second_is_long_enough():
    assert (
        parse_campaign(message(adv_campaign_datetime_end=1_700_000_001)).adv_campaign_datetime_end
        == 1_700_000_001
    )


def test_unknown_fields_are_ignored_however_odd():
    odd = b'"x": 1, "x": {"restaurant_id": 5}, "": [[]], "RESTAURANT_ID": null, "y": "\\ud800\\u0000", "z": 1e999, "client_id": "me", '
    odd += b'"long": ' + b"9" * 5_000 + b', "longer": [-' + b"9" * 5_000 + b"], "
    assert parse_campaign(b"{" + odd + message()[1:]) == parse_campaign(message())


def test_white_space_around_the_object_does_not_matter():
    assert parse_campaign(b" \r\n\t" + message() + b"\r\n ") == parse_campaign(message())


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
    assert parse_campaign(message()).state_at(time) == state


def test_the_key_is_of_restaurant_campaign_and_creation_and_of_nothing_else():
    key = parse_campaign(message()).key
    assert key == hashlib.sha256(b'["r-1","c-1",1699999999]').digest()
    assert (
        parse_campaign(
            message(adv_campaign_content="other", adv_campaign_datetime_end="1800000000")
        ).key
        == key
    )
    others = [
        message(restaurant_id="r-2"),
        message(adv_campaign_id="c-2"),
        message(datetime_created=0),
    ]
    assert key not in {parse_campaign(other).key for other in others}


def test_ids_do_not_run_together_in_the_key():
    first, second = (
        message(restaurant_id='a","b', adv_campaign_id="c"),
        message(restaurant_id="a", adv_campaign_id='b","c'),
    )
    assert parse_campaign(first).key != parse_campaign(second).key


def test_a_notification_is_these_bytes():
    campaign = Campaign(
        "r-1", "c-1", 'say "Ё"\n', "Ann", "", 1_700_000_000, 1_700_003_600, 1_699_999_999
    )
    template = NotificationTemplate(campaign, 1_700_000_042)
    assert (
        template.value(client_json("клиент\\1"))
        == (
            '{"restaurant_id":"r-1","adv_campaign_id":"c-1","adv_campaign_content":"say \\"Ё\\"\\n","adv_campaign_owner":"Ann",'
            '"adv_campaign_owner_contact":"","adv_campaign_datetime_start":1700000000,"adv_campaign_datetime_end":1700003600,'
            '"datetime_created":1699999999,"client_id":"клиент\\\\1","trigger_datetime_created":1700000042}'
        ).encode()
    )


def test_a_notification_id_is_the_hash_of_this_text():
    template = NotificationTemplate(parse_campaign(message()), 1_700_000_042)
    # printf '["r-1","c-1","client-7",1699999999]' | sha256sum | cut -c1-32
    assert template.notification_id(client_json("client-7")) == b"aed20ba9eb145753aa4ac6848b288640"


def test_the_notification_id_does_not_depend_on_the_trigger():
    campaign = parse_campaign(message())
    first, second = NotificationTemplate(campaign, 1), NotificationTemplate(campaign, 2)
    assert first.notification_id(client_json("c")) == second.notification_id(client_json("c"))
