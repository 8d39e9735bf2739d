"""Forget a room that one has left. Source: client-server API, leaving."""

from popcube_server.services.errors import NotFound, WithCode
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.committer import Committer
from storage.memberships import ForgetRoom


class ForgetRooms:
    def __init__(self, user_rooms: UserRooms, committer: Committer) -> None:
        self._user_rooms = user_rooms
        self._committer = committer

    async def forget(self, requester: Requester, room_id: str) -> None:
        """Raises M_UNKNOWN while the user is still in the room."""
        row = (await self._user_rooms.of_user(requester.user_id)).get(room_id)
        if row is None:
            raise NotFound("You were never in this room.")
        if row.membership not in ("leave", "ban"):
            raise WithCode(400, "M_UNKNOWN", "Leave the room before you forget it.")
        if not row.forgotten:
            await self._committer.commit(ForgetRoom(requester.user_id, room_id))
