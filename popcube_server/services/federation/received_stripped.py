"""The stripped state of rooms that this server is not in, for /sync."""

from collections.abc import Sequence

from storage.database import Database
from storage.stripped_states import StrippedStatesRepository


class ReceivedStripped:
    """What came with invites, and in answer to knocks."""

    def __init__(self, database: Database, repository: StrippedStatesRepository) -> None:
        self._database = database
        self._repository = repository

    async def find(self, user_id: str, room_id: str) -> Sequence[bytes] | None:
        """JSON of the entries; None if none are kept."""
        row = await self._database.read(lambda tx: self._repository.find(tx, user_id, room_id))
        return None if row is None else row.entries
