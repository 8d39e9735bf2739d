"""What state resolution asks its caller for."""

from collections.abc import Callable, Collection, Iterable, Mapping
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
        self, conflicted: Mapping[str, int], states: int, unconflicted: Callable[[], Iterable[str]]
    ) -> set[str]:
        """The auth difference: every event in the auth chain of at least one state, but not of all of them.

        `conflicted` are the events that only some of the states have, each with a bit for each state that has it;
        `states` is the number of states, all of which have the events of `unconflicted` too. Those of `conflicted` are
        left out: they are looked at anyway.

        NOTSPEC: those of `unconflicted` are left out, too. To the letter one that is an auth event in some states only
        would belong here, and would then come into the order of power events. But a state counts as part of its own
        auth chain in Synapse, and all servers of a room must come to the same state.
        """

    def subgraph(self, conflicted: Collection[str]) -> set[str]:
        """The conflicted state subgraph: all events on paths of auth events between two of `conflicted`."""

    def within(self, event_ids: Collection[str], among: Collection[str]) -> set[str]:
        """Those of `among` that are in the auth chain of one of the events."""

    def expect(self, event_ids: Collection[str]) -> None:
        """These events and those that they name as auth events are going to be looked up."""
