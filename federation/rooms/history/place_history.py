"""Give fetched history its place in a room: in the timeline, with the state after each event.

Source: server-server API, "Backfilling and retrieving missing events", "Checks performed on receipt of a PDU". History
is judged by its auth events and by the state before it, as everything; it is not judged by the room's present state, is
no news to anybody and moves no head.
"""

import logging
from collections.abc import Mapping, Sequence

from federation.room_dag.event import Event
from federation.room_dag.room_versions import RoomRules
from federation.rooms.event_store import EventStore
from federation.rooms.history.judge_history import Found, JudgeHistory, find_bottoms
from federation.rooms.history.order_page import OrderedPage, depth_at_most, order_page
from federation.rooms.history.patience import Patience
from federation.rooms.history.room_holes import RoomHoles
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.receiving.fetch_missing import FetchMissing
from federation.rooms.receiving.keep_outliers import KeepOutliers
from federation.rooms.receiving.remote import MAX_BACKFILL
from federation.rooms.relation import find_relation
from federation.rooms.room_state import StatePair
from federation.rooms.stored_event import StoredEvent
from storage.change import Change
from storage.committer import Committer
from storage.database import Database
from storage.events import ORDERING_STEP, OUTLIER, StoreEvent
from storage.gaps import AddGap, CloseGap, GapsRepository, Hole
from storage.waiting_redactions import AwaitRedacted
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

