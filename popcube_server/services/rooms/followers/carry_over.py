"""Who follows into the replacement of an upgraded room finds there what they had set for the old one.

Source: client-server API, "Room upgrades": local user state such as tags and push rules is transferred.

Whoever makes a room may call any other its predecessor. It is believed once the old room says the same, by its
tombstone, which may be heard of after the join.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from federation.room_dag.identifiers import domain_of, is_room_id
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.push.push_rules import PushRules
from popcube_server.services.rooms.followers.room_events import MEMBER, get_events, is_event_of_type
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.account_data import NO_ROOM, AccountDataRepository, AccountDataRow, SetAccountData
from storage.change import Conflict, LogEntry
from storage.committer import Committer
from storage.database import Database

MAX_TRIES: Final = 10

_TAGS: Final = "m.tag"
_DIRECT: Final = "m.direct"
_TOMBSTONE: Final = "m.room.tombstone"
_WAS_THERE: Final = ("join", "leave")


class CarryOver:
    name = "upgraded_rooms_carry_over"

    def __init__(
        self,
        rooms: LiveRooms,
        events: EventStore,
        user_rooms: UserRooms,
        push_rules: PushRules,
        database: Database,
        committer: Committer,
        server_name: str,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._user_rooms = user_rooms
        self._push_rules = push_rules
        self._database = database
        self._committer = committer
        self._server_name = server_name
        self._account_data = AccountDataRepository()

    def concerns(self, entry: LogEntry) -> bool:
        if is_event_of_type(entry, _TOMBSTONE):
            return True
        if not is_event_of_type(entry, MEMBER):
            return False
        room = self._rooms.find(entry.key[0])
        # Most rooms replace no other: known at once if the room is in memory.
        if room is None:
            return True
        create = room.auth_events.get(room.committed.entries["m.room.create", ""])
        return create is None or _predecessor(create.content) is not None

    async def handle(self, entries: Sequence[LogEntry]) -> None:
        for stored in await get_events(entries, MEMBER, self._events):
            user_id = stored.event.state_key
            if user_id is None or domain_of(user_id) != self._server_name:
                continue
            if stored.event.membership == "join" and not await self._was_joined(stored):
                new_room_id = stored.event.room_id
                old_room_id = await self._find_predecessor(new_room_id)
                if old_room_id is not None and await self._find_replacement(old_room_id) == new_room_id:
                    await self._carry(user_id, old_room_id, new_room_id)
        for stored in await get_events(entries, _TOMBSTONE, self._events):
            await self._follow_tombstone(stored)

    async def _follow_tombstone(self, stored: StoredEvent) -> None:
        """Carry over for those who were in the new room before it was known that the old one agrees."""
        old_room_id, new_room_id = stored.event.room_id, _replacement(stored.event.content)
        before = None if stored.replaces is None else await self._events.find(stored.replaces)
        if new_room_id is None or (before is not None and _replacement(before.event.content) == new_room_id):
            # It says nothing new: what users have set since must stay.
            return
        if await self._find_replacement(old_room_id) != new_room_id:
            # Of another state key, or replaced itself.
            return
        if await self._find_predecessor(new_room_id) != old_room_id:
            return
        room = await self._rooms.get(new_room_id)
        for user_id in [*room.committed.joined_members()]:
            if domain_of(user_id) == self._server_name:
                await self._carry(user_id, old_room_id, new_room_id)

    async def _was_joined(self, stored: StoredEvent) -> bool:
        before = None if stored.replaces is None else await self._events.find(stored.replaces)
        return before is not None and before.event.membership == "join"

    async def _find_predecessor(self, room_id: str) -> str | None:
        content = await self._find_content(room_id, "m.room.create")
        return None if content is None else _predecessor(content)

    async def _find_replacement(self, room_id: str) -> str | None:
        content = await self._find_content(room_id, _TOMBSTONE)
        return None if content is None else _replacement(content)

    async def _find_content(self, room_id: str, event_type: str) -> Mapping[str, Any] | None:
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            return None
        event_id = room.committed.find(event_type)
        stored = None if event_id is None else await self._events.find(event_id)
        return None if stored is None else stored.event.content

    async def _carry(self, user_id: str, old_room_id: str, new_room_id: str) -> None:
        row = (await self._user_rooms.of_user(user_id)).get(old_room_id)
        if row is None or row.membership not in _WAS_THERE or old_room_id == new_room_id:
            return
        await self._carry_tags(user_id, old_room_id, new_room_id)
        await self._carry_direct(user_id, old_room_id, new_room_id)
        await self._push_rules.change(user_id, lambda rules: rules.moved_to_room(old_room_id, new_room_id))

    async def _carry_tags(self, user_id: str, old_room_id: str, new_room_id: str) -> None:
        old = await self._find(user_id, old_room_id, _TAGS)
        # Tags that the new room has already are newer.
        if old is None or await self._find(user_id, new_room_id, _TAGS) is not None:
            return
        try:
            await self._committer.commit(SetAccountData(user_id, new_room_id, _TAGS, old.content, based_on=0))
        except Conflict:
            return

    async def _carry_direct(self, user_id: str, old_room_id: str, new_room_id: str) -> None:
        for _ in range(MAX_TRIES):
            present = await self._find(user_id, NO_ROOM, _DIRECT)
            content = (
                None
                if present is None
                else _with_room(orjson.loads(present.content), old_room_id, new_room_id)
            )
            if present is None or content is None:
                return
            change = SetAccountData(
                user_id, NO_ROOM, _DIRECT, orjson.dumps(content), based_on=present.position
            )
            try:
                await self._committer.commit(change)
            except Conflict:
                # A client was quicker: what it wrote is what is to be changed now.
                continue
            return

    async def _find(self, user_id: str, room_id: str, event_type: str) -> AccountDataRow | None:
        return await self._database.read(lambda tx: self._account_data.find(tx, user_id, room_id, event_type))


def _predecessor(create_content: Mapping[str, Any]) -> str | None:
    predecessor = create_content.get("predecessor")
    room_id = predecessor.get("room_id") if isinstance(predecessor, dict) else None
    return room_id if isinstance(room_id, str) and is_room_id(room_id) else None


def _replacement(tombstone_content: Mapping[str, Any]) -> str | None:
    room_id = tombstone_content.get("replacement_room")
    return room_id if isinstance(room_id, str) and is_room_id(room_id) else None


def _with_room(direct: Any, old_room_id: str, new_room_id: str) -> dict[str, Any] | None:
    """`m.direct` with the new room wherever the old one is; None if nothing changes."""
    if not isinstance(direct, dict):
        return None
    changed = {
        user_id: [*room_ids, new_room_id]
        for user_id, room_ids in direct.items()
        if isinstance(room_ids, list) and old_room_id in room_ids and new_room_id not in room_ids
    }
    return {**direct, **changed} if changed else None
