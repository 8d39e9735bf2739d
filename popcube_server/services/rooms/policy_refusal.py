"""What a room's policy server says to events, as clients hear it. Source: server-server API, "Policy servers"."""

from federation.rooms.policy.ask_policy_server import NotRecommended, PolicyServerAway
from popcube_server.services.errors import Refusal, WithCode

MAX_ERROR_CHARS = 500


def policy_refusal(error: NotRecommended | PolicyServerAway) -> Refusal:
    """The policy server's own error where it said one; else that it could not be asked."""
    if isinstance(error, PolicyServerAway):
        return WithCode(
            502, "M_UNKNOWN", "The policy server of this room could not be asked; nothing was sent."
        )
    refusal = error.refusal
    wait_ms = refusal.retry_after_ms
    extra = {} if wait_ms is None else {"retry_after_ms": wait_ms}
    message = (refusal.error or "The policy server of this room refuses.")[:MAX_ERROR_CHARS]
    return WithCode(refusal.status, refusal.errcode or "M_FORBIDDEN", message, **extra)
