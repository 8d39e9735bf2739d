"""A room's heroes: the members that a client names the room after. Source: client-server API, RoomSummary."""

from collections.abc import Iterable, Sequence
from heapq import nsmallest

from immutables import Map

from federation.rooms.event_store import EventStore
from federation.rooms.room_state import MEMBER, RoomState
from popcube_server.services.bounded_cache import BoundedCache
from storage.database import Database
from storage.memberships import MembershipsRepository
from synapse_like_config.lazy_dataclasses import dataclass

HEROES = 5
SMALL_ROOM = 50
_PRESENT = ("join", "invite")
# "Required if the room's m.room.name or m.room.canonical_alias state events are unset or empty."
_NAMES = (("m.room.name", "name"), ("m.room.canonical_alias", "alias"))


@dataclass(frozen=True, slots=True)
class _Found:
    memberships: "Map[str, str]"
    users: Sequence[str]


class Heroes:
    """Finds heroes; remembers them as long as the room's memberships stay the same object."""

    def __init__(
        self, database: Database, repository: MembershipsRepository, events: EventStore, size: int
    ) -> None:
        self._database = database
        self._repository = repository
        self._events = events
        self._found: BoundedCache[str, _Found] = BoundedCache(size)

    async def prepare(self, states: Iterable[RoomState]) -> None:
        """Get into memory, in one read, what `of` looks at first in these rooms: one by one it would be a read each."""
        ids = (state.find(event_type) for state in states for event_type, _ in _NAMES)
        await self._events.get_many(event_id for event_id in ids if event_id is not None)

    async def of(self, room_id: str, state: RoomState, user_id: str) -> list[str] | None:
        """The heroes for a user; None if the room has a name or an alias and needs none."""
        if await self._has_name(state):
            return None
        found = self._found.get(room_id)
        if found is None or found.memberships is not state.memberships:
            users: Sequence[str]
            if found is not None and _are_still_first(found.users, state):
                users = found.users
            else:
                users = await self._find(room_id, state)
            found = _Found(state.memberships, users)
            self._found.put(room_id, found)
        # "The list must never include the client's own user ID."
        return [user for user in found.users if user != user_id][:HEROES]

    async def _has_name(self, state: RoomState) -> bool:
        for event_type, field in _NAMES:
            event_id = state.find(event_type)
            stored = None
            if event_id is not None:
                stored = self._events.find_cached(event_id) or await self._events.find(event_id)
            if stored is not None and stored.event.content.get(field):
                return True
        return False

    async def _find(self, room_id: str, state: RoomState) -> list[str]:
        count = state.joined_count + state.invited_count
        if count > SMALL_ROOM:
            # The events of so many members would push everything else out of memory.
            return await self._database.read(
                lambda tx: self._repository.get_first_present(tx, room_id, HEROES + 1)
            )
        # One more than needed, as everybody leaves out themselves.
        present = [user for user, word in state.memberships.items() if word in _PRESENT]
        if count > 1:
            return await self._first(state, present)
        # "When no joined or invited members are available, this should consist of the banned and left users."
        gone = [user for user, word in state.memberships.items() if word in ("leave", "ban")]
        return [*present, *await self._first(state, gone)]

    async def _first(self, state: RoomState, users: Sequence[str]) -> list[str]:
        if len(users) <= HEROES + 1:
            return sorted(users)
        ids = {user: state.entries[MEMBER, user] for user in users}
        events = await self._events.get_many(ids.values())
        return nsmallest(
            HEROES + 1, users, lambda user: events[ids[user]].position if ids[user] in events else 1 << 62
        )


def _are_still_first(users: Sequence[str], state: RoomState) -> bool:
    # Whoever comes later stands behind them.
    return len(users) == HEROES + 1 and all(state.memberships.get(user) in _PRESENT for user in users)
