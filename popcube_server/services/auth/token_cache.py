"""Access tokens seen lately and their owners: what a request costs when nothing changed is one look-up here."""

from collections import OrderedDict

from popcube_server.services.requester import Requester
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownToken:
    """`until_ms` is None for a token without end."""

    requester: Requester
    until_ms: int | None


class TokenCache:
    """At most `size` tokens, those used last, found by token and dropped by user."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[str, KnownToken] = OrderedDict()
        self._by_user: dict[str, set[str]] = {}
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._known)

    def find(self, token: str, now_ms: int) -> Requester | None:
        known = self._known.get(token)
        if known is None or (known.until_ms is not None and known.until_ms <= now_ms):
            self.misses += 1
            return None
        self.hits += 1
        self._known.move_to_end(token)
        return known.requester

    def put(self, token: str, known: KnownToken) -> None:
        self._known[token] = known
        self._known.move_to_end(token)
        self._by_user.setdefault(known.requester.user_id, set()).add(token)
        if len(self._known) > self._size:
            oldest, gone = self._known.popitem(last=False)
            tokens = self._by_user[gone.requester.user_id]
            tokens.discard(oldest)
            if not tokens:
                del self._by_user[gone.requester.user_id]

    def drop_user(self, user_id: str) -> None:
        for token in self._by_user.pop(user_id, ()):
            del self._known[token]
