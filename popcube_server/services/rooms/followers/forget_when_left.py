"""Rooms that users left are forgotten at once, if the configuration wants that (`forget_rooms_on_leave`).

Source: client-server API, `m.forget_forced_upon_leave`. Being kicked and being banned count as leaving.
"""

from collections.abc import Sequence
from typing import Final

from federation.room_dag.identifiers import domain_of
from federation.rooms.event_store import EventStore
from popcube_server.services.rooms.followers.room_events import MEMBER, get_events, is_event_of_type
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.change import LogEntry
from storage.committer import Committer
from storage.memberships import ForgetRoom

_GONE: Final = ("leave", "ban")


class ForgetWhenLeft:
    name = "left_rooms_are_forgotten"

    def __init__(
        self, events: EventStore, user_rooms: UserRooms, committer: Committer, server_name: str
    ) -> None:
        self._events = events
        self._user_rooms = user_rooms
        self._committer = committer
        self._server_name = server_name

    def concerns(self, entry: LogEntry) -> bool:
        return is_event_of_type(entry, MEMBER)

    async def handle(self, entries: Sequence[LogEntry]) -> None:
        for stored in await get_events(entries, MEMBER, self._events):
            user_id, room_id = stored.event.state_key, stored.event.room_id
            if user_id is None or stored.event.membership not in _GONE or not self._is_local(user_id):
                continue
            row = (await self._user_rooms.of_user(user_id)).get(room_id)
            # What holds now counts: the user may be back.
            if row is not None and row.membership in _GONE and not row.forgotten:
                await self._committer.commit(ForgetRoom(user_id, room_id))

    def _is_local(self, user_id: str) -> bool:
        return domain_of(user_id) == self._server_name
