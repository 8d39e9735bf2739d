"""Make a room: its first events in one commit, so that no half of a room is ever left behind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.event import EventTemplate, build_event
from federation.room_dag.room_versions import RoomRules
from federation.rooms.branch import NO_STATE
from federation.rooms.draft import Draft
from federation.rooms.event_store import EventStore
from federation.rooms.live_room import Facts, LiveRoom
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.outcomes import PushOutcome
from federation.rooms.reading import Reading
from federation.rooms.room_state import EMPTY_STATE
from federation.rooms.send_event import Author, SendEvent
from storage.change import Change
from storage.committer import Committer
from storage.rooms import AddRoom
from synapse_like_config.lazy_dataclasses import dataclass

ROOM_LOCALPART_LENGTH = 18

DraftsForRoom = Callable[[str], Sequence[tuple[str, str, Mapping[str, Any]]]]
"""Given the room's ID, the state events after the create event: type, state key, content."""


@dataclass(frozen=True, slots=True)
class NewRoom:
    """A room that is on disk."""

    room_id: str
    create_event_id: str
    position: int


class CreateRoom:
    """The only way in which rooms begin on this server."""

    def __init__(
        self,
        rooms: LiveRooms,
        events: EventStore,
        committer: Committer,
        send_event: SendEvent,
        author: Author,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._committer = committer
        self._send_event = send_event
        self._author = author
        self._last_ms = 0

    async def create(
        self,
        rules: RoomRules,
        creator: str,
        create_content: Mapping[str, Any],
        drafts: DraftsForRoom,
        others: Callable[[str], Sequence[Change]],
    ) -> NewRoom:
        """A new room with the creator's events, in order; `others(room_id)` are committed with them.

        Raises `NotAllowed`, `InvalidEvent` or `CommitFailed`, and then nothing was made.
        """
        self._committer.check_not_busy()
        localpart = self._author.random_letters(ROOM_LOCALPART_LENGTH)
        room_id = None if rules.room_id_is_create_hash else f"!{localpart}:{self._author.signer.server_name}"
        template = EventTemplate(
            type="m.room.create",
            sender=creator,
            room_id=room_id,
            state_key="",
            content=create_content,
            origin_server_ts=self._unique_ms(),
            depth=1,
            prev_events=(),
            auth_events=(),
        )
        placeholder = LiveRoom("", rules, (), NO_STATE, EMPTY_STATE)
        create = build_event(template, rules, self._author.signer, self._send_event.local_id(placeholder))
        check_event_auth(create, lambda pair: None)
        room = LiveRoom(create.room_id, rules, (), NO_STATE, EMPTY_STATE)
        changes: list[Change] = [AddRoom(room.room_id, rules.version)]
        changes.append(room.append(create, Facts(PushOutcome(0), None, None)))
        reading = Reading(self._events)
        for event_type, state_key, content in drafts(room.room_id):
            draft = Draft(room.room_id, event_type, creator, state_key, content)
            changes.append(self._send_event.append(room, reading, draft))
        changes.extend(others(room.room_id))
        # Known from now on: the log moves the room to its committed state like any other.
        self._rooms.add(room)
        committed = await self._send_event.finish(room, self._committer.submit(changes, room.fence))
        return NewRoom(room.room_id, create.event_id, committed.position)

    def _unique_ms(self) -> int:
        # The ID of a version 12 room is the hash of its create event: two that are alike must differ in their time.
        self._last_ms = max(self._last_ms + 1, self._author.now_ms())
        return self._last_ms
