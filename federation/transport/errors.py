"""What can go wrong on the way to another server."""

from collections.abc import Mapping
from typing import Any


class FederationError(Exception):
    """Another server did not do what it was asked. `destination` is its server name."""

    def __init__(self, destination: str, reason: str) -> None:
        super().__init__(f"{destination}: {reason}")
        self.destination = destination
        self.reason = reason


class NotFederated(FederationError):
    """This server does not talk to that one: it is not in `federation_domain_whitelist`, or it is this one."""


class Unreachable(FederationError):
    """No answer: no such name, no connection, a wrong certificate, a timeout, a broken connection."""


class NotTriedYet(Unreachable):
    """The server did not answer lately and nothing was sent; it will be tried again at `retry_at_ms`."""

    def __init__(self, destination: str, retry_at_ms: int) -> None:
        super().__init__(destination, f"did not answer lately; tried again at {retry_at_ms}")
        self.retry_at_ms = retry_at_ms


class InvalidAnswer(FederationError):
    """A success that cannot be used: not JSON, not a JSON object, or larger than is read."""


class AnswerIsTooLarge(InvalidAnswer):
    """It was cut off at the limit."""


class HttpRefusal(FederationError):
    """An answer with an error status. `errcode` and `error` are what the body says, if it does."""

    def __init__(self, destination: str, status: int, body: Mapping[str, Any]) -> None:
        errcode, error = body.get("errcode"), body.get("error")
        self.status = status
        self.errcode = errcode if isinstance(errcode, str) else None
        self.error = error if isinstance(error, str) else None
        self.body = body
        super().__init__(destination, f"{status} {self.errcode or ''} {(self.error or '')[:200]}".strip())

    @property
    def retry_after_ms(self) -> int | None:
        """How long the other server wants us to wait, if it says."""
        value = self.body.get("retry_after_ms")
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


class TransportError(Exception):
    """Nothing came back over HTTPS. `was_stale`: an old connection had been closed by the other end.

    Internal to this package: callers see `Unreachable`.
    """

    def __init__(self, reason: str, *, was_stale: bool = False) -> None:
        super().__init__(reason)
        self.was_stale = was_stale


class AnswerTooLarge(Exception):
    """The answer was cut off at the limit. Internal to this package: callers see `AnswerIsTooLarge`."""
