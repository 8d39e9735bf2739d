"""Whether events of a peer site are soft failed: as there.

Soft failing asks for the room as it is now, and "now" is not the same on two sites: one has banned a member, and the
other one has not heard of it and answers his message. What a site has shown to its users, and answered, is to be seen
on the other sites too, and what it hides is hidden there; so whoever accepted an event first has decided for all. What
the event's own place in the room forbids is rejected on each site alike.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from federation.room_dag.event import Event
from federation.rooms.policy.ask_policy_server import Checked


class PeerVerdicts:
    """`PolicyCheck` for what a peer brings: the policy server was asked there."""

    def __init__(self) -> None:
        self._soft_failed: set[str] = set()

    @contextmanager
    def about(self, event_id: str, is_soft_failed: bool) -> Iterator[None]:
        """While an event is placed. What is fetched because the event stands on it was shown by the peer."""
        if not is_soft_failed:
            yield
            return
        self._soft_failed.add(event_id)
        try:
            yield
        finally:
            self._soft_failed.discard(event_id)

    async def check(self, event: Event) -> Checked:
        return Checked(event, event.event_id not in self._soft_failed, is_settled=True)
