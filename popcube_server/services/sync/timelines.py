"""The timeline part of a room: which events, and their bytes, made once for all who get the same."""

from collections.abc import Callable, Collection, Mapping, Sequence

from federation.rooms.event_store import live_ordering
from federation.rooms.history.room_holes import RoomHoles
from federation.rooms.room_state import RoomState
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.event_json import EventJson, EventVisibility, Surroundings
from popcube_server.services.rooms.event_memberships import EventMemberships
from popcube_server.services.rooms.sent_transactions import SentTransactions
from popcube_server.services.sync.changes import RoomChanges
from popcube_server.services.sync.places import Places
from popcube_server.services.sync.recent_events import RecentEvents
from popcube_server.services.sync.request import StateStyle, SyncRequest
from popcube_server.services.sync.state_choice import cut_contradictions
from storage.gaps import Hole
from synapse_like_config.lazy_dataclasses import dataclass

BEGINNING = -(2**62)
"""Before every event of every timeline."""
MAX_SCANNED = 500
"""How many events are looked at to find those that are wanted and visible."""
BATCH = 50
SHARED_SIZE = 2_000
SHARED_FOR_MS = 2_000
"""`age` in bytes that are used again may be this much too small."""


@dataclass(frozen=True, slots=True)
class RoomTask:
    """A room of which something is to be told, and what of it."""

    room_id: str
    state: RoomState
    """At the end of the timeline."""
    after: int | None
    """The position behind which the timeline begins; None: as long ago as the limit allows."""
    upto: int
    """The position at which it ends."""
    changes: RoomChanges | None
    """What changed in the state behind `after`; None: the whole state is wanted."""
    seen_after: int
    """The user was in the room for all events with an ordering above this."""
    is_present: bool = True
    """Whether the user is in the room at the end."""

    @property
    def lower(self) -> int:
        return BEGINNING if self.after is None else live_ordering(self.after)


@dataclass(frozen=True, slots=True)
class Timeline:
    events: Sequence[StoredEvent]
    is_limited: bool
    previous: int
    """Ordering: the place behind the events that were left out."""


