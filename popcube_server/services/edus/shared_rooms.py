"""Whether users of another server concern anybody here."""

from federation.sending.ephemeral import SharingServers


class SharedRooms:
    def __init__(self, server_name: str, sharing: SharingServers) -> None:
        self._server_name = server_name
        self._sharing = sharing

    async def is_shared(self, user_id: str) -> bool:
        """Whether the user is in a room with users of this server."""
        return await self._sharing.is_shared(user_id, self._server_name)
