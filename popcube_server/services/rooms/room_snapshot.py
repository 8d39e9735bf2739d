"""A room's state and last messages in one answer. Source: client-server API, `/rooms/{roomId}/initialSync`."""

from collections.abc import Sequence

from popcube_server.services.requester import Requester
from popcube_server.services.rooms.public_rooms import PublicRooms
from popcube_server.services.rooms.read_messages import Messages, MessagesRequest, ReadMessages
from popcube_server.services.rooms.read_state import ReadState
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.account_data import AccountDataRepository, AccountDataRow
from storage.database import Database
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoomSnapshot:
    membership: str | None
    is_listed: bool
    state: Sequence[bytes]
    messages: Messages
    """Newest first."""
    account_data: Sequence[AccountDataRow]


class TakeRoomSnapshot:
    def __init__(
        self,
        read_state: ReadState,
        read_messages: ReadMessages,
        public_rooms: PublicRooms,
        user_rooms: UserRooms,
        database: Database,
        account_data: AccountDataRepository,
    ) -> None:
        self._read_state = read_state
        self._read_messages = read_messages
        self._public_rooms = public_rooms
        self._user_rooms = user_rooms
        self._database = database
        self._account_data = account_data

    async def take(self, requester: Requester, room_id: str, limit: int) -> RoomSnapshot:
        """Raises `NotAllowed`."""
        user_id = requester.user_id
        state = await self._read_state.all(requester, room_id)
        messages = await self._read_messages.read(requester, room_id, MessagesRequest(True, limit=limit))
        row = (await self._user_rooms.of_user(user_id)).get(room_id)
        data = await self._database.read(lambda tx: self._account_data.get_of_room(tx, user_id, room_id))
        return RoomSnapshot(
            None if row is None else row.membership,
            await self._public_rooms.is_listed(room_id),
            state,
            messages,
            data,
        )
