"""Guests leave a room that takes no guests any more.

Source: client-server API, "Guest access": "If the guest_access changes to anything else than can_join, the server must
make the guests leave."
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from federation.room_dag.identifiers import domain_of
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from popcube_server.services.for_each import for_each
from popcube_server.services.rooms.change_membership import ChangeMembership
from popcube_server.services.rooms.followers.as_user import requester_for, try_to
from popcube_server.services.rooms.followers.room_events import get_events, is_event_of_type
from storage.accounts import AccountsRepository
from storage.change import LogEntry
from storage.database import Database

GUESTS_AT_ONCE: Final = 8

_TYPE: Final = "m.room.guest_access"


class GuestsLeave:
    name = "guests_leave"

    def __init__(
        self,
        rooms: LiveRooms,
        events: EventStore,
        database: Database,
        memberships: ChangeMembership,
        server_name: str,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._database = database
        self._memberships = memberships
        self._server_name = server_name
        self._accounts = AccountsRepository()

    def concerns(self, entry: LogEntry) -> bool:
        return is_event_of_type(entry, _TYPE)

    async def handle(self, entries: Sequence[LogEntry]) -> None:
        stored = await get_events(entries, _TYPE, self._events)
        for room_id in dict.fromkeys(one.event.room_id for one in stored):
            if not await self._takes_guests(room_id):
                await for_each(await self._guests(room_id), GUESTS_AT_ONCE, partial(self._leave, room_id))

    async def _takes_guests(self, room_id: str) -> bool:
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            return False
        event_id = room.committed.find(_TYPE)
        stored = None if event_id is None else await self._events.find(event_id)
        return stored is not None and stored.event.content.get("guest_access") == "can_join"

    async def _guests(self, room_id: str) -> list[str]:
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            return []
        ours = [
            user_id
            for user_id, membership in room.committed.memberships.items()
            if membership == "join" and domain_of(user_id) == self._server_name
        ]
        return await self._database.read(lambda tx: self._accounts.get_guests_among(tx, ours))

    async def _leave(self, room_id: str, user_id: str) -> None:
        leaving = self._memberships.leave(requester_for(user_id, is_guest=True), room_id)
        await try_to(f"take the guest {user_id} out of {room_id}", leaving)
