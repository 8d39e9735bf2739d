"""In which rooms a user of another server may say something."""

from typing import Any, Protocol

from popcube_server.services.errors import NotAllowed, NotFound
from popcube_server.services.rooms.user_rooms import UserRooms


class RoomAccess(Protocol):
    """Checks a room's ACL."""

    async def allowed(self, origin: str, room_id: str) -> Any:
        """Raises `NotFound`, `NotAllowed`."""


class EduRooms:
    def __init__(self, access: RoomAccess, user_rooms: UserRooms) -> None:
        self._access = access
        self._user_rooms = user_rooms

    async def may_tell(self, origin: str, user_id: str, room_id: str) -> bool:
        """Whether the user is in the room, and the server is not banned from it."""
        membership = (await self._user_rooms.of_user(user_id)).get(room_id)
        if membership is None or membership.membership != "join":
            return False
        try:
            await self._access.allowed(origin, room_id)
        except (NotFound, NotAllowed):
            return False
        return True
