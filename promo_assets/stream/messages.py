"""What comes in and what goes out: the campaign message, its rules, and the notification made from it.

The rules are checked in Python, not with Spark's `from_json`, because the same function serves the stream and
`promo-assets campaigns send`, and because Spark's parser forgives what must be rejected here (docs/adr/0003).
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
    """A message that became a dead letter, and why; `source_at` is when Kafka got it, unix milliseconds."""

    reason: str
    source_partition: int
    source_offset: int
    source_at: int


class RejectedMessage(ValueError):
    """A message that is no campaign; its text says why, in words for the sender."""


class Campaign(NamedTuple):
    """A valid campaign message, fields in the order of the message; times are unix seconds, UTC."""

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
        """SHA-256 of what makes a campaign the same one: 32 bytes, however long the ids are."""
        return hashlib.sha256(
            _json([self.restaurant_id, self.adv_campaign_id, self.datetime_created])
        ).digest()

    def state_at(self, time: int) -> str:
        """`waiting`, `due` or `expired` at a unix time: a campaign is active when start <= time < end."""
        if time < self.adv_campaign_datetime_start:
            return "waiting"
        return "due" if time < self.adv_campaign_datetime_end else "expired"


FIELDS = Campaign._fields
_TEXTS, _TIMES = FIELDS[:5], FIELDS[5:]


def parse_campaign(value: bytes | None) -> Campaign:
    """The campaign that a message's value holds; raises `RejectedMessage` with the first reason found."""
    if value is None:
        raise RejectedMessage("the message has no value (null)")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RejectedMessage(f"the value is not UTF-8 text (byte {error.start})") from None
    try:
        message = json.loads(
            text, object_pairs_hook=_Pairs, parse_int=_integer, parse_constant=_reject_constant
        )
    except RejectedMessage:
        raise
    except RecursionError:
        raise RejectedMessage("the value is not usable JSON: nested too deeply") from None
    except json.JSONDecodeError as error:
        raise RejectedMessage(
            f"the value is not JSON: {error.msg} (character {error.pos})"
        ) from None
    if not isinstance(message, _Pairs):
        raise RejectedMessage("the value is JSON, but not an object")
    known = [(name, value) for name, value in message if name in FIELDS]
    found = dict(known)
    if len(found) < len(known):
        twice = next(name for index, (name, _) in enumerate(known) if name in dict(known[:index]))
        raise RejectedMessage(f"{twice} stands twice in the object")
    texts = {name: _text(name, found.get(name)) for name in _TEXTS}
    times = {name: _time(name, found.get(name)) for name in _TIMES}
    campaign = Campaign._make((*texts.values(), *times.values()))
    if campaign.adv_campaign_datetime_end <= campaign.adv_campaign_datetime_start:
        raise RejectedMessage(
            "adv_campaign_datetime_end must be later than adv_campaign_datetime_start"
        )
    return campaign


class _Pairs(list):
    """A JSON object as its (name, value) pairs, so that a name standing twice is seen and objects differ from arrays."""


def _integer(digits: str) -> int:
    """As long as a time may need; of a longer one, which Python may refuse to convert, only the sign counts."""
    if len(digits) <= LONGEST_INTEGER:
        return int(digits)
    return EARLIEST_TIME - 1 if digits.startswith("-") else LATEST_TIME + 1


def _reject_constant(name: str) -> NoReturn:
    raise RejectedMessage(f"the value is not JSON: {name} is not a JSON number")


def _text(name: str, value: object) -> str:
    if value is None:
        raise RejectedMessage(f"{name} is missing or null")
    if not isinstance(value, str):
        raise RejectedMessage(f"{name} must be a string")
    if "\0" in value:
        raise RejectedMessage(f"{name} holds a NUL character")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RejectedMessage(f"{name} holds half of a surrogate pair") from None
    if name in ("restaurant_id", "adv_campaign_id") and not value.strip():
        raise RejectedMessage(f"{name} is blank")
    return value


def _time(name: str, value: object) -> int:
    if value is None:
        raise RejectedMessage(f"{name} is missing or null")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = _integer(value.lstrip("0") or "0")
    if not isinstance(value, int) or isinstance(value, bool):
        raise RejectedMessage(
            f"{name} must be whole unix seconds (an integer, or a string of digits)"
        )
    if value < EARLIEST_TIME:
        raise RejectedMessage(f"{name} is smaller than a long can hold")
    if value > LATEST_TIME:
        raise RejectedMessage(f"{name} lies beyond the year 9999 (are these milliseconds?)")
    return value


class NotificationTemplate:
    """Everything of a campaign's notifications but the client, made once per campaign: what differs is one JSON string."""

    def __init__(self, campaign: Campaign, trigger_datetime_created: int):
        body = _json(campaign._asdict())
        self._head = body[:-1] + b',"client_id":'
        self._tail = b',"trigger_datetime_created":%d}' % trigger_datetime_created
        self._id_head = _json([campaign.restaurant_id, campaign.adv_campaign_id])[:-1] + b","
        self._id_tail = b",%d]" % campaign.datetime_created

    def value(self, client_json: bytes) -> bytes:
        """The notification's JSON for a client, given the client's id as JSON."""
        return self._head + client_json + self._tail

    def notification_id(self, client_json: bytes) -> bytes:
        """First 32 hex digits of the SHA-256 of `["restaurant_id","adv_campaign_id","client_id",datetime_created]`, compact JSON, UTF-8."""
        return hashlib.sha256(self._id_head + client_json + self._id_tail).hexdigest()[:32].encode()


def client_json(client_id: str) -> bytes:
    """A client's id as a JSON string, UTF-8: what `_json` gives, without making an encoder for each notification."""
    return encode_basestring(client_id).encode()


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
