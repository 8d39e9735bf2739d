"""The rooms that two users share. Source: client-server API, "Mutual rooms"."""

from bisect import bisect_right
from collections.abc import Sequence

from federation.room_dag.identifiers import is_user_id
from popcube_server.services.errors import InvalidParam
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.user_rooms import UserRooms
from synapse_like_config.lazy_dataclasses import dataclass

LIMIT = 500
_MARK = "m"


@dataclass(frozen=True, slots=True)
class SharedRooms:
    room_ids: Sequence[str]
    count: int
    """On all pages."""
    next_batch: str | None


class MutualRooms:
    def __init__(self, user_rooms: UserRooms, limit: int = LIMIT) -> None:
        self._user_rooms = user_rooms
        self._limit = limit

    async def with_user(self, requester: Requester, user_id: str, start: str | None) -> SharedRooms:
        """In the order of their IDs. Raises `InvalidParam`; a user who does not exist shares nothing."""
        if not is_user_id(user_id):
            raise InvalidParam("'user_id' must be a user ID.")
        if user_id == requester.user_id:
            raise InvalidParam("You share every room with yourself.")
        if start is not None and not start.startswith(_MARK + "!"):
            raise InvalidParam("The token cannot be read.")
        mine = await self._user_rooms.joined_rooms(requester.user_id)
        theirs = set(await self._user_rooms.joined_rooms(user_id))
        shared = sorted(room_id for room_id in mine if room_id in theirs)
        first = 0 if start is None else bisect_right(shared, start.removeprefix(_MARK))
        page = shared[first : first + self._limit]
        has_more = first + len(page) < len(shared)
        return SharedRooms(page, len(shared), _MARK + page[-1] if has_more else None)