class Timelines:
    """Chooses and renders timelines."""

    def __init__(
        self,
        recent: RecentEvents,
        event_json: EventJson,
        visibility: EventVisibility,
        memberships: EventMemberships,
        holes: RoomHoles,
        sent: SentTransactions,
        places: Places,
        now_ms: Callable[[], int],
    ) -> None:
        self._recent = recent
        self._event_json = event_json
        self._visibility = visibility
        self._memberships = memberships
        self._holes = holes
        self._sent = sent
        self._places = places
        self._now_ms = now_ms
        self._shared: BoundedCache[object, tuple[bytes, int]] = BoundedCache(SHARED_SIZE)

    async def prepare(self, tasks: Sequence[RoomTask]) -> None:
        """Read what many rooms need at once."""
        await self._recent.load([task.room_id for task in tasks])
        await self._holes.load([task.room_id for task in tasks])

    async def choose(self, request: SyncRequest, task: RoomTask, ignored: Collection[str]) -> Timeline:
        """The newest events of the task's stretch that are wanted, and that the user may see."""
        view = request.view
        upper = live_ordering(task.upto)
        lower, hole = await self._without_hole(task, upper)
        if not view.timeline.has_room(task.room_id):
            timeline = Timeline((), False, upper)
        elif view.timeline.matches is None and task.seen_after <= lower and not ignored:
            stretch = await self._recent.newest(task.room_id, lower, upper, view.timeline_limit)
            timeline = _timeline(stretch.events, not stretch.is_whole, upper)
        else:
            timeline = await self._search(request, task, lower, ignored)
        if hole is not None and not timeline.is_limited and view.timeline.has_room(task.room_id):
            # What others have of before can be asked for from here.
            timeline = Timeline(timeline.events, True, hole.place - 1)
        if request.state_style is not StateStyle.BEFORE:
            return timeline
        kept = cut_contradictions(timeline.events, task.state.entries)
        return timeline if len(kept) == len(timeline.events) else _timeline(kept, True, upper)

    async def _without_hole(self, task: RoomTask, upper: int) -> tuple[int, Hole | None]:
        """Where the timeline may begin, and the hole that is right before that, if it is one."""
        for hole in await self._holes.of(task.room_id):
            if task.lower < hole.place <= upper:
                return hole.place - 1, hole
        return task.lower, None

    async def _search(
        self, request: SyncRequest, task: RoomTask, lower: int, ignored: Collection[str]
    ) -> Timeline:
        limit = request.view.timeline_limit
        upper = live_ordering(task.upto)
        found: list[StoredEvent] = []
        scanned, is_whole, at = 0, False, upper
        # The first try is as small as it can be: mostly everything is wanted, and in memory.
        batch = limit + 1
        while len(found) <= limit and not is_whole and scanned < MAX_SCANNED:
            stretch = await self._recent.newest(task.room_id, lower, at, batch)
            batch = max(BATCH, limit + 1)
            is_whole = stretch.is_whole
            if not stretch.events:
                break
            scanned += len(stretch.events)
            at = stretch.events[0].ordering - 1
            wanted = request.view.timeline.select(
                [stored for stored in stretch.events if not _is_ignored(stored, ignored)]
            )
            seen = await self.visible(request.requester.user_id, wanted, task.seen_after)
            found = [*seen, *found]
            if not seen and wanted and at < task.seen_after:
                # Before their time, and nothing of it for their eyes: no use to look further.
                break
        is_limited = len(found) > limit or not is_whole
        return _timeline(found[-limit:] if limit else (), is_limited, upper)

    async def visible(
        self, user_id: str, events: Sequence[StoredEvent], seen_after: int
    ) -> Sequence[StoredEvent]:
        """Those that the user may see; no question for those after they came into the room."""
        doubtful = [stored for stored in events if stored.ordering <= seen_after]
        if not doubtful:
            return events
        seen = {stored.event.event_id for stored in await self._visibility.visible(user_id, doubtful)}
        return [
            stored
            for stored in events
            if stored.ordering > seen_after
            or stored.event.event_id in seen
            # Their own comings and goings are known to them.
            or (stored.event.type == "m.room.member" and stored.event.state_key == user_id)
        ]

    async def render(
        self, request: SyncRequest, task: RoomTask, timeline: Timeline, bundles: Mapping[str, bytes]
    ) -> bytes:
        """`"timeline":{...}`."""
        events = timeline.events
        if not events:
            return self._wrap((), timeline)
        reader = request.requester
        surroundings = await self._event_json.surroundings(events, reader.user_id, task.seen_after)
        if not task.is_present or events[0].ordering <= task.seen_after:
            return await self._render_personal(request, task, timeline, bundles, surroundings)
        is_mine = any(
            stored.event.sender == reader.user_id
            and self._sent.find(stored.event.event_id, reader.transaction_scope) is not None
            for stored in events
        )
        if is_mine or any(stored.event.event_id in bundles for stored in events):
            return self._render_one_by_one(request, timeline, bundles, surroundings, reader)
        # Everybody who was in the room all the time gets the same bytes.
        key = (
            tuple(stored.event.event_id for stored in events),
            any(stored.redacted_by is not None for stored in events)
            and tuple(stored.redacted_by for stored in events),
            timeline.is_limited,
            request.view.style,
            surroundings.hidden,
        )
        now_ms = self._now_ms()
        shared = self._shared.get(key)
        if shared is None or now_ms - shared[1] > SHARED_FOR_MS:
            shared = (self._render_one_by_one(request, timeline, {}, surroundings, None), now_ms)
            self._shared.put(key, shared)
        return shared[0]

    def _render_one_by_one(
        self,
        request: SyncRequest,
        timeline: Timeline,
        bundles: Mapping[str, bytes],
        surroundings: Surroundings,
        reader: Requester | None,
    ) -> bytes:
        style = request.view.style
        return self._wrap(
            [
                self._event_json.one(
                    stored, surroundings, "join", reader, bundles.get(stored.event.event_id), style
                )
                for stored in timeline.events
            ],
            timeline,
        )

    async def _render_personal(
        self,
        request: SyncRequest,
        task: RoomTask,
        timeline: Timeline,
        bundles: Mapping[str, bytes],
        surroundings: Surroundings,
    ) -> bytes:
        reader = request.requester
        memberships = await self._memberships.of(reader.user_id, timeline.events)
        return self._wrap(
            [
                self._event_json.one(
                    stored,
                    surroundings,
                    memberships[stored.event.event_id],
                    reader,
                    bundles.get(stored.event.event_id),
                    request.view.style,
                )
                for stored in timeline.events
            ],
            timeline,
        )

    def _wrap(self, events: Sequence[bytes], timeline: Timeline) -> bytes:
        return b'"timeline":{"events":[%b],"limited":%b,"prev_batch":"%b"}' % (
            b",".join(events),
            b"true" if timeline.is_limited else b"false",
            str(self._places.token(timeline.previous)).encode(),
        )


def _timeline(events: Sequence[StoredEvent], is_limited: bool, upper: int) -> Timeline:
    previous = events[0].ordering - 1 if events else upper
    return Timeline(events, is_limited, previous)


def _is_ignored(stored: StoredEvent, ignored: Collection[str]) -> bool:
    # "the server MUST NOT send" what ignored users say; "State events will still be sent".
    return stored.event.sender in ignored and stored.event.state_key is None