MAX_BOTTOMS = 20
"""So many events of one page may lead down to what is not here yet; the state before each is asked for."""
MAX_AUTH_REQUESTS = 10
STATE_TIMEOUT_S = 60.0
MAX_HOLES = 50
EVENTS_PER_DEPTH = 4
MIN_BETWEEN = 1_000
"""How much place is left between history that was asked for by itself and what lies above it."""
MAX_DEPTHS = 20_000


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What is known around a hole before something is put into it."""

    children: Sequence[StoredEvent]
    """The events above the hole that lead into it."""
    above: Sequence[StoredEvent]
    """Those of them that lead to what is to be placed."""
    here: frozenset[str]
    """Of the events that are named, those that have their place already."""
    page: OrderedPage


class PlaceHistory:
    """Puts what another server gave into one hole of a room."""

    def __init__(
        self,
        rooms: LiveRooms,
        events: EventStore,
        holes: RoomHoles,
        fetch: FetchMissing,
        keep: KeepOutliers,
        judge: JudgeHistory,
        patience: Patience,
        database: Database,
        committer: Committer,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._holes = holes
        self._fetch = fetch
        self._keep = keep
        self._judge = judge
        self._patience = patience
        self._database = database
        self._committer = committer
        self._gaps = GapsRepository()
        self._known_depths: dict[str, int] = {}
        """Of missing events that were seen once, before their turn came."""

    async def missing(self, hole: Hole) -> list[str]:
        """The IDs of the events right below a hole's gaps that are to be asked for next; none if all are here."""
        children = (await self._events.get_many(hole.gaps)).values()
        depths: dict[str, int] = {}
        for child in children:
            for prev in child.event.prev_events:
                depths[prev] = max(depths.get(prev, 0), depth_at_most(child.event, prev, self._known_depths))
        stored = await self._events.get_many(depths)
        missing = [event_id for event_id in depths if not _is_placed(stored.get(event_id))]
        # What lies far below the others has to wait for them.
        lowest = max((depths[event_id] for event_id in missing), default=0) - MAX_BACKFILL
        wanted = [event_id for event_id in missing if depths[event_id] >= lowest]
        # The deepest first: an answer may be too short for all.
        return sorted(wanted, key=lambda event_id: -depths[event_id])

    async def place(
        self, destination: str, rules: RoomRules, room_id: str, hole: Hole, given: Mapping[str, Event]
    ) -> bool:
        """Whether the hole is another one now. What was given was checked by itself; what else is needed is fetched
        from `destination`.

        Raises `FederationError`, `StateUnavailable`, `CommitFailed`.
        """
        around = await self._look_around(room_id, hole, given, None)
        page = around.page
        if not page.events and not page.elsewhere:
            return self._learn(page)
        if not page.events:
            return await self._commit(room_id, hole, hole.place, around, [])
        is_other = await self._put(destination, rules, room_id, hole, hole.place, around)
        return self._learn(page) or is_other

    async def place_apart(
        self, destination: str, rules: RoomRules, event: Event, given: Mapping[str, Event]
    ) -> bool:
        """Put an event, and what of the given leads down from it, amidst a hole, which becomes two.

        Raises as `place`.
        """
        room_id = event.room_id
        holes = await self._holes.of(room_id)
        depths = await self._depths(room_id, holes)
        hole = min(
            (hole for hole in holes if event.depth < depths.get(hole.place, 0)),
            key=lambda hole: hole.place,
            default=None,
        )
        if hole is None:
            return False
        floor = await self._database.read(lambda tx: self._gaps.find_floor(tx, room_id, hole.place))
        between = EVENTS_PER_DEPTH * (depths[hole.place] - event.depth) + MIN_BETWEEN
        if floor is not None:
            between = min(between, (hole.place - floor) // 2)
        around = await self._look_around(room_id, hole, given, event.event_id)
        if not around.page.events:
            return False
        return await self._put(destination, rules, room_id, hole, hole.place - between, around)

    async def _put(
        self,
        destination: str,
        rules: RoomRules,
        room_id: str,
        hole: Hole,
        place: int,
        around: _Surroundings,
    ) -> bool:
        page = around.page
        bottoms = find_bottoms(page.events, around.here)
        if len(bottoms) > MAX_BOTTOMS:
            logger.info("%s gave history of %s in too many pieces", destination, room_id)
            return False
        states: dict[str, Mapping[StatePair, str]] = {}
        if not _is_plain_chain(around, bottoms):
            for event in bottoms:
                states[event.event_id] = await self._patience.wait(
                    self._fetch.state_before(destination, event), STATE_TIMEOUT_S
                )
        await self._fetch_auth_events(destination, page.events)
        if any(len(event.prev_events) > 1 for event in page.events):
            # Branches are merged by what is stored.
            await self._keep.keep({event.event_id: event for event in page.events if event.is_state})
        found = await self._database.read(
            lambda tx: self._judge.judge(tx, rules, around.children, around.here, page.events, states)
        )
        return await self._commit(room_id, hole, place, around, found)

    def _learn(self, page: OrderedPage) -> bool:
        """Whether something is known now of when whose turn comes, that was not known before."""
        is_new = not page.held.keys() <= self._known_depths.keys()
        self._known_depths.update(page.held)
        while len(self._known_depths) > MAX_DEPTHS:
            del self._known_depths[next(iter(self._known_depths))]
        return is_new

    async def _look_around(
        self, room_id: str, hole: Hole, given: Mapping[str, Event], apart: str | None
    ) -> _Surroundings:
        """What leads down from the events above the hole, or from one that lies apart from them."""
        children = list((await self._events.get_many(hole.gaps)).values())
        named = dict.fromkeys(prev for child in children for prev in child.event.prev_events)
        named.update((prev, None) for event in given.values() for prev in event.prev_events)
        stored = await self._events.get_many({*named, *given})
        here = frozenset(event_id for event_id, each in stored.items() if _is_placed(each))
        older = [each for each in await self._holes.of(room_id) if each.place < hole.place]
        depths = await self._depths(room_id, older)

        def find_older_hole(event: Event) -> int | None:
            # What is less deep than where an older hole goes on lies in that one, or below it.
            return min((place for place, depth in depths.items() if event.depth < depth), default=None)

        # What is stored as an outlier may be more than what was given: the other server shows redacted copies of what
        # this one may not see there.
        whole = {
            event_id: stored[event_id].event if event_id in stored else given[event_id] for event_id in given
        }
        above = children if apart is None else []
        tops = [child.event for child in above]
        wanted = [prev for top in tops for prev in top.prev_events] if apart is None else [apart]
        page = order_page(wanted, tops, whole, here.__contains__, find_older_hole, self._known_depths)
        return _Surroundings(children, above, here, page)

    async def _depths(self, room_id: str, holes: Sequence[Hole]) -> dict[int, int]:
        """By place, below which depth lies what a hole misses."""
        nearest = holes[:MAX_HOLES]
        stored = await self._events.get_many(event_id for each in nearest for event_id in each.gaps)
        return {
            each.place: min(stored[event_id].event.depth for event_id in each.gaps)
            for each in nearest
            if all(event_id in stored for event_id in each.gaps)
        }

    async def _fetch_auth_events(self, destination: str, events: Sequence[Event]) -> None:
        in_page = {event.event_id for event in events}
        for _ in range(MAX_AUTH_REQUESTS):
            named = {auth_id for event in events for auth_id in event.auth_events} - in_page
            missing = named - (await self._events.get_many(named)).keys()
            lacking = next((event for event in events if missing.intersection(event.auth_events)), None)
            if lacking is None:
                return
            await self._patience.wait(self._fetch.auth_events(destination, lacking), STATE_TIMEOUT_S)
            if not await self._events.get_many(missing.intersection(lacking.auth_events)):
                # Nothing came of it: what stands on these events cannot be judged.
                return

    async def _commit(
        self, room_id: str, hole: Hole, place: int, around: _Surroundings, found: Sequence[Found]
    ) -> bool:
        floor = await self._database.read(lambda tx: self._gaps.find_floor(tx, room_id, place))
        orderings = free_places(place, floor, len(found))
        if orderings is None:
            logger.warning("There is no place left in %s for history below %d", room_id, place)
            return False
        if not found and not around.page.elsewhere:
            return False
        async with self._rooms.hold(room_id):
            # Meanwhile an event may have come by itself, or been stored as an outlier.
            stored = await self._events.get_many(one.event.event_id for one in found)
            if hole not in await self._holes.of(room_id) or any(map(_is_placed, stored.values())):
                return True
            changes: list[Change] = []
            for one, ordering in zip(found, reversed(orderings), strict=True):
                changes.append(_store(one, ordering, stored.get(one.event.event_id)))
                if one.awaits is not None:
                    changes.append(AwaitRedacted(room_id, one.awaits, one.event.event_id))
            changes += _moved_gaps(room_id, hole, around, found, orderings[-1] if orderings else place)
            waiter = self._committer.submit(changes)
        await waiter
        return True


def free_places(place: int, floor: int | None, count: int) -> list[int] | None:
    """Orderings below a place and above `floor`, the highest first; None if there are not so many.

    Whole steps are left out: they are for what happens. So is the first one: of a hole that cannot be filled at the
    moment clients are given two tokens in turns, since they take the same token twice for the end.
    """
    found: list[int] = []
    at = place - 1
    while len(found) < count:
        at -= 1
        if floor is not None and at <= floor:
            return None
        if at % ORDERING_STEP != 0:
            found.append(at)
    return found


def _is_placed(stored: StoredEvent | None) -> bool:
    return stored is not None and not stored.flags & OUTLIER


def _is_plain_chain(around: _Surroundings, bottoms: Sequence[Event]) -> bool:
    """Whether only messages, one behind the other, lead down from one event: then the state is the same all along."""
    children, events = around.above, around.page.events
    if len(children) != 1 or len(bottoms) != 1 or around.page.elsewhere:
        return False
    above: Event = children[0].event
    for event in reversed(events):
        if event.is_state or above.prev_events != (event.event_id,):
            return False
        above = event
    return len(above.prev_events) == 1


def _store(one: Found, ordering: int, stored: StoredEvent | None) -> StoreEvent:
    event = one.event
    branch = one.branch
    return StoreEvent(
        room_id=event.room_id,
        event_id=event.event_id,
        type=event.type,
        sender=event.sender,
        state_key=event.state_key,
        origin_server_ts=event.origin_server_ts,
        json=event.json,
        snapshot=branch.snapshot.name if one.new_state is None else event.event_id,
        snapshot_nid=branch.snapshot.nid if one.new_state is None else None,
        new_state=one.new_state,
        replaces=one.replaces,
        flags=one.flags,
        redacts=one.redacts,
        relation=None if event.is_state else find_relation(event.content),
        thread=one.thread,
        ordering=ordering,
        outlier_nid=None if stored is None else stored.position,
        redacted_by=one.redacted_by,
        auth_events=event.auth_events if event.is_state else (),
    )


def _moved_gaps(
    room_id: str, hole: Hole, around: _Surroundings, found: Sequence[Found], place: int
) -> list[Change]:
    """Where it goes on: below everything that was placed, or in an older hole."""
    here = around.here | {one.event.event_id for one in found}
    elsewhere = around.page.elsewhere
    changes: list[Change] = []
    for event in (*(child.event for child in around.above), *(one.event for one in found)):
        missing = [prev for prev in event.prev_events if prev not in here]
        if not missing:
            if event.event_id in hole.gaps:
                changes.append(CloseGap(room_id, event.event_id))
        elif all(prev in elsewhere for prev in missing):
            changes.append(AddGap(room_id, event.event_id, max(elsewhere[prev] for prev in missing)))
        else:
            changes.append(AddGap(room_id, event.event_id, place))
    return changes
