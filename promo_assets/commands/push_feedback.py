"""What clients answer in `push`, and how it is stored as feedback."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

REPLIES = (
    "thanks!",
    "will come",
    "booked a table",
    "too far away",
    "not interested",
    "no more of these, please",
)

# Rows are found by their trigger times, of which a batch of messages has few and on which there is
# an index, and then by the pair itself.
_STORE_FEEDBACK = """
UPDATE subscribers_feedback f SET feedback = answer.feedback
FROM unnest(%s::text[], %s::text[], %s::text[], %s::int8[], %s::int4[], %s::text[])
  AS answer (restaurant_id, adv_campaign_id, client_id, datetime_created,
    trigger_datetime_created, feedback)
WHERE f.trigger_datetime_created = ANY (%s::int4[]) AND f.feedback IS NULL
  AND (f.trigger_datetime_created, f.client_id, f.restaurant_id, f.adv_campaign_id,
      f.datetime_created)
    = (answer.trigger_datetime_created, answer.client_id, answer.restaurant_id,
      answer.adv_campaign_id, answer.datetime_created)"""


class Answer(NamedTuple):
    """A client's answer to a notification; times are unix seconds."""

    restaurant_id: str
    adv_campaign_id: str
    client_id: str
    datetime_created: int
    trigger_datetime_created: int
    feedback: str


def choose_answer(
    notification_id: str, notification: dict[str, Any], share: float, campaigns: str
) -> Answer | None:
    """Return what the client answers, or None where it does not answer.

    share: how many of the clients answer. campaigns: how the ids of the campaigns begin to which
    they answer. The result is always the same for the same notification, so that a repeat of it
    writes nothing else. Raises `KeyError`, `TypeError` or `ValueError` for what is no notification
    of the stream, and what Postgres would not accept.
    """
    chance, choice = int(notification_id[:8], 16) / 16**8, int(notification_id[8:16], 16)
    answer = Answer(
        restaurant_id=notification["restaurant_id"],
        adv_campaign_id=notification["adv_campaign_id"],
        client_id=notification["client_id"],
        datetime_created=notification["datetime_created"],
        trigger_datetime_created=notification["trigger_datetime_created"],
        feedback=REPLIES[choice % len(REPLIES)],
    )
    _check_values(answer)
    return answer if chance < share and answer.adv_campaign_id.startswith(campaigns) else None


def _check_values(answer: Answer) -> None:
    """Raise `ValueError` for what Postgres would not accept; the stream never writes such."""
    for text in (answer.restaurant_id, answer.adv_campaign_id, answer.client_id):
        if not isinstance(text, str) or "\0" in text:
            raise ValueError("a text without NUL is needed")
        text.encode()  # raises a `ValueError` for a lone surrogate
    for number, bits in ((answer.datetime_created, 63), (answer.trigger_datetime_created, 31)):
        if type(number) is not int or not -(2**bits) <= number < 2**bits:
            raise ValueError("a whole number of seconds is needed")


def store_feedback(connection: psycopg.Connection, answers: Sequence[Answer]) -> int:
    """Store the answers where there is no feedback yet; return how many rows were changed."""
    if not answers:
        return 0
    columns = [list(column) for column in zip(*answers, strict=True)]
    trigger_times = sorted({answer.trigger_datetime_created for answer in answers})
    return connection.execute(_STORE_FEEDBACK, (*columns, trigger_times)).rowcount
