"""The stream's messages: the campaign, its rules, and the notification that is made from it.

The rules (docs/rules.md 1.1) are checked in Python and not with Spark's `from_json`. One function
serves both the stream and `promo-assets campaigns send`, and Spark's parser accepts input that must
be rejected here (docs/adr/0003).
"""

import hashlib
import json
from json.encoder import encode_basestring
from typing import NamedTuple, NoReturn

LATEST_TIME = 253_402_300_799  # 9999-12-31T23:59:59Z
EARLIEST_TIME = -(2**63)  # what a long holds
LONGEST_INTEGER = len(str(EARLIEST_TIME))
REJECTIONS_SHOWN = 5


class Rejection(NamedTuple):
    """Why a message became a dead letter; `source_at` is its Kafka timestamp, unix milliseconds."""

    reason: str
    source_partition: int
    source_offset: int
    source_at: int


class RejectedMessage(ValueError):
    """A message is not a valid campaign; the text tells the sender why."""


class Campaign(NamedTuple):
    """A valid campaign message, with its fields in order; times are unix seconds, UTC."""

    restaurant_id: str
    adv_campaign_id: str
    adv_campaign_content: str
    adv_campaign_owner: str
    adv_campaign_owner_contact: str
    adv_campaign_datetime_start: int
    adv_campaign_datetime_end: int
    datetime_created: int

    @property
    def key(self) -> bytes:
        """The campaign's identity: messages with the same key are the same campaign."""
        return campaign_key(self.restaurant_id, self.adv_campaign_id, self.datetime_created)

    def state_at(self, time: int) -> str:
        """`waiting`, `due` or `expired` at a unix time.

        A campaign is active while start <= time < end (rule 1.4.1).
        """
        if time < self.adv_campaign_datetime_start:
            return "waiting"
        return "due" if time < self.adv_campaign_datetime_end else "expired"


FIELDS = Campaign._fields
TEXT_FIELDS, TIME_FIELDS = FIELDS[:5], FIELDS[5:]


def campaign_key(restaurant_id: str, adv_campaign_id: str, datetime_created: int) -> bytes:
    """SHA-256 of the three values as compact JSON: 32 bytes, however long the ids are."""
    return hashlib.sha256(_json([restaurant_id, adv_campaign_id, datetime_created])).digest()


def parse_campaign(value: bytes | None) -> Campaign:
    """The campaign in a message's value; raises `RejectedMessage` with the first reason."""
    fields = _read_fields(value)
    texts = [_check_text(name, fields.get(name)) for name in TEXT_FIELDS]
    times = [_check_time(name, fields.get(name)) for name in TIME_FIELDS]
    campaign = Campaign._make((*texts, *times))
    if campaign.adv_campaign_datetime_end <= campaign.adv_campaign_datetime_start:
        raise RejectedMessage(
            "adv_campaign_datetime_end must be later than adv_campaign_datetime_start"
        )
    return campaign


def _read_fields(value: bytes | None) -> dict[str, object]:
    """The known fields of the JSON object; fields with other names are ignored."""
    known = [(name, value) for name, value in _read_object(value) if name in FIELDS]
    fields = dict(known)
    if len(fields) < len(known):
        names = [name for name, _ in known]
        repeated = next(name for index, name in enumerate(names) if name in names[:index])
        raise RejectedMessage(f"{repeated} appears twice in the object")
    return fields


def _read_object(value: bytes | None) -> "_Pairs":
    if value is None:
        raise RejectedMessage("the message has no value (null)")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RejectedMessage(f"the value is not UTF-8 text (byte {error.start})") from None
    try:
        message = json.loads(
            text, object_pairs_hook=_Pairs, parse_int=_parse_int, parse_constant=_reject_constant
        )
    except RejectedMessage:
        raise
    except RecursionError:
        raise RejectedMessage("the value is not usable JSON: it is nested too deeply") from None
    except json.JSONDecodeError as error:
        reason = f"{error.msg} (character {error.pos})"
        raise RejectedMessage(f"the value is not JSON: {reason}") from None
    if not isinstance(message, _Pairs):
        raise RejectedMessage("the value is JSON, but not an object")
    return message


class _Pairs(list):
    """A JSON object as (name, value) pairs: it shows repeated names, and differs from an array."""


def _parse_int(digits: str) -> int:
    """The integer, or one out of bounds with its sign if it is longer than any valid time.

    Python may refuse to convert a very long integer.
    """
    if len(digits) <= LONGEST_INTEGER:
        return int(digits)
    return EARLIEST_TIME - 1 if digits.startswith("-") else LATEST_TIME + 1


def _reject_constant(name: str) -> NoReturn:
    raise RejectedMessage(f"the value is not JSON: {name} is not a JSON number")


def _check_text(name: str, value: object) -> str:
    if value is None:
        raise RejectedMessage(f"{name} is missing or null")
    if not isinstance(value, str):
        raise RejectedMessage(f"{name} must be a string")
    if "\0" in value:
        raise RejectedMessage(f"{name} contains a NUL character")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RejectedMessage(f"{name} contains a lone surrogate") from None
    if name in ("restaurant_id", "adv_campaign_id") and not value.strip():
        raise RejectedMessage(f"{name} is blank")
    return value


def _check_time(name: str, value: object) -> int:
    if value is None:
        raise RejectedMessage(f"{name} is missing or null")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = _parse_int(value.lstrip("0") or "0")
    if not isinstance(value, int) or isinstance(value, bool):
        raise RejectedMessage(
            f"{name} must be whole unix seconds (an integer, or a string of digits)"
        )
    if value < EARLIEST_TIME:
        raise RejectedMessage(f"{name} is less than a long can hold")
    if value > LATEST_TIME:
        raise RejectedMessage(f"{name} is after the year 9999 (is it in milliseconds?)")
    return value


class NotificationTemplate:
    """The bytes that all notifications of a campaign share; they differ only in the client."""

    def __init__(self, campaign: Campaign, trigger_datetime_created: int):
        body = _json(campaign._asdict())
        self._head = body[:-1] + b',"client_id":'
        self._tail = b',"trigger_datetime_created":%d}' % trigger_datetime_created
        self._id_head = _json([campaign.restaurant_id, campaign.adv_campaign_id])[:-1] + b","
        self._id_tail = b",%d]" % campaign.datetime_created

    def value(self, client_json: bytes) -> bytes:
        """The notification for a client, as JSON; `client_json` is the client's id as JSON."""
        return self._head + client_json + self._tail

    def notification_id(self, client_json: bytes) -> bytes:
        """The first 32 hex digits of a SHA-256, the same for the same (campaign, client) pair.

        It is the hash of `["restaurant_id","adv_campaign_id","client_id",datetime_created]` as
        compact JSON in UTF-8.
        """
        return hashlib.sha256(self._id_head + client_json + self._id_tail).hexdigest()[:32].encode()


def client_json(client_id: str) -> bytes:
    """A client's id as a JSON string in UTF-8.

    It equals `_json(client_id)`, but does not create an encoder for each notification.
    """
    return encode_basestring(client_id).encode()


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
