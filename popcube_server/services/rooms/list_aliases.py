"""The aliases that this server has for a room. Source: client-server API, `/rooms/{roomId}/aliases`."""

from popcube_server.services.errors import NotAllowed
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.room_views import REFUSAL, RoomViews
from storage.database import Database
from storage.directory import DirectoryRepository


class ListAliases:
    def __init__(self, views: RoomViews, database: Database, repository: DirectoryRepository) -> None:
        self._views = views
        self._database = database
        self._repository = repository

    async def of(self, requester: Requester, room_id: str) -> list[str]:
        """Raises `NotAllowed` unless the user is in the room or anybody may look into it."""
        view = await self._views.of(requester.user_id, room_id)
        if not view.is_joined and not await self._views.is_world_readable(room_id):
            raise NotAllowed(REFUSAL)
        return await self._database.read(lambda tx: self._repository.get_aliases(tx, room_id))
