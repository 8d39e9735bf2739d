"""The parts of `rooms.join` and `rooms.leave`: timeline, state, summary, and what belongs to the user."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field

import orjson

from federation.rooms.event_store import EventStore
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.rooms.event_json import Aggregations, EventJson
from popcube_server.services.sync.heroes import Heroes
from popcube_server.services.sync.lazy_members import SentMembers
from popcube_server.services.sync.request import StateStyle, SyncRequest
from popcube_server.services.sync.shared_sections import SharedSections
from popcube_server.services.sync.sources import DataEntry, RoomCounts
from popcube_server.services.sync.state_choice import (
    MEMBER,
    StatePair,
    TimelineState,
    delta_after,
    delta_before,
    full_after,
    full_before,
    members_of,
    read_timeline,
    without_members,
)
from popcube_server.services.sync.timelines import RoomTask, Timeline, Timelines
from synapse_like_config.lazy_dataclasses import dataclass

ROOMS_AT_ONCE = 50
"""Read and rendered together: bounds what is in memory at a time."""


@dataclass(frozen=True, slots=True)
class RoomExtras:
    """What else there is to say of rooms, by room ID."""

    ephemeral: Mapping[str, Sequence[DataEntry]] = field(default_factory=dict)
    account_data: Mapping[str, Sequence[DataEntry]] = field(default_factory=dict)
    unread: Mapping[str, RoomCounts] = field(default_factory=dict)
    updated: Collection[str] = frozenset()
    """Rooms of which the unread counts may have changed."""

    def has_only_counts(self, room_id: str) -> bool:
        """Whether there is nothing else to tell of a room beside its unread counts."""
        return room_id not in self.ephemeral and room_id not in self.account_data


@dataclass(frozen=True, slots=True)
class Span:
    """From which position to which the whole answer goes; `since` is None for a first sync."""

    since: int | None
    upto: int


@dataclass(slots=True)
class _Draft:
    task: RoomTask
    timeline: Timeline
    state: dict[StatePair, str]
    heroes: Sequence[str] | None
    has_summary: bool


class RoomSections:
    """Makes the parts of rooms."""

    def __init__(
        self,
        timelines: Timelines,
        events: EventStore,
        event_json: EventJson,
        aggregations: Aggregations,
        heroes: Heroes,
        sent_members: SentMembers,
        shared: SharedSections,
    ) -> None:
        self._timelines = timelines
        self._events = events
        self._event_json = event_json
        self._aggregations = aggregations
        self._heroes = heroes
        self._sent_members = sent_members
        self._shared = shared

    async def render(
        self,
        request: SyncRequest,
        span: Span,
        tasks: Sequence[RoomTask],
        extras: RoomExtras,
        ignored: Collection[str],
    ) -> list[bytes]:
        """`"!room":{...}` for each room of which there is something to tell."""
        rendered: list[bytes] = []
        alone: list[RoomTask] = []
        for task in tasks:
            begin = None
            if extras.has_only_counts(task.room_id):
                begin = self._shared.find(request, task, ignored)
            if begin is None:
                alone.append(task)
            else:
                rendered.append(_with_counts(request, task, extras, begin))
        for start in range(0, len(alone), ROOMS_AT_ONCE):
            chunk = alone[start : start + ROOMS_AT_ONCE]
            rendered.extend(await self._render_chunk(request, span, chunk, extras, ignored))
        return rendered

    async def _render_chunk(
        self,
        request: SyncRequest,
        span: Span,
        tasks: Sequence[RoomTask],
        extras: RoomExtras,
        ignored: Collection[str],
    ) -> list[bytes]:
        if any(task.after is None for task in tasks):
            await self._timelines.prepare(tasks)
        await self._heroes.prepare(task.state for task in tasks if _has_summary(task))
        drafts = [await self._draft(request, span, task, ignored) for task in tasks]
        bundles = await self._bundles(request, drafts)
        wanted = [event_id for draft in drafts for event_id in draft.state.values()]
        events = await self._events.get_many(wanted) if wanted else {}
        rendered = []
        for draft in drafts:
            state = [events[event_id] for event_id in draft.state.values() if event_id in events]
            selection = request.view.state
            state = selection.select(state) if selection.has_room(draft.task.room_id) else []
            if self._has_news(draft, state, extras):
                begin = await self._render_room(request, draft, state, extras, bundles)
                if extras.has_only_counts(draft.task.room_id):
                    self._shared.keep(request, draft.task, ignored, draft.timeline, begin)
                rendered.append(_with_counts(request, draft.task, extras, begin))
                if request.view.is_lazy:
                    self._record(request, span, draft, state)
        return rendered

    async def _draft(
        self, request: SyncRequest, span: Span, task: RoomTask, ignored: Collection[str]
    ) -> _Draft:
        timeline = await self._timelines.choose(request, task, ignored)
        has_summary = _has_summary(task)
        heroes = None
        if has_summary:
            heroes = await self._heroes.of(task.room_id, task.state, request.requester.user_id)
        state = self._choose_state(request, span, task, timeline, heroes or ())
        return _Draft(task, timeline, state, heroes, has_summary)

    def _choose_state(
        self,
        request: SyncRequest,
        span: Span,
        task: RoomTask,
        timeline: Timeline,
        heroes: Sequence[str],
    ) -> dict[StatePair, str]:
        if task.changes is not None and not task.changes.pairs and not request.view.is_lazy:
            return {}
        final = task.state.entries
        shown = read_timeline(timeline.events)
        is_after = request.state_style is not StateStyle.BEFORE
        if task.changes is None:
            chosen = (full_after if is_after else full_before)(final, shown)
        else:
            chosen = (delta_after if is_after else delta_before)(final, shown, task.changes.pairs)
        if request.view.is_lazy:
            return self._with_lazy_members(request, span, task, timeline, shown, chosen, heroes)
        return chosen

    def _with_lazy_members(
        self,
        request: SyncRequest,
        span: Span,
        task: RoomTask,
        timeline: Timeline,
        shown: TimelineState,
        chosen: dict[StatePair, str],
        heroes: Sequence[str],
    ) -> dict[StatePair, str]:
        is_after = request.state_style is not StateStyle.BEFORE
        users = {stored.event.sender for stored in timeline.events}
        # "the membership events for the heroes MUST be included in the `state`, unless they are redundant"
        users.update(heroes)
        me = request.requester.user_id
        if task.changes is None:
            # "servers MUST include the syncing user's own membership event when they join a room, or when the full
            # state of rooms is requested"
            users.add(me)
            needed = members_of(users, task.state.entries, shown, is_after)
            return {**without_members(chosen), **needed}
        needed = members_of(users, task.state.entries, shown, is_after)
        if span.since is not None and not request.view.has_redundant_members:
            requester = request.requester
            known = self._sent_members.redundant(me, requester.device_id, task.room_id, span.since, needed)
            needed = {pair: event_id for pair, event_id in needed.items() if pair not in known}
        # "the server MUST return membership events for events in the gap ... regardless as to whether or not they are
        # redundant": those are in `chosen`.
        return {**needed, **chosen}

    def _record(self, request: SyncRequest, span: Span, draft: _Draft, state: Sequence[StoredEvent]) -> None:
        members = [
            (stored.event.state_key, stored.event.event_id)
            for stored in (*state, *draft.timeline.events)
            if stored.event.type == MEMBER and stored.event.state_key is not None
        ]
        if members:
            requester = request.requester
            self._sent_members.record(
                requester.user_id, requester.device_id, draft.task.room_id, span.upto, members
            )

    async def _bundles(self, request: SyncRequest, drafts: Sequence[_Draft]) -> Mapping[str, bytes]:
        # "GET /sync when the relevant section has a `limited` value of `true`": otherwise the client has seen, or
        # sees now, the children themselves.
        events = [
            stored
            for draft in drafts
            if draft.timeline.is_limited
            for stored in draft.timeline.events
            if stored.event.state_key is None
        ]
        if not events:
            return {}
        return await self._aggregations.bundled(events, request.requester.user_id)

    def _has_news(self, draft: _Draft, state: Sequence[StoredEvent], extras: RoomExtras) -> bool:
        room_id = draft.task.room_id
        return bool(
            draft.task.changes is None
            or draft.timeline.events
            or draft.timeline.is_limited
            or state
            or draft.has_summary
            or room_id in extras.ephemeral
            or room_id in extras.account_data
            or room_id in extras.updated
        )

    async def _render_room(
        self,
        request: SyncRequest,
        draft: _Draft,
        state: Sequence[StoredEvent],
        extras: RoomExtras,
        bundles: Mapping[str, bytes],
    ) -> bytes:
        """`"!room":{...` up to the unread counts."""
        task = draft.task
        parts = [await self._timelines.render(request, task, draft.timeline, bundles)]
        parts.append(await self._render_state(request, task, state))
        parts.append(render_entries(b"account_data", extras.account_data.get(task.room_id, ())))
        if task.is_present:
            parts.append(render_entries(b"ephemeral", extras.ephemeral.get(task.room_id, ())))
            parts.append(_summary(draft))
        return orjson.dumps(task.room_id) + b":{" + b",".join(parts)

    async def _render_state(
        self, request: SyncRequest, task: RoomTask, state: Sequence[StoredEvent]
    ) -> bytes:
        style = request.view.style
        if not state:
            rendered: list[bytes] = []
        elif task.changes is None:
            rendered = self._event_json.state(state, style)
        else:
            surroundings = await self._event_json.surroundings(
                state, request.requester.user_id, task.seen_after
            )
            rendered = [
                self._event_json.one(stored, surroundings, None, None, None, style) for stored in state
            ]
        return b'"%b":{"events":[%b]}' % (request.state_style.value, b",".join(rendered))


def render_entries(name: bytes, entries: Sequence[DataEntry]) -> bytes:
    """`"name":{"events":[...]}` of events that have only a type and a content."""
    return b'"%b":{"events":[%b]}' % (name, b",".join(map(render_entry, entries)))


def render_entry(entry: DataEntry) -> bytes:
    return b'{"type":%b,"content":%b}' % (orjson.dumps(entry.type), entry.content)


def _with_counts(request: SyncRequest, task: RoomTask, extras: RoomExtras, begin: bytes) -> bytes:
    counts = extras.unread.get(task.room_id) if task.is_present else None
    if counts is None:
        return begin + b"}"
    return begin + b"," + _unread(counts, request.view.has_threads) + b"}"


def _has_summary(task: RoomTask) -> bool:
    return task.is_present and (task.changes is None or task.changes.has_member_changes)


def _summary(draft: _Draft) -> bytes:
    if not draft.has_summary:
        return b'"summary":{}'
    state = draft.task.state
    heroes = b"" if draft.heroes is None else b'"m.heroes":' + orjson.dumps(draft.heroes) + b","
    return b'"summary":{%b"m.joined_member_count":%d,"m.invited_member_count":%d}' % (
        heroes,
        state.joined_count,
        state.invited_count,
    )


def _unread(counts: RoomCounts, has_threads: bool) -> bytes:
    notifications, highlights = counts.main.notifications, counts.main.highlights
    threads = counts.threads
    if not has_threads:
        # Who does not ask for threads gets "all events in the room" in one number.
        notifications += sum(thread.notifications for thread in threads.values())
        highlights += sum(thread.highlights for thread in threads.values())
    text = b'"unread_notifications":{"highlight_count":%d,"notification_count":%d}' % (
        highlights,
        notifications,
    )
    if not has_threads or not threads:
        return text
    by_root = {
        root: {"highlight_count": thread.highlights, "notification_count": thread.notifications}
        for root, thread in threads.items()
    }
    return text + b',"unread_thread_notifications":' + orjson.dumps(by_root)
