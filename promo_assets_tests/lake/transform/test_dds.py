"""DDS: the user and the time of an event, and events that are rejected because of them."""

import pytest
from pyspark.sql import SparkSession

from promo_assets_tests.support.lake.dds_cases import (
    AT,
    NO_TIME,
    NO_USER,
    OTHER_DAY,
    Case,
    Cases,
    is_case,
)

CASES = Cases()
case = CASES.add


@pytest.fixture(scope="module")
def judged(spark: SparkSession) -> dict:
    return CASES.judge(spark)


@is_case(
    case({"user_id": 0}, message_from=0),
    case({"user_id": 2**63 - 1}, message_from=2**63 - 1),
    case({"user_id": 9}, message_from=9, reaction_from="x", user="y", subscription_user="z"),
    case({"user_id": 0}, "reaction", reaction_from="0"),
    case({"user_id": 7}, "reaction", reaction_from="007"),
    case({"user_id": 7}, "reaction", reaction_from="0" * 40 + "7"),
    case({"user_id": 2**63 - 1}, "reaction", reaction_from="9223372036854775807"),
    case(
        {"user_id": 9},
        "reaction",
        reaction_from="9",
        message_from=-1,
        user="y",
        subscription_user="z",
    ),
    case(
        {"user_id": 9},
        "subscription",
        user="9",
        subscription_user="8",
        message_from=-1,
        reaction_from="x",
    ),
    case({"user_id": 8}, "subscription", user=None, subscription_user="8"),
    case({"user_id": 9}, "subscription", user="9", subscription_user="x"),
)
def test_the_user_is_read_from_the_field_of_the_event_type(judged: dict, case: Case):
    assert judged[case.number] == [case.expected]


@is_case(
    case(NO_USER, message_from=None),
    case(NO_USER, message_from=None, reaction_from="7", user="7", subscription_user="7"),
    case(NO_USER, message_from=-1),
    case(NO_USER, message_from=-(2**63)),
    case(NO_USER, "reaction", reaction_from=None, message_from=7, user="7", subscription_user="7"),
    *(
        case(NO_USER, "reaction", reaction_from=text)
        for text in (
            "",
            " ",
            "-7",
            "+7",
            " 7",
            "7 ",
            "7\n",
            "\n7",
            "7\n8",
            "7.0",
            "7e3",
            "0x7",
            "7_000",
            "7L",
            "٧",
            "seven",
        )
    ),
    case(NO_USER, "reaction", reaction_from="9223372036854775808"),
    case(NO_USER, "reaction", reaction_from="18446744073709551623"),  # 2^64 + 7
    case(NO_USER, "reaction", reaction_from="9" * 40),
    case(
        NO_USER,
        "subscription",
        user=None,
        subscription_user=None,
        message_from=7,
        reaction_from="7",
    ),
    case(NO_USER, "subscription", user="x", subscription_user="7"),
    case(NO_USER, "subscription", user="", subscription_user="7"),
    case(NO_USER, "subscription", user=None, subscription_user="7 "),
)
def test_a_user_must_consist_of_digits_and_fit_into_a_long(judged: dict, case: Case):
    assert judged[case.number] == [case.expected]


@is_case(
    case({"event_at": "2022-05-28 11:22:33"}, message_ts="2022-05-28 11:22:33"),
    case({"event_at": "2022-05-28 11:22:33"}, message_ts="2022-05-28T11:22:33"),
    case({"event_at": "2022-05-28 11:22:33"}, message_ts=None, datetime="2022-05-28 11:22:33"),
    case(
        {"event_at": "2022-05-28 11:22:33"},
        message_ts="2022-05-28 01:00:00",
        datetime="2022-05-28 11:22:33",
    ),
    case({"event_at": "2022-05-28 11:22:33"}, message_ts="rubbish", datetime="2022-05-28 11:22:33"),
    *(
        case(
            {"event_at": f"2022-05-28 11:22:33.{read}"},
            datetime=f"2022-05-28{between}11:22:33.{written}",
        )
        for between, written, read in (
            (" ", "1", "1"),
            ("T", "12", "12"),
            (" ", "123", "123"),
            ("T", "1234", "1234"),
            (" ", "12345", "12345"),
            ("T", "123456", "123456"),
            (" ", "1234567", "123456"),  # a timestamp holds microseconds; what is beyond is cut off
            ("T", "12345678", "123456"),
            (" ", "123456789", "123456"),
            ("T", "123456789999", "123456"),
            (" ", "000001", "000001"),
        )
    ),
    case({}, message_ts="2022-05-28 10:00:00.000000000"),
    case(
        {"event_at": "2024-02-29 10:00:00", "date": "2024-02-29"},
        message_ts="2024-02-29 10:00:00",
        date="2024-02-29",
    ),
    case(
        {"event_at": "1970-01-01 00:00:00", "date": "1970-01-01"},
        message_ts="1970-01-01 00:00:00",
        date="1970-01-01",
    ),
    case(
        {"event_at": "1969-12-31 23:59:59.5", "date": "1969-12-31"},
        message_ts="1969-12-31 23:59:59.5",
        date="1969-12-31",
    ),
    case({"event_at": "2022-05-28 00:00:00"}, message_ts="2022-05-28 00:00:00"),
    case({"event_at": "2022-05-28 23:59:59.999999"}, message_ts="2022-05-28 23:59:59.999999"),
    case({"event_at": "2022-05-28 23:59:59.999999"}, message_ts="2022-05-28T23:59:59.999999999"),
)
def test_a_time_may_have_a_space_or_a_t_and_any_fraction(judged: dict, case: Case):
    assert judged[case.number] == [case.expected]


