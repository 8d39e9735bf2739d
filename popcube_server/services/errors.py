"""Refusals in the words of the domain. `rest/errors.py` gives each its status and error code.

The message is for the person who reads the client's log: a sentence that helps, never a secret.
"""

from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """Base of everything that a service refuses."""

    def __init__(self, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.message = message
        self.extra: Mapping[str, Any] = extra
        """More members of the answer, as the specification names them."""


class NotAllowed(Refusal):
    """M_FORBIDDEN."""


class NotFound(Refusal):
    """M_NOT_FOUND."""


class InvalidParam(Refusal):
    """M_INVALID_PARAM: right type, wrong value."""


class MissingParam(Refusal):
    """M_MISSING_PARAM."""


class BadJson(Refusal):
    """M_BAD_JSON: JSON of the wrong shape."""


class NotJson(Refusal):
    """M_NOT_JSON."""


class TooLarge(Refusal):
    """M_TOO_LARGE."""


class Unrecognized(Refusal):
    """M_UNRECOGNIZED with 404: the server has no such thing."""


class MissingToken(Refusal):
    """M_MISSING_TOKEN."""


class UnknownToken(Refusal):
    """M_UNKNOWN_TOKEN; give `soft_logout=True` if logging in again keeps the device."""


class UserLocked(Refusal):
    """M_USER_LOCKED, with `soft_logout=True`: the account may be unlocked again."""


class AuthenticationNeeded(Refusal):
    """401 of user-interactive authentication: `extra` is the whole answer, with an error code only after a failure."""


class LimitExceeded(Refusal):
    """M_LIMIT_EXCEEDED."""

    def __init__(self, message: str, retry_after_ms: int) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.retry_after_ms = retry_after_ms


class WithCode(Refusal):
    """A refusal whose error code is used in one place only: said where it is raised.

    `status` is the HTTP status that the specification gives to this code.
    """

    def __init__(self, status: int, errcode: str, message: str, **extra: Any) -> None:
        super().__init__(message, **extra)
        self.status = status
        self.errcode = errcode
