"""Which events another server may see in full.

Source: server-server API, "Backfilling and retrieving missing events".
"""

from collections.abc import Sequence

from federation.room_dag.event import Event
from federation.room_dag.identifiers import domain_of
from federation.room_dag.redaction import redact_event
from federation.rooms.event_store import EventStore
from federation.rooms.read_graph import ReadGraph
from federation.rooms.room_state import MEMBER, StatePair
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.rooms.visibility_history import HISTORY_VISIBILITY, visibility_of


class ServerVisibility:
    """Redacts what a server may not see."""

    def __init__(self, graph: ReadGraph, events: EventStore) -> None:
        self._graph = graph
        self._events = events

    async def shown(self, origin: str, events: Sequence[StoredEvent]) -> list[Event]:
        """The events, in the same order, redacted where no user of the server may see them."""
        states = await self._graph.states_after(events)
        wanted = {
            event_id
            for state in states.values()
            for pair, event_id in state.items()
            if pair[0] == HISTORY_VISIBILITY or _is_member_of(pair, origin)
        }
        known = await self._events.get_many(wanted)
        return [
            stored.event
            if _is_visible(origin, stored.event, states.get(stored.event.event_id), known)
            else redact_event(stored.event)
            for stored in events
        ]


def _is_member_of(pair: StatePair, server_name: str) -> bool:
    return pair[0] == MEMBER and pair[1].endswith(":" + server_name)


def _is_visible(
    origin: str, event: Event, state: dict[StatePair, str] | None, known: dict[str, StoredEvent]
) -> bool:
    if domain_of(event.sender) == origin:
        return True
    if state is None:
        # An outlier: what is shown of states is in force or was, and every server in the room has it.
        return event.is_state
    visibility_id = state.get((HISTORY_VISIBILITY, ""))
    stored = None if visibility_id is None else known.get(visibility_id)
    visibility = visibility_of(None if stored is None else stored.event.content)
    if visibility in ("world_readable", "shared"):
        return True
    enough = ("join", "invite") if visibility == "invited" else ("join",)
    return any(
        known[event_id].event.membership in enough
        for pair, event_id in state.items()
        if _is_member_of(pair, origin) and event_id in known
    )