@is_case(
    case(NO_TIME, message_ts=None),
    *(
        case(NO_TIME, message_ts=text)
        for text in (
            *(
                "",
                " ",
                "2022-05-28",
                "2022-05-28 ",
                "10:00:00",
                "2022-05-28 10:00",
                "2022-05-28 10",
                "2022-05",
                "1653732000",
                "now",
            ),
            *(
                "2022-05-28 24:00:00",
                "2022-05-28 25:00:00",
                "2022-05-28 10:60:00",
                "2022-05-28 10:00:60",
                "2022-05-28 23:59:60",
            ),
            *(
                "2022-02-30 10:00:00",
                "2022-02-29 10:00:00",
                "2022-04-31 10:00:00",
                "2022-13-01 10:00:00",
                "2022-00-10 10:00:00",
            ),
            *(
                "2022-05-28 10:00:00Z",
                "2022-05-28T10:00:00Z",
                "2022-05-28 10:00:00.5Z",
                "2022-05-28 10:00:00 UTC",
            ),
            *(
                "2022-05-28 10:00:00+00:00",
                "2022-05-28T10:00:00+00",
                "2022-05-28T10:00:00-0300",
                "2022-05-28 10:00:00 Australia/Sydney",
            ),
            *(
                " 2022-05-28 10:00:00",
                "2022-05-28 10:00:00 ",
                "2022-05-28 10:00:00\n",
                "\n2022-05-28 10:00:00",
                "2022-05-28 10:00:00\t",
            ),
            *(
                "2022-05-28  10:00:00",
                "2022-05-28t10:00:00",
                "2022-05-28 T10:00:00",
                "2022-05-28_10:00:00",
                "2022-05-2810:00:00",
            ),
            *(
                "2022-05-28 10:00:00.",
                "2022-05-28 10:00:00,5",
                "2022-05-28 10:00:00.5.5",
                "2022-05-28 10:00:00.-5",
                "2022-05-28 10-00-00",
            ),
            *(
                "2022-5-28 10:00:00",
                "2022-05-28 1:00:00",
                "22-05-28 10:00:00",
                "+2022-05-28 10:00:00",
                "02022-05-28 10:00:00",
            ),
            *(
                "28.05.2022 10:00:00",
                "2022/05/28 10:00:00",
                "2022-05-28 -1:00:00",
                "٢٠٢٢-٠٥-٢٨ ١٠:٠٠:٠٠",
                "2022-05-28\u00a010:00:00",
            ),
        )
    ),
    case(NO_TIME, datetime="", message_ts=AT),
    case(NO_TIME, datetime="2022-05-28", message_ts=AT),
    case(NO_TIME, datetime="2022-05-28 24:00:00", message_ts=AT),
)
def test_any_other_time_is_unreadable_and_message_ts_does_not_replace_a_broken_datetime(
    judged: dict, case: Case
):
    assert judged[case.number] == [case.expected]


@is_case(
    case(OTHER_DAY, message_ts="2022-05-27 23:59:59.999999"),
    case(OTHER_DAY, message_ts="2022-05-27 23:59:59.999999999"),
    case(OTHER_DAY, message_ts="2022-05-29 00:00:00"),
    case(OTHER_DAY, message_ts="2022-05-29T00:00:00.000000"),
    case(OTHER_DAY, message_ts="2021-05-28 10:00:00"),
    case(OTHER_DAY, message_ts="0001-01-01 00:00:00"),
    case(OTHER_DAY, message_ts="9999-12-31 23:59:59.999999"),
    case(OTHER_DAY, datetime="2022-05-29 10:00:00", message_ts=AT),
)
def test_a_time_of_another_day_is_rejected_to_the_microsecond(judged: dict, case: Case):
    assert judged[case.number] == [case.expected]


def test_every_case_is_either_usable_or_rejected(judged: dict):
    counts = {number: len(outcomes) for number, outcomes in judged.items() if number is not None}
    assert counts == {case.number: 1 for case in CASES.cases}
