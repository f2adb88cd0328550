"""The stream's errors, and the text of any error in one line. This module imports no driver.

A message says what failed, on what, and what to do about it.
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


class BaseStreamError(Exception):
    """The base class of the stream's errors. It is neither raised nor caught itself."""


class StreamError(BaseStreamError):
    """The stream cannot run. The message is for the operator."""


class AuthorizationError(BaseStreamError):
    """A permission is missing or the login is wrong. A retry would fail again, so there is none."""


class LedgerError(BaseStreamError):
    """This release cannot work with the ledger in the database."""


class LeaseLost(BaseStreamError):
    """Another run has acquired the lease. This run must stop, and can write nothing more."""


class HangingTransaction(BaseStreamError):
    """Kafka has lost the end of one of the stream's transactions."""


class StaleTask(BaseStreamError):
    """A task that Spark presumed dead is still running although another task has done its work."""


def authorization_error_in(error: BaseException | None) -> str | None:
    """Return the message of the `AuthorizationError` that caused an error, or None.

    Errors of executors and of Java reach the driver as text, so the text is searched as well.
    """
    if isinstance(error, AuthorizationError):
        return str(error)
    if match := _AUTHORIZATION_ERROR.search(str(error)):
        return match[1].strip()
    match = _JAVA_AUTHORIZATION_ERROR.search(str(error))
    if not match:
        return None
    reason = match[1].strip(" .")
    return f"Spark's reader was denied access: {reason}. docs/security.md shows how to grant it"


def first_line(error: BaseException | None) -> str:
    """Return an error in one line of at most 300 characters, without Spark's stack traces."""
    if message := authorization_error_in(error):
        return message
    lines = [
        line
        for line in str(error).splitlines()
        if line.strip() and not line.startswith(PY4J_PREFIX)
    ]
    if any("Traceback (most recent call last)" in line for line in lines):
        # The last unindented line of a Python worker's traceback names the error. Postgres may
        # append lines of its own.
        names_error = r"(?!DETAIL|CONTEXT|HINT)[A-Za-z_][\w.]*: "
        lines = [line for line in lines if re.match(names_error, line)][-1:] or lines
    return (lines or [type(error).__name__])[0].strip().removeprefix(": ")[:300]
