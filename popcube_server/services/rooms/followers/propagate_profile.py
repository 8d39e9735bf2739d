"""A new display name or avatar becomes visible in all rooms that the user is in.

Source: client-server API, "Events on Change of Profile Information".
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from federation.rooms.draft import Draft
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.send_event import StateMoved
from popcube_server.services.for_each import for_each
from popcube_server.services.rooms.append import RoomWriter
from popcube_server.services.rooms.followers.as_user import try_to
from popcube_server.services.rooms.followers.room_events import MEMBER
from popcube_server.services.rooms.membership_content import MemberProfiles
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.change import LogEntry
from storage.profiles import NameNewAccount

ROOMS_AT_ONCE: Final = 8
MAX_TRIES: Final = 5

_FIELDS: Final = ("displayname", "avatar_url")
# These belong to how the user came in, not to who the user is.
_ABOUT_JOINING: Final = ("join_authorised_via_users_server", "third_party_invite", "reason", "is_direct")


class PropagateProfile:
    """Sends member events with the profile as it is when they are sent: of many quick changes the newest one."""

    name = "profiles_in_rooms"

    def __init__(
        self,
        writer: RoomWriter,
        rooms: LiveRooms,
        events: EventStore,
        user_rooms: UserRooms,
        profiles: MemberProfiles,
    ) -> None:
        self._writer = writer
        self._rooms = rooms
        self._events = events
        self._user_rooms = user_rooms
        self._profiles = profiles

    def concerns(self, entry: LogEntry) -> bool:
        # Who has just got an account is in no room.
        is_new = isinstance(entry.change, NameNewAccount)
        return entry.kind == "profile" and entry.key[1] in _FIELDS and not is_new

    async def handle(self, entries: Sequence[LogEntry]) -> None:
        for user_id in dict.fromkeys(entry.key[0] for entry in entries):
            room_ids = await self._user_rooms.joined_rooms(user_id)
            await for_each(room_ids, ROOMS_AT_ONCE, partial(self._show, user_id))

    async def _show(self, user_id: str, room_id: str) -> None:
        await try_to(f"show the new profile of {user_id} in {room_id}", self._send(user_id, room_id))

    async def _send(self, user_id: str, room_id: str) -> None:
        for _ in range(MAX_TRIES):
            draft = await self._draft(user_id, room_id)
            if draft is None:
                return
            try:
                await self._writer.append(draft)
            except StateMoved:
                # The user left, or changed the profile in this room: never to be brought back in by an old thought.
                continue
            return

    async def _draft(self, user_id: str, room_id: str) -> Draft | None:
        fields = await self._profiles.member_fields(user_id)
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            return None
        event_id = room.state.find(MEMBER, user_id)
        if event_id is None or not room.state.is_joined(user_id):
            return None
        stored = await self._events.find(event_id)
        if stored is None:
            # Appended a moment ago and not yet on disk; it was made with the profile of that moment.
            pending = room.pending.get(event_id)
            present = {} if pending is None else pending.event.content
        else:
            present = stored.event.content
        content: dict[str, Any] = {
            key: value for key, value in present.items() if key not in _FIELDS and key not in _ABOUT_JOINING
        }
        content.update({**fields, "membership": "join"})
        return Draft(room_id, MEMBER, user_id, user_id, content, instead_of=event_id)
