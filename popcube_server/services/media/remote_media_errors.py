"""What a client is told when another server does not give its media, and for how long that is believed."""

from federation.transport.errors import AnswerIsTooLarge, FederationError, HttpRefusal, NotFederated
from popcube_server.services.errors import WithCode
from synapse_like_config.lazy_dataclasses import dataclass

SHORT_MS = 30_000
NOT_FOUND_MS = 60_000
TOO_LARGE_MS = 10 * 60_000
MAX_PAUSE_MS = 5 * 60_000


@dataclass(frozen=True, slots=True)
class FailedFetch:
    """A refusal, said again for `lifetime_ms` without asking the other server."""

    status: int
    errcode: str
    message: str
    lifetime_ms: int
    retry_after_ms: int | None = None

    def refusal(self) -> WithCode:
        if self.retry_after_ms is not None:
            return WithCode(self.status, self.errcode, self.message, retry_after_ms=self.retry_after_ms)
        return WithCode(self.status, self.errcode, self.message)


# "Homeservers should not proxy or thumbnail large files or images from remote homeservers, returning a HTTP 502 error
# with the M_TOO_LARGE code."
TOO_LARGE = FailedFetch(
    502, "M_TOO_LARGE", "The media of that server are too large for this one.", TOO_LARGE_MS
)
NOT_YET_UPLOADED = FailedFetch(504, "M_NOT_YET_UPLOADED", "The content has not been uploaded yet.", 0)
_NOT_FOUND = FailedFetch(404, "M_NOT_FOUND", "That server has no such media.", NOT_FOUND_MS)
_NOT_FEDERATED = FailedFetch(404, "M_NOT_FOUND", "This server gets no media of that one.", 0)
_FAILED = FailedFetch(502, "M_UNKNOWN", "The media could not be fetched from that server.", SHORT_MS)


def describe_failure(error: FederationError) -> FailedFetch:
    if isinstance(error, AnswerIsTooLarge):
        return TOO_LARGE
    if isinstance(error, NotFederated):
        return _NOT_FEDERATED
    if not isinstance(error, HttpRefusal):
        return _FAILED
    if error.errcode == "M_NOT_YET_UPLOADED":
        return NOT_YET_UPLOADED
    if error.errcode == "M_TOO_LARGE":
        return TOO_LARGE
    if error.status == 404:
        return _NOT_FOUND
    if error.status == 429:
        pause_ms = min(max(error.retry_after_ms or SHORT_MS, 1000), MAX_PAUSE_MS)
        message = "That server gives no more media at the moment."
        return FailedFetch(429, "M_LIMIT_EXCEEDED", message, pause_ms, pause_ms)
    return _FAILED
