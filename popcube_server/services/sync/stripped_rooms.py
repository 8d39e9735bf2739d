"""`rooms.invite` and `rooms.knock`: rooms that the user is not in yet, by their stripped state."""

from collections.abc import Collection, Iterable, Sequence

import orjson

from federation.rooms.live_rooms import LiveRooms
from popcube_server.services.sync.sources import PersonalRules, StrippedStates
from popcube_server.services.sync.stripped_state import RoomStrippedState


class StrippedRooms:
    """Renders invites and knocks."""

    def __init__(
        self,
        rooms: LiveRooms,
        stripped: RoomStrippedState,
        received: StrippedStates,
        personal: PersonalRules,
    ) -> None:
        self._rooms = rooms
        self._stripped = stripped
        self._received = received
        self._personal = personal

    async def invites(self, user_id: str, room_ids: Sequence[str], ignored: Collection[str]) -> list[bytes]:
        """`"!room":{"invite_state":...}` for each invite that the user wants to see."""
        # "servers SHOULD also not send existing invites to that user down /sync" if the default action is to block.
        if not room_ids or await self._personal.blocks_invites(user_id):
            return []
        return await self._render(user_id, room_ids, b"invite_state", ignored)

    async def knocks(self, user_id: str, room_ids: Sequence[str]) -> list[bytes]:
        """`"!room":{"knock_state":...}` for each knock."""
        return await self._render(user_id, room_ids, b"knock_state", ())

    async def _render(
        self, user_id: str, room_ids: Iterable[str], name: bytes, ignored: Collection[str]
    ) -> list[bytes]:
        rendered = []
        for room_id in room_ids:
            entries = await self._entries(user_id, room_id)
            # Invites from ignored users are not to be sent.
            if ignored and _inviter(entries, user_id) in ignored:
                continue
            rendered.append(b'%b:{"%b":{"events":[%b]}}' % (orjson.dumps(room_id), name, b",".join(entries)))
        return rendered

    async def _entries(self, user_id: str, room_id: str) -> Sequence[bytes]:
        received = await self._received.find(user_id, room_id)
        if received is not None:
            return received
        room = (await self._rooms.get_many((room_id,))).get(room_id)
        return () if room is None else await self._stripped.of(room.committed, user_id)


def _inviter(entries: Iterable[bytes], user_id: str) -> str | None:
    for entry in map(orjson.loads, entries):
        if entry.get("type") == "m.room.member" and entry.get("state_key") == user_id:
            sender: str | None = entry.get("sender")
            return sender
    return None
