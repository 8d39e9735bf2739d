"""What state resolution asks its caller for."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from federation.room_dag.event import Event

StateMap = Mapping[tuple[str, str], str]
"""The state of a room: (type, state key) to event ID."""


class EventLookup(Protocol):
    """Events by ID, at least those of the states, of their auth chains, and the create event."""

    def get(self, event_id: str, /) -> Event:
        """The event; raises KeyError if it is unknown."""


class AuthChains(Protocol):
    """Questions about auth chains, which storage can answer from an index."""

    def difference(
        self, conflicted: Sequence[Collection[str]], unconflicted: Callable[[], Iterable[str]]
    ) -> set[str]:
        """The auth difference of states whose events are one of `conflicted` each, and all of `unconflicted`.

        That is: every event in the auth chain of at least one state, but not of all of them.
        """

    def subgraph(self, conflicted: Collection[str]) -> set[str]:
        """The conflicted state subgraph: all events on paths of auth events between two of `conflicted`."""
