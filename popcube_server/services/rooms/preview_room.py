"""A room's summary, for those who think of joining. Source: client-server API, "Room summaries"."""

from collections.abc import Mapping
from typing import Any

from popcube_server.services.errors import NotFound
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.resolve_alias import ResolveAlias
from popcube_server.services.rooms.room_access import is_accessible, is_open_to_all, membership_in
from popcube_server.services.rooms.room_summaries import RoomSummaries, RoomSummary
from popcube_server.services.rooms.user_rooms import UserRooms

_MISSING = "The room was not found."


class PreviewRoom:
    def __init__(self, summaries: RoomSummaries, user_rooms: UserRooms, aliases: ResolveAlias) -> None:
        self._summaries = summaries
        self._user_rooms = user_rooms
        self._aliases = aliases

    async def of(self, requester: Requester | None, room_id_or_alias: str) -> Mapping[str, Any]:
        """The summary, with the requester's membership. Raises `NotFound` for hidden and unknown rooms alike."""
        room = await self._find(room_id_or_alias)
        if requester is None:
            if not is_open_to_all(room):
                raise NotFound(_MISSING)
            return room.summary()
        memberships = await self._user_rooms.of_user(requester.user_id)
        if not is_accessible(room, memberships):
            raise NotFound(_MISSING)
        return {**room.summary(), "membership": membership_in(room.room_id, memberships) or "leave"}

    async def _find(self, room_id_or_alias: str) -> RoomSummary:
        room_id = await self._aliases.room_id_of(room_id_or_alias)
        room = await self._summaries.find(room_id)
        if room is None:
            raise NotFound(_MISSING)
        return room
