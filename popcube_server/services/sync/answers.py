"""One answer to a sync: everything between two positions of the log, as bytes.

All parts are as of the position at which the answer ends, which is taken in one breath with the user's memberships
and the states of their rooms. What happens while the parts are read belongs to the next answer.
"""

from collections.abc import Collection, Mapping, Sequence

import orjson

from popcube_server.services.rooms.user_rooms import UserRooms
from popcube_server.services.sync.changes import Changes, find_changes
from popcube_server.services.sync.places import Places
from popcube_server.services.sync.request import DataSelection, SyncRequest
from popcube_server.services.sync.room_sections import RoomExtras, RoomSections, Span, render_entry
from popcube_server.services.sync.room_states import RoomStates
from popcube_server.services.sync.room_tasks import RoomPlan, RoomTasks, plan_rooms
from popcube_server.services.sync.sources import (
    DataEntry,
    DeviceListSource,
    EphemeralSource,
    KeyCountsSource,
    PersonalRules,
    PresenceSource,
    ToDeviceSource,
    UnreadSource,
    UserData,
    UserDataSource,
)
from popcube_server.services.sync.stripped_rooms import StrippedRooms
from popcube_server.services.sync.timelines import RoomTask
from storage.log import Log
from storage.memberships import MembershipRow
from synapse_like_config.lazy_dataclasses import dataclass

TO_DEVICE_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the parts that are no room events come from."""

    user_data: UserDataSource
    receipts: EphemeralSource
    typing: EphemeralSource
    presence: PresenceSource
    to_device: ToDeviceSource
    device_lists: DeviceListSource
    key_counts: KeyCountsSource
    unread: UnreadSource
    personal: PersonalRules


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client is told."""

    body: bytes | None
    """None: there is nothing new. The search may go on from `upto`, or `Answers.nothing` say so."""
    upto: int


@dataclass(frozen=True, slots=True)
class _Rooms:
    join: Sequence[bytes] = ()
    leave: Sequence[bytes] = ()
    invite: Sequence[bytes] = ()
    knock: Sequence[bytes] = ()


