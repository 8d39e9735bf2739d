"""One walk through a space's tree, depth first, page by page: what was found, and what is still to be visited."""

from collections.abc import Sequence
from dataclasses import field

from twisted.internet.defer import DeferredLock

from popcube_server.services.remote_queries.remote_spaces import RemoteSpace
from popcube_server.services.rooms.room_summaries import SPACE, RoomSummary, SpaceChild
from synapse_like_config.lazy_dataclasses import dataclass

MAX_DEPTH = 50
MAX_ROOMS = 5_000
"""A walk ends after so many rooms, however many there are."""
MAX_AHEAD = 20_000
"""So many rooms can wait to be visited; what comes after is left out."""
MAX_ASKED = 100
"""So many rooms are asked for at other servers in one walk; the others are left out."""


@dataclass(frozen=True, slots=True)
class HierarchyRequest:
    """What of the tree is wanted."""

    is_suggested_only: bool = False
    max_depth: int = MAX_DEPTH
    limit: int = 50
    start: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A room in the tree, and what its parent is known to say of it."""

    room_id: str
    depth: int
    via: Sequence[str] = ()
    parent: RemoteSpace | None = None
    """None for the root, and if the parent is here."""

    @property
    def told(self) -> RoomSummary | None:
        """What the server that told of the parent told of the room."""
        return None if self.parent is None else self.parent.children.get(self.room_id)

    @property
    def is_hidden(self) -> bool:
        # "the requesting server should consider these room IDs as not accessible from anywhere. They should not be
        # re-requested." That holds for what is below this parent: no server hides rooms in spaces of others.
        return self.parent is not None and self.room_id in self.parent.inaccessible

    @property
    def needs_asking(self) -> bool:
        """Whether there is something to ask about it, if it is not here."""
        return not self.is_hidden and (self.told is None or self.told.type == SPACE)

    @property
    def servers(self) -> Sequence[str]:
        """Whom to ask, the likeliest first: who told of the parent, if it is one that may know the room."""
        if self.parent is not None and self.told is not None:
            return (self.parent.server, *self.via)
        return self.via


@dataclass(slots=True)
class Walk:
    """`lock` is held by whoever takes a step."""

    user_id: str
    ahead: list[Place]
    """What is to be visited, the next one last."""
    found: list[RoomSummary] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    asked: dict[str, RemoteSpace | None] = field(default_factory=dict)
    """What other servers said of rooms that are to be visited."""
    asked_count: int = 0
    lock: DeferredLock = field(default_factory=DeferredLock)

    @property
    def is_over(self) -> bool:
        return not self.ahead or len(self.found) >= MAX_ROOMS

    def next_to_ask(self, count: int) -> list[Place]:
        """Of the next `count` places those that may have to be asked for."""
        return [
            place
            for place in reversed(self.ahead[-count:])
            if place.needs_asking and place.room_id not in self.seen and place.room_id not in self.asked
        ]

    def skip_seen(self) -> None:
        """Drop places of rooms that were visited: "... the server should ... avoid loops"."""
        # A room stands where it was met first.
        while self.ahead and self.ahead[-1].room_id in self.seen:
            self.ahead.pop()

    def visit(self, room: RoomSummary | None, children: Sequence[Place]) -> None:
        """The next place is done: it is this room, None if the user may not see it."""
        place = self.ahead.pop()
        self.seen.add(place.room_id)
        self.asked.pop(place.room_id, None)
        if room is not None:
            self.found.append(room)
        self.ahead.extend(reversed(children[: max(0, MAX_AHEAD - len(self.ahead))]))


def children_of(room: RoomSummary, request: HierarchyRequest) -> Sequence[SpaceChild]:
    if room.type != SPACE:
        return ()
    if request.is_suggested_only:
        return [child for child in room.children if child.is_suggested]
    return room.children
