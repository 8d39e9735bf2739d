"""A deactivated user leaves all rooms, turns down all invites and takes back all knocks."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from popcube_server.services.for_each import for_each
from popcube_server.services.rooms.change_membership import ChangeMembership
from popcube_server.services.rooms.followers.as_user import requester_for, try_to
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.change import LogEntry

ROOMS_AT_ONCE: Final = 8

_PRESENT: Final = ("join", "invite", "knock")


class LeaveWhenDeactivated:
    name = "deactivated_users_leave"

    def __init__(self, memberships: ChangeMembership, user_rooms: UserRooms) -> None:
        self._memberships = memberships
        self._user_rooms = user_rooms

    def concerns(self, entry: LogEntry) -> bool:
        return entry.kind == "account_deactivated"

    async def handle(self, entries: Sequence[LogEntry]) -> None:
        for user_id in dict.fromkeys(entry.key[0] for entry in entries):
            rows = await self._user_rooms.of_user(user_id)
            room_ids = [room_id for room_id, row in rows.items() if row.membership in _PRESENT]
            await for_each(room_ids, ROOMS_AT_ONCE, partial(self._leave, user_id))

    async def _leave(self, user_id: str, room_id: str) -> None:
        leaving = self._memberships.leave(requester_for(user_id), room_id)
        await try_to(f"take the deactivated {user_id} out of {room_id}", leaving)