class Answers:
    """Puts answers together."""

    def __init__(
        self,
        log: Log,
        user_rooms: UserRooms,
        states: RoomStates,
        tasks: RoomTasks,
        sections: RoomSections,
        stripped: StrippedRooms,
        sources: Sources,
        places: Places,
        excluded_rooms: Collection[str],
    ) -> None:
        self._log = log
        self._user_rooms = user_rooms
        self._states = states
        self._tasks = tasks
        self._sections = sections
        self._stripped = stripped
        self._sources = sources
        self._places = places
        self._excluded_rooms = frozenset(excluded_rooms)

    async def make(self, request: SyncRequest, since: int | None, to_device_since: int) -> Answer:
        """What happened after `since` (None: everything from the beginning)."""
        is_lagging = to_device_since < (since or 0)
        if since == self._log.position and not request.is_full_state and not is_lagging:
            # So begins every wait.
            return Answer(None, since)
        requester = request.requester
        user_id = requester.user_id
        rooms = self._user_rooms.find_cached(user_id)
        if rooms is None:
            rooms = await self._user_rooms.of_user(user_id)
        # From here to the end of `_plan` nothing waits.
        upto = self._log.position
        entries = None if since is None else self._log.since(since)
        changes = find_changes(entries, user_id, requester.device_id, rooms)
        if changes.is_nothing and not request.is_full_state and not is_lagging:
            return Answer(None, upto)
        plan = self._plan(request, rooms, changes, since)
        return await self._make(request, Span(since, upto), to_device_since, changes, plan)

    async def nothing(self, request: SyncRequest, upto: int) -> bytes:
        """The JSON for who knows everything up to a position."""
        return await self._body(request, upto, None, [])

    def _plan(
        self,
        request: SyncRequest,
        rooms: Mapping[str, MembershipRow],
        changes: Changes,
        since: int | None,
    ) -> RoomPlan:
        view = request.view
        if view.is_room_wanted is not None or self._excluded_rooms:
            rooms = {room_id: row for room_id, row in rooms.items() if self._has_room(request, room_id)}
        plan = plan_rooms(rooms, changes, since, view.has_left_rooms, request.is_full_state)
        for room_id in plan.joined:
            state = self._states.find_present(room_id)
            if state is not None:
                plan.states[room_id] = state
        return plan

    def _has_room(self, request: SyncRequest, room_id: str) -> bool:
        return request.view.has_room(room_id) and room_id not in self._excluded_rooms

    async def _make(
        self,
        request: SyncRequest,
        span: Span,
        to_device_since: int,
        changes: Changes,
        plan: RoomPlan,
    ) -> Answer:
        parts: list[bytes] = []
        user_id = request.requester.user_id
        joined = await self._tasks.of_joined(
            user_id, plan, changes, span.since, span.upto, request.is_full_state
        )
        data = await self._user_data(user_id, span, changes)
        rooms = await self._rooms(request, span, changes, plan, joined, data)
        _add_rooms(parts, rooms)
        _add_entries(parts, b"account_data", data.everywhere, request.view.account_data)
        presence = await self._presence(request, span, changes)
        if presence:
            parts.append(b'"presence":{"events":[%b]}' % b",".join(presence))
        await self._add_device_lists(parts, user_id, span, changes)
        to_device = await self._add_to_device(parts, request, span, to_device_since)
        if not parts and not changes.may_have("one_time_keys"):
            return Answer(None, span.upto)
        return Answer(await self._body(request, span.upto, to_device, parts), span.upto)

    async def _body(
        self, request: SyncRequest, upto: int, to_device: int | None, parts: Sequence[bytes]
    ) -> bytes:
        requester = request.requester
        counts = await self._sources.key_counts.of(requester.user_id, requester.device_id)
        token = str(self._places.sync_token(upto, to_device)).encode()
        # A count of 0 is said outright: it is what makes a client upload new keys.
        one_time = {"signed_curve25519": 0, **counts.one_time}
        return (
            b'{"next_batch":"%b","device_one_time_keys_count":%b,"device_unused_fallback_key_types":%b%b%b}'
            % (
                token,
                orjson.dumps(one_time),
                orjson.dumps(list(counts.unused_fallback_types)),
                b"," if parts else b"",
                b",".join(parts),
            )
        )

    async def _user_data(self, user_id: str, span: Span, changes: Changes) -> UserData:
        if span.since is not None and not changes.may_have("account_data", "push_rules"):
            return UserData()
        return await self._sources.user_data.between(user_id, span.since, span.upto)

    async def _rooms(
        self,
        request: SyncRequest,
        span: Span,
        changes: Changes,
        plan: RoomPlan,
        joined: list[RoomTask],
        data: UserData,
    ) -> _Rooms:
        user_id = request.requester.user_id
        if not (joined or plan.left or plan.invited or plan.knocked or data.rooms):
            return _Rooms()
        ignored = await self._sources.personal.ignored(user_id)
        joined = await self._add_rooms_with_data(request, joined, span, data)
        extras = await self._extras(request, span, changes, joined, data)
        join = await self._sections.render(request, span, joined, extras, ignored)
        leave: Sequence[bytes] = ()
        if plan.left:
            left = await self._tasks.of_left(user_id, plan, changes, span.since, span.upto)
            leave = await self._sections.render(request, span, left, RoomExtras(), ignored)
        invite = await self._stripped.invites(user_id, plan.invited, ignored)
        knock = await self._stripped.knocks(user_id, plan.knocked)
        return _Rooms(join, leave, invite, knock)

    async def _add_rooms_with_data(
        self, request: SyncRequest, joined: list[RoomTask], span: Span, data: UserData
    ) -> list[RoomTask]:
        """Rooms in which nothing happened, but of which the user has new account data."""
        known = {task.room_id for task in joined}
        missing = [
            room_id for room_id in data.rooms if room_id not in known and self._has_room(request, room_id)
        ]
        if not missing or span.since is None:
            return joined
        user_id = request.requester.user_id
        rooms = await self._user_rooms.of_user(user_id)
        quiet = {
            room_id: rooms[room_id]
            for room_id in missing
            if room_id in rooms
            and rooms[room_id].membership == "join"
            and rooms[room_id].position <= span.since
        }
        nothing = Changes(is_known=True)
        more = await self._tasks.of_joined(
            user_id, RoomPlan(quiet, {}, (), ()), nothing, span.since, span.upto, False
        )
        return [*joined, *more]

    async def _extras(
        self, request: SyncRequest, span: Span, changes: Changes, tasks: Sequence[RoomTask], data: UserData
    ) -> RoomExtras:
        user_id = request.requester.user_id
        view = request.view
        new = [task.room_id for task in tasks if task.changes is None and not _is_old(request, task, span)]
        known = set(new)
        old = [task.room_id for task in tasks if task.room_id not in known]
        entries = {room_id: list(found) for room_id, found in data.rooms.items()}
        if new and span.since is not None:
            of_new = await self._sources.user_data.of_rooms(user_id, new)
            entries.update((room_id, list(found)) for room_id, found in of_new.items())
        ephemeral: dict[str, list[DataEntry]] = {}
        for source, event_type, field in (
            (self._sources.receipts, "m.receipt", "has_receipts"),
            (self._sources.typing, "m.typing", "has_typing"),
        ):
            if not view.ephemeral.wants_type(event_type):
                continue
            moved = [
                room_id
                for room_id in old
                if not changes.is_known
                or (room_id in changes.rooms and getattr(changes.rooms[room_id], field))
            ]
            for ids, since in ((new, None), (moved, span.since)):
                wanted = [room_id for room_id in ids if view.ephemeral.has_room(room_id)]
                if wanted:
                    found = await source.between(user_id, wanted, since, span.upto)
                    for room_id, entry in found.items():
                        ephemeral.setdefault(room_id, []).append(entry)
        unread = await self._sources.unread.counts(user_id, [task.room_id for task in tasks]) if tasks else {}
        updated = {room_id for room_id, room in changes.rooms.items() if room.has_own_receipts}
        return RoomExtras(ephemeral, _select_rooms(entries, view.room_account_data), unread, updated)

    async def _presence(self, request: SyncRequest, span: Span, changes: Changes) -> list[bytes]:
        selection = request.view.presence
        if span.since is not None and changes.is_known and not changes.presence_users:
            return []
        if not selection.wants_type("m.presence"):
            return []
        found = await self._sources.presence.between(request.requester.user_id, span.since, span.upto)
        return [
            b'{"type":"m.presence","sender":%b,"content":%b}' % (orjson.dumps(sender), content)
            for sender, content in found
            if selection.wants_sender(sender)
        ]

    async def _add_device_lists(self, parts: list[bytes], user_id: str, span: Span, changes: Changes) -> None:
        if span.since is None:
            return
        is_moved = not changes.is_known or changes.device_list_users
        if not is_moved and not any(room.has_member_changes for room in changes.rooms.values()):
            return
        delta = await self._sources.device_lists.between(user_id, span.since, span.upto)
        if delta.changed or delta.left:
            parts.append(
                b'"device_lists":'
                + orjson.dumps({"changed": sorted(delta.changed), "left": sorted(delta.left)})
            )

    async def _add_to_device(
        self, parts: list[bytes], request: SyncRequest, span: Span, since: int
    ) -> int | None:
        """The position of the last message if more of them wait."""
        requester = request.requester
        messages = await self._sources.to_device.after(
            requester.user_id, requester.device_id, since, span.upto, TO_DEVICE_LIMIT
        )
        if not messages:
            return None
        parts.append(b'"to_device":{"events":[%b]}' % b",".join(event for _, event in messages))
        last = messages[-1][0]
        return last if len(messages) == TO_DEVICE_LIMIT and last < span.upto else None


