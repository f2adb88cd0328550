"""The stream's errors, and any error in one line. No driver is imported here.

A message is one sentence for the operator: what failed, on what, and what to do.
"""

import re

PY4J_PREFIX = "An error occurred while calling "  # the line before the one that names the error

_AUTHORIZATION_ERROR = re.compile(
    r"^promo_assets\.stream\.errors\.AuthorizationError: (.+)$", re.MULTILINE
)
_JAVA_AUTHORIZATION_ERROR = re.compile(
    r"(?:org\.apache\.kafka\.common\.errors\.\w*AuthorizationException|PSQLException: ERROR): "
    r"((?:permission|\w+ auth).+)"
)


class StreamError(Exception):
    """The stream cannot run."""


class AuthorizationError(Exception):
    """A right is missing or the login is wrong. It is not retried: it would fail again."""


class LedgerError(Exception):
    """This release cannot work with the ledger in the database."""


class LeaseLost(Exception):
    """Another run has acquired the lease: this one must stop, and nothing of it is written."""


class HangingTransaction(Exception):
    """Kafka has lost the end of one of the stream's transactions."""


class StaleTask(Exception):
    """A task that Spark presumed dead still works although another has done its work."""


def authorization_error_in(error: BaseException | None) -> str | None:
    """The message of the `AuthorizationError` that caused an error, or None.

    Errors of executors and of Java reach the driver as text, so the text is searched as well.
    """
    if isinstance(error, AuthorizationError):
        return str(error)
    if found := _AUTHORIZATION_ERROR.search(str(error)):
        return found[1].strip()
    found = _JAVA_AUTHORIZATION_ERROR.search(str(error))
    if not found:
        return None
    reason = found[1].strip(" .")
    return f"Spark's reader was refused: {reason}: docs/security.md shows how to grant it"


def first_line(error: BaseException | None) -> str:
    """An error in one line of at most 300 characters, without Spark's stack traces."""
    if refusal := authorization_error_in(error):
        return refusal
    lines = [
        line
        for line in str(error).splitlines()
        if line.strip() and not line.startswith(PY4J_PREFIX)
    ]
    if any("Traceback (most recent call last)" in line for line in lines):
        # The last unindented line of a Python worker's traceback names the error. Postgres may
        # add lines of its own behind it.
        named = r"(?!DETAIL|CONTEXT|HINT)[A-Za-z_][\w.]*: "
        lines = [line for line in lines if re.match(named, line)][-1:] or lines
    return (lines or [type(error).__name__])[0].strip().removeprefix(": ")[:300]
