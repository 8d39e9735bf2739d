"""Who may see which event. Source: client-server API, "Room history visibility"."""

from collections.abc import Collection, Sequence

from federation.room_dag.event import Event
from federation.rooms.live_rooms import UnknownRoom
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.rooms.membership_history import MembershipHistories, MembershipHistory
from popcube_server.services.rooms.past_views import PastViews
from popcube_server.services.rooms.user_rooms import UserRooms
from popcube_server.services.rooms.visibility_history import (
    HISTORY_VISIBILITY,
    VISIBILITIES,
    VisibilityHistories,
    VisibilityHistory,
    visibility_of,
)
from synapse_like_config.lazy_dataclasses import dataclass

BEGINNING = -(2**62)
END = 2**63 - 1


class Visibility:
    """Filters events by what a user may see."""

    def __init__(
        self,
        memberships: MembershipHistories,
        visibilities: VisibilityHistories,
        user_rooms: UserRooms,
        past: PastViews,
    ) -> None:
        self._memberships = memberships
        self._visibilities = visibilities
        self._user_rooms = user_rooms
        self._past = past

    async def visible(self, user_id: str, events: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Those of the events that the user may see, in the same order."""
        decided: dict[str, _Decision] = {}
        seen = []
        found_later = [stored for stored in events if stored.is_found_later and stored.is_visible]
        past = await self._visible_past(user_id, found_later) if found_later else frozenset()
        for stored in events:
            if stored.is_found_later:
                if stored.event.event_id in past:
                    seen.append(stored)
                continue
            room_id = stored.event.room_id
            decision = decided.get(room_id)
            if decision is None:
                decision = decided[room_id] = await self._decision(user_id, room_id)
            if stored.is_visible and decision.is_visible(stored):
                seen.append(stored)
        return seen

    async def _visible_past(self, user_id: str, events: Sequence[StoredEvent]) -> Collection[str]:
        """Of history that was fetched, the IDs of what the user may see."""
        views = await self._past.after(user_id, events)
        rooms = await self._user_rooms.of_user(user_id)
        seen = set()
        for stored in events:
            event, view = stored.event, views.get(stored.event.event_id)
            if view is None:
                continue
            row = rooms.get(event.room_id)
            history = MembershipHistory()
            # Who forgot a room has given up what they saw of it.
            if row is not None and not row.forgotten:
                history = await self._memberships.of(user_id, event.room_id)
            decides = (HISTORY_VISIBILITY, ""), ("m.room.member", user_id)
            # Of these events, what was before or after them would allow to see them: see `_Decision.is_visible`.
            sides = [view, await self._past.before(stored, view)] if _pair_of(event) in decides else [view]
            if any(_allows(side.visibility, side.membership, stored.ordering, history) for side in sides):
                seen.add(event.event_id)
        return seen

    async def is_visible(self, user_id: str, stored: StoredEvent) -> bool:
        return bool(await self.visible(user_id, (stored,)))

    async def stretch(self, user_id: str, room_id: str) -> "Stretch | None":
        """Outside of it the user sees nothing of the room; None if they see nothing at all."""
        return (await self._decision(user_id, room_id)).stretch()

    async def _decision(self, user_id: str, room_id: str) -> "_Decision":
        try:
            visibility = await self._visibilities.of(room_id)
        except UnknownRoom:
            return _Decision(user_id, MembershipHistory(), VisibilityHistory((), (), "joined"), False)
        row = (await self._user_rooms.of_user(user_id)).get(room_id)
        is_open = row is not None and row.membership == "join" and visibility.is_always_open_to_members
        # Who forgot a room has given up what they saw of it.
        is_stranger = row is None or row.forgotten
        history = (
            MembershipHistory() if is_open or is_stranger else await self._memberships.of(user_id, room_id)
        )
        return _Decision(user_id, history, visibility, is_open)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a timeline, from one ordering to another, both included."""

    first: int
    last: int


class _Decision:
    """One user's view of one room."""

    def __init__(
        self, user_id: str, memberships: MembershipHistory, visibilities: VisibilityHistory, sees_all: bool
    ) -> None:
        self._user_id = user_id
        self._memberships = memberships
        self._visibilities = visibilities
        self._sees_all = sees_all

    def is_visible(self, stored: StoredEvent) -> bool:
        if self._sees_all:
            return True
        event = stored.event
        visibility = self._visibilities.at(stored.ordering)
        if event.type == HISTORY_VISIBILITY and event.state_key == "":
            # "For m.room.history_visibility events themselves, the user should be allowed to see the event if the
            # history_visibility before or after the event would allow them to see it."
            before = self._visibilities.before(stored.ordering)
            visibility = min(before, visibility_of(event.content), key=VISIBILITIES.index)
        membership = self._memberships.at(stored.ordering)
        if event.type == "m.room.member" and event.state_key == self._user_id:
            # "Likewise, for the user's own m.room.member events, the user should be allowed to see the event if their
            # membership before or after the event would allow them to see it."
            before_membership = self._memberships.at(stored.ordering - 1)
            return self._allows(visibility, membership, stored.ordering) or self._allows(
                visibility, before_membership, stored.ordering
            )
        return self._allows(visibility, membership, stored.ordering)

    def stretch(self) -> Stretch | None:
        if self._sees_all:
            return Stretch(BEGINNING, END)
        # Between two neighbours of these places neither the visibility nor the membership changes.
        changes = sorted({BEGINNING, *self._memberships.orderings, *self._visibilities.orderings})
        seen = [
            index
            for index, ordering in enumerate(changes)
            if self._allows(self._visibilities.at(ordering), self._memberships.at(ordering), ordering)
        ]
        if not seen:
            return None
        # The event that ended it may be visible for what was before it.
        last = changes[seen[-1] + 1] if seen[-1] + 1 < len(changes) else END
        return Stretch(changes[seen[0]], last)

    def _allows(self, visibility: str, membership: str | None, ordering: int) -> bool:
        return _allows(visibility, membership, ordering, self._memberships)


def _allows(visibility: str, membership: str | None, ordering: int, history: MembershipHistory) -> bool:
    # 1. "If the history_visibility was set to world_readable, allow."
    if visibility == "world_readable":
        return True
    # 2. "If the user's membership was join, allow."
    if membership == "join":
        return True
    # 3. "If history_visibility was set to shared, and the user joined the room at any point after the event was
    # sent, allow."
    if visibility == "shared":
        return _joined_after(ordering, history)
    # 4. "If the user's membership was invite, and the history_visibility was set to invited, allow."
    # 5. "Otherwise, deny."
    return visibility == "invited" and membership == "invite"


def _joined_after(ordering: int, history: MembershipHistory) -> bool:
    return any(
        membership == "join" and at > ordering
        for at, membership in zip(history.orderings, history.memberships, strict=True)
    )


def _pair_of(event: Event) -> tuple[str, str | None]:
    return event.type, event.state_key