def _is_old(request: SyncRequest, task: RoomTask, span: Span) -> bool:
    """A room that the client knows, shown whole only because it asked for `full_state`."""
    return request.is_full_state and span.since is not None and task.after == span.since


def _select_rooms(
    entries: Mapping[str, Sequence[DataEntry]], selection: DataSelection
) -> dict[str, list[DataEntry]]:
    selected = {
        room_id: [entry for entry in found if selection.wants_type(entry.type)]
        for room_id, found in entries.items()
        if selection.has_room(room_id)
    }
    return {room_id: found for room_id, found in selected.items() if found}


def _add_entries(
    parts: list[bytes], name: bytes, entries: Sequence[DataEntry], selection: DataSelection
) -> None:
    wanted = [render_entry(entry) for entry in entries if selection.wants_type(entry.type)]
    if wanted:
        parts.append(b'"%b":{"events":[%b]}' % (name, b",".join(wanted)))


def _add_rooms(parts: list[bytes], rooms: _Rooms) -> None:
    sections = [
        b'"%b":{%b}' % (name, b",".join(found))
        for name, found in (
            (b"join", rooms.join),
            (b"invite", rooms.invite),
            (b"knock", rooms.knock),
            (b"leave", rooms.leave),
        )
        if found
    ]
    if sections:
        parts.append(b'"rooms":{%b}' % b",".join(sections))
