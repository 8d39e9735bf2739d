"""Which member events a client has been given already, so that lazy loading does not repeat them."""

from collections.abc import Iterable, Mapping

from popcube_server.services.bounded_cache import BoundedCache

MEMBERS_PER_CONNECTION = 5_000


class SentMembers:
    """By device and room: user to the member event that was sent and the position of the answer that it was in.

    What was in an answer counts as known only once its token, or a later one, comes back: until then the answer may
    have been lost on the way. Forgetting an entry costs no more than a repetition.
    """

    def __init__(self, size: int) -> None:
        self._sent: BoundedCache[tuple[str, str, str], dict[str, tuple[str, int]]] = BoundedCache(size)

    def redundant(
        self, user_id: str, device_id: str, room_id: str, since: int, members: Mapping[tuple[str, str], str]
    ) -> set[tuple[str, str]]:
        """Which of the member entries (type and state key to event ID) the client has since this position."""
        sent = self._sent.get((user_id, device_id, room_id))
        if sent is None:
            return set()
        return {
            pair
            for pair, event_id in members.items()
            if (known := sent.get(pair[1])) is not None and known[0] == event_id and known[1] <= since
        }

    def record(
        self,
        user_id: str,
        device_id: str,
        room_id: str,
        position: int,
        members: Iterable[tuple[str, str]],
    ) -> None:
        """Note member events (user, event ID) of an answer that ends at this position."""
        key = (user_id, device_id, room_id)
        sent = self._sent.get(key)
        if sent is None or len(sent) > MEMBERS_PER_CONNECTION:
            sent = {}
            self._sent.put(key, sent)
        for user, event_id in members:
            known = sent.get(user)
            if known is None or known[0] != event_id:
                sent[user] = (event_id, position)
