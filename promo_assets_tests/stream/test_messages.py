"""Every rule of the campaign message (docs/rules.md 1.1), at its edges."""

import json

import pytest

from promo_assets.stream.messages import Campaign, RejectedMessage, parse_campaign
from promo_assets_tests.support.campaign_message import VALID, encode_campaign

TEXTS, TIMES = list(VALID)[:5], list(VALID)[5:]
NOT_A_TIME = "unix seconds"
TOO_EARLY = "long"
TOO_LATE = "9999"


def encode_field(name: str, text: str) -> bytes:
    """A message that is valid but for one field, whose JSON text is given."""
    others = json.dumps({key: value for key, value in VALID.items() if key != name})
    return f'{others[:-1]}, "{name}": {text}}}'.encode()


def read_rejection(value: bytes | None) -> str:
    with pytest.raises(RejectedMessage) as caught:
        parse_campaign(value)
    return str(caught.value)


def test_a_valid_message_is_the_campaign_it_describes():
    assert parse_campaign(encode_campaign()) == Campaign(**VALID)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null"),
        (b"", "not JSON: Expecting value (character 0)"),
        (b"promo", "not JSON: Expecting value (character 0)"),
        (b"\xff{}", "not UTF-8 text (byte 0)"),
        (b'{"a": "\xc3"}', "not UTF-8 text (byte 7)"),
        (b"{}", "restaurant_id is missing or null"),
        (b"[]", "not an object"),
        (b"[[1, 2]]", "not an object"),
        (b'"text"', "not an object"),
        (b"null", "not an object"),
        (b"1", "not an object"),
        (b"{} {}", "not JSON: Extra data (character 3)"),
        (b"{},", "not JSON: Extra data (character 2)"),
        (
            b"\xef\xbb\xbf{}",
            "not JSON: Unexpected UTF-8 BOM (decode using utf-8-sig) (character 0)",
        ),
        (
            b"{'a': 1}",
            "not JSON: Expecting property name enclosed in double quotes (character 1)",
        ),
        (b'{"extra": NaN}', "not JSON: NaN is not a JSON number"),
        (b'{"extra": Infinity}', "not JSON: Infinity is not a JSON number"),
        (b'{"extra": -Infinity}', "not JSON: -Infinity is not a JSON number"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (
            b'{"extra": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
            "nested too deeply",
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_value_that_is_not_a_json_object_is_rejected(value: bytes | None, reason: str):
    assert reason in read_rejection(value)


def test_a_control_character_in_a_string_is_not_json():
    assert "not JSON: Invalid control character at (character 7)" in read_rejection(b'{"a": "\n"}')


@pytest.mark.parametrize("name", [*TEXTS, *TIMES])
def test_a_field_that_is_missing_null_or_repeated_is_rejected(name: str):
    missing = json.dumps({key: value for key, value in VALID.items() if key != name}).encode()
    repeated = encode_campaign()[:-1] + f', "{name}": {json.dumps(VALID[name])}}}'.encode()
    for value, reason in {
        missing: "missing",
        encode_campaign(**{name: None}): "null",
        repeated: "twice",
    }.items():
        rejection = read_rejection(value)
        assert rejection.startswith(f"{name} ") and reason in rejection


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1", "string"),
        ("1.5", "string"),
        ("true", "string"),
        ("[]", "string"),
        ("{}", "string"),
        (r'"a\u0000b"', "NUL"),
        (r'"\u0000"', "NUL"),
        (r'"\ud800"', "surrogate"),
        (r'"a\udfffb"', "surrogate"),
        (r'"\udc00\ud800"', "surrogate"),
    ],
)
def test_a_text_field_that_is_not_usable_text_is_rejected(name: str, text: str, reason: str):
    rejection = read_rejection(encode_field(name, text))
    assert rejection.startswith(f"{name} ") and reason in rejection


@pytest.mark.parametrize("name", ["restaurant_id", "adv_campaign_id"])
@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0", "\u3000"])
def test_a_blank_id_is_rejected(name: str, blank: str):
    assert read_rejection(encode_campaign(**{name: blank})) == f"{name} is blank"


@pytest.mark.parametrize("name", TEXTS[2:])
def test_other_texts_may_be_empty(name: str):
    assert getattr(parse_campaign(encode_campaign(**{name: ""})), name) == ""


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
def test_a_text_is_kept_unchanged(text: str, value: str):
    assert parse_campaign(encode_field("adv_campaign_content", text)).adv_campaign_content == value


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
        ("-9223372036854775809", TOO_EARLY),
        ("-" + "9" * 5_000, TOO_EARLY),
    ],
    ids=lambda text: text[:24],
)
def test_a_time_field_that_is_not_a_usable_time_is_rejected(name: str, text: str, reason: str):
    rejection = read_rejection(encode_field(name, text))
    assert rejection.startswith(f"{name} ") and reason in rejection


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
def test_a_time_is_an_integer_or_a_string_of_digits(text: str, value: int):
    assert parse_campaign(encode_field("datetime_created", text)).datetime_created == value


@pytest.mark.parametrize("end", ["1700000000", '"1700000000"', "1699999999", "0"])
def test_an_end_that_is_not_later_than_the_start_is_rejected(end: str):
    rejection = read_rejection(encode_field("adv_campaign_datetime_end", end))
    assert "adv_campaign_datetime_end must be later" in rejection
    assert "adv_campaign_datetime_start" in rejection


def test_a_campaign_may_last_one_second():
    campaign = parse_campaign(encode_campaign(adv_campaign_datetime_end=1_700_000_001))
    assert campaign.adv_campaign_datetime_end == 1_700_000_001


def test_unknown_fields_are_ignored_whatever_their_values():
    unknown = (
        b'"x": 1, "x": {"restaurant_id": 5}, "": [[]], "RESTAURANT_ID": null, '
        b'"y": "\\ud800\\u0000", "z": 1e999, "client_id": "me", '
        b'"long": ' + b"9" * 5_000 + b', "longer": [-' + b"9" * 5_000 + b"], "
    )
    assert parse_campaign(b"{" + unknown + encode_campaign()[1:]) == parse_campaign(
        encode_campaign()
    )


def test_white_space_around_the_object_does_not_matter():
    assert parse_campaign(b" \r\n\t" + encode_campaign() + b"\r\n ") == parse_campaign(
        encode_campaign()
    )
