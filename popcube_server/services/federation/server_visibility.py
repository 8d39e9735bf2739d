"""Which events another server may see in full.

Source: server-server API, "Backfilling and retrieving missing events".
"""

from collections.abc import Iterable, Sequence

from federation.room_dag.event import Event
from federation.room_dag.identifiers import InvalidIdentifier, domain_of
from federation.room_dag.redaction import redact_event
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.room_state import MEMBER
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.rooms.visibility_history import HISTORY_VISIBILITY, visibility_of
from storage.database import Database
from storage.state_entries import Entries, StateEntriesRepository

_VISIBILITY_PAIR = (HISTORY_VISIBILITY, "")
_OPEN = ("world_readable", "shared")


class ServerVisibility:
    """Redacts what a server may not see. Of states only those entries are read that decide."""

    def __init__(
        self, database: Database, entries: StateEntriesRepository, rooms: LiveRooms, events: EventStore
    ) -> None:
        self._database = database
        self._entries = entries
        self._rooms = rooms
        self._events = events

    async def shown(self, origin: str, events: Sequence[StoredEvent]) -> list[Event]:
        """The events, in the same order, redacted where no user of the server may see them."""
        doubtful = [
            stored
            for stored in events
            if stored.snapshot_nid is not None and domain_of(stored.event.sender) != origin
        ]
        visible = await self._visible(origin, doubtful)
        return [
            stored.event
            if domain_of(stored.event.sender) == origin
            # An outlier: what is shown of states is in force or was, and every server in the room has it.
            or (stored.snapshot_nid is None and stored.event.is_state)
            or stored.snapshot_nid in visible
            else redact_event(stored.event)
            for stored in events
        ]

    async def _visible(self, origin: str, events: Sequence[StoredEvent]) -> set[int]:
        """The snapshots of those states by which users of the server see what was sent in them."""
        nids = {stored.snapshot_nid for stored in events if stored.snapshot_nid is not None}
        states = await self._read(nids, (_VISIBILITY_PAIR,))
        known = await self._events.get_many({entry for state in states.values() for entry in state.values()})
        visibilities = {}
        for nid, state in states.items():
            stored = known.get(state.get(_VISIBILITY_PAIR, ""))
            visibilities[nid] = visibility_of(None if stored is None else stored.event.content)
        visible = {nid for nid, visibility in visibilities.items() if visibility in _OPEN}
        closed = visibilities.keys() - visible
        for room_id in {stored.event.room_id for stored in events if stored.snapshot_nid in closed}:
            pairs = [(MEMBER, user_id) for user_id in await self._users(origin, room_id)]
            members = await self._read(closed, pairs)
            known = await self._events.get_many(
                {entry for state in members.values() for entry in state.values()}
            )
            for nid, state in members.items():
                enough = ("join", "invite") if visibilities[nid] == "invited" else ("join",)
                if any(known[entry].event.membership in enough for entry in state.values() if entry in known):
                    visible.add(nid)
        return visible

    async def _read(self, nids: Iterable[int], pairs: Sequence[tuple[str, str]]) -> dict[int, Entries]:
        wanted = set(nids)
        if not wanted or not pairs:
            return {}
        return await self._database.read(lambda tx: self._entries.get_entries(tx, wanted, pairs))

    async def _users(self, origin: str, room_id: str) -> list[str]:
        """The server's users who have, or had, to do with the room."""
        room = await self._rooms.get(room_id)
        return [user_id for user_id in room.committed.memberships if _is_of(user_id, origin)]


def _is_of(user_id: str, server_name: str) -> bool:
    try:
        return user_id.endswith(server_name) and domain_of(user_id) == server_name
    except InvalidIdentifier:
        return False
