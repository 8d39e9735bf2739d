"""Which rooms other servers may know of at all."""

from federation.rooms.live_rooms import LiveRooms, UnknownRoom


class RoomsForServers:
    def __init__(self, rooms: LiveRooms) -> None:
        self._rooms = rooms

    async def has(self, room_id: str) -> bool:
        """False for a room here that is only for users here."""
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            return True
        create = room.auth_events.get(room.committed.find("m.room.create") or "")
        # "Whether users on other servers can join this room. Defaults to `true` if key does not exist."
        return create is None or create.content.get("m.federate") is not False
