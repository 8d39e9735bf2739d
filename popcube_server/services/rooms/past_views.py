"""How a user stood to a room at events of its past that were fetched later: by the state there.

What happens in front of this server has its place in the timeline, and so have the changes of what decides about it.
Of fetched history that is not so: what changed in a part that is still missing is not known yet. The state after each
event is.
"""

from collections.abc import Mapping, Sequence

from federation.rooms.event_store import EventStore
from federation.rooms.room_state import MEMBER
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.rooms.visibility_history import HISTORY_VISIBILITY, visibility_of
from storage.database import Database
from storage.state_entries import StateEntriesRepository
from synapse_like_config.lazy_dataclasses import dataclass

CACHE_SIZE = 50_000
_VISIBILITY_PAIR = (HISTORY_VISIBILITY, "")


@dataclass(frozen=True, slots=True)
class PastView:
    """By one state."""

    visibility: str
    membership: str | None
    """None if the user had nothing to do with the room."""


class PastViews:
    """A bounded cache: states do not change."""

    def __init__(self, database: Database, entries: StateEntriesRepository, events: EventStore) -> None:
        self._database = database
        self._entries = entries
        self._events = events
        self._cache: BoundedCache[tuple[int, str], PastView] = BoundedCache(CACHE_SIZE)

    async def after(self, user_id: str, events: Sequence[StoredEvent]) -> Mapping[str, PastView]:
        """By event ID, right behind each event of which the state is known."""
        found: dict[int, PastView] = {}
        wanted: set[int] = set()
        for stored in events:
            nid = stored.snapshot_nid
            if nid is None or nid in found:
                continue
            known = self._cache.get((nid, user_id))
            if known is None:
                wanted.add(nid)
            else:
                found[nid] = known
        if wanted:
            found.update(await self._read(user_id, wanted))
        return {
            stored.event.event_id: found[stored.snapshot_nid]
            for stored in events
            if stored.snapshot_nid is not None and stored.snapshot_nid in found
        }

    async def before(self, stored: StoredEvent, after: PastView) -> PastView:
        """Right before an event that changed one of the two."""
        replaced = None if stored.replaces is None else await self._events.find(stored.replaces)
        if stored.event.type == HISTORY_VISIBILITY:
            return PastView(
                visibility_of(None if replaced is None else replaced.event.content), after.membership
            )
        return PastView(after.visibility, None if replaced is None else replaced.event.membership)

    async def _read(self, user_id: str, nids: set[int]) -> dict[int, PastView]:
        member = (MEMBER, user_id)
        states = await self._database.read(
            lambda tx: self._entries.get_entries(tx, nids, (_VISIBILITY_PAIR, member))
        )
        events = await self._events.get_many(
            {event_id for state in states.values() for event_id in state.values()}
        )
        read: dict[int, PastView] = {}
        for nid, state in states.items():
            visibility = events.get(state.get(_VISIBILITY_PAIR, ""))
            membership = events.get(state.get(member, ""))
            read[nid] = PastView(
                visibility_of(None if visibility is None else visibility.event.content),
                None if membership is None else membership.event.membership,
            )
            self._cache.put((nid, user_id), read[nid])
        return read
