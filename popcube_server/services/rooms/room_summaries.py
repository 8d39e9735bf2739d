"""What a room shows of itself to those outside: in the directory, in spaces and as a preview. Kept in memory.

Source: client-server API, PublishedRoomsChunk, RoomSummary, SpaceHierarchyRoomsChunk.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from federation.rooms.event_store import EventStore
from federation.rooms.live_room import LiveRoom
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.room_state import MEMBER, RoomState
from federation.rooms.server_acl import ACL_PAIR
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.federation.room_access import has_member_of
from popcube_server.services.rooms.visibility_history import visibility_of
from storage.change import LogEntry
from storage.events import StoreEvent
from storage.log import Log
from synapse_like_config.lazy_dataclasses import dataclass

CACHE_SIZE = 20_000
BATCH = 100
MAX_CHILDREN = 5_000

SPACE = "m.space"
CHILD = "m.space.child"
_TYPES = (
    "m.room.create",
    "m.room.name",
    "m.room.topic",
    "m.room.canonical_alias",
    "m.room.avatar",
    "m.room.join_rules",
    "m.room.encryption",
    "m.room.guest_access",
    "m.room.history_visibility",
    ACL_PAIR[0],
)
_SHOWN = frozenset((*_TYPES, MEMBER, CHILD))
RESTRICTED_RULES = ("restricted", "knock_restricted")


@dataclass(frozen=True, slots=True)
class SpaceChild:
    """A room that a space lists."""

    room_id: str
    order: str | None
    is_suggested: bool
    via: Sequence[str]
    """Servers that may know the room: as they stand in the event, unchecked."""
    stripped: Mapping[str, Any]
    """The m.space.child event as clients and servers are shown it: stripped, with its `origin_server_ts`."""


@dataclass(frozen=True, slots=True)
class Openness:
    """Whom this server tells of a room that it knows itself."""

    is_resident: bool
    """Whether this server is in the room, or nobody is: what it knows of other rooms is of the past."""
    is_federated: bool
    acl: Mapping[str, Any] | None
    """The content of the room's m.room.server_acl."""


@dataclass(frozen=True, slots=True)
class RoomSummary:
    """Of a room here, or of another server's as that server tells it."""

    room_id: str
    version: str | None
    type: str | None
    name: str | None
    topic: str | None
    canonical_alias: str | None
    avatar_url: str | None
    encryption: str | None
    join_rule: str
    allowed_room_ids: Sequence[str]
    """Whose members may join; empty if the join rule is not about that."""
    is_world_readable: bool
    can_guests_join: bool
    joined_count: int
    children: Sequence[SpaceChild]
    """In the order in which they are to be shown."""
    openness: Openness | None
    """None: another server told of the room."""

    @property
    def is_here(self) -> bool:
        """Whether this server knows how the room is at present."""
        return self.openness is not None and self.openness.is_resident

    def published(self) -> dict[str, Any]:
        """The PublishedRoomsChunk."""
        optional = {
            "name": self.name,
            "topic": self.topic,
            "canonical_alias": self.canonical_alias,
            "avatar_url": self.avatar_url,
            "room_type": self.type,
        }
        return {
            "room_id": self.room_id,
            "num_joined_members": self.joined_count,
            "world_readable": self.is_world_readable,
            "guest_can_join": self.can_guests_join,
            "join_rule": self.join_rule,
            **{key: value for key, value in optional.items() if value is not None},
        }

    def summary(self) -> dict[str, Any]:
        """The RoomSummary: what is published and some more."""
        summary = self.published()
        if self.version is not None:
            summary["room_version"] = self.version
        if self.encryption is not None:
            summary["encryption"] = self.encryption
        if self.allowed_room_ids:
            summary["allowed_room_ids"] = list(self.allowed_room_ids)
        return summary


class RoomSummaries:
    """A bounded cache, kept true by following the log."""

    def __init__(self, rooms: LiveRooms, events: EventStore, log: Log, server_name: str) -> None:
        self._server_name = server_name
        self._rooms = rooms
        self._events = events
        self._log = log
        self._cache: BoundedCache[str, RoomSummary] = BoundedCache(CACHE_SIZE)
        log.follow(self._follow)

    async def find(self, room_id: str) -> RoomSummary | None:
        """The summary; None if this server does not know the room."""
        return (await self.of((room_id,))).get(room_id)

    async def of(self, room_ids: Iterable[str]) -> dict[str, RoomSummary]:
        """By room ID, of those rooms that this server knows."""
        found: dict[str, RoomSummary] = {}
        missing: list[str] = []
        for room_id in room_ids:
            summary = self._cache.get(room_id)
            if summary is None:
                missing.append(room_id)
            else:
                found[room_id] = summary
        for start in range(0, len(missing), BATCH):
            found.update(await self._read(missing[start : start + BATCH]))
        return found

    async def _read(self, room_ids: Sequence[str]) -> dict[str, RoomSummary]:
        rooms = await self._rooms.get_many(room_ids)
        position = self._log.position
        states = {
            room_id: (room.rules.version, _shown_entries(room), room.committed)
            for room_id, room in rooms.items()
        }
        events = await self._events.get_many(
            event_id for _, entries, _ in states.values() for event_id in entries.values()
        )
        read = {
            room_id: self._summarize(
                room_id, version, state, {pair: events[event_id] for pair, event_id in entries.items()}
            )
            for room_id, (version, entries, state) in states.items()
        }
        since = self._log.since(position)
        if since is not None:
            # What changed while we read is not to be kept.
            moved = {entry.key[0] for entry in since if entry.kind == "event"}
            for room_id, summary in read.items():
                if room_id not in moved:
                    self._cache.put(room_id, summary)
        return read

    def _summarize(
        self, room_id: str, version: str, state: RoomState, events: Mapping[tuple[str, str], StoredEvent]
    ) -> RoomSummary:
        def find(event_type: str) -> Mapping[str, Any] | None:
            stored = events.get((event_type, ""))
            return None if stored is None else stored.event.content

        def content(event_type: str) -> Mapping[str, Any]:
            return find(event_type) or {}

        def text(event_type: str, key: str) -> str | None:
            value = content(event_type).get(key)
            return value if isinstance(value, str) and value else None

        alias, avatar = text("m.room.canonical_alias", "alias"), text("m.room.avatar", "url")
        join_rule = text("m.room.join_rules", "join_rule") or "invite"
        children = [_child(stored) for (event_type, _), stored in events.items() if event_type == CHILD]
        return RoomSummary(
            room_id,
            version,
            text("m.room.create", "type"),
            text("m.room.name", "name"),
            text("m.room.topic", "topic"),
            alias if alias is not None and alias.startswith("#") else None,
            avatar if avatar is not None and avatar.startswith("mxc://") else None,
            text("m.room.encryption", "algorithm"),
            join_rule,
            _allowed(content("m.room.join_rules").get("allow")) if join_rule in RESTRICTED_RULES else (),
            visibility_of(content("m.room.history_visibility")) == "world_readable",
            content("m.room.guest_access").get("guest_access") == "can_join",
            state.joined_count,
            in_order(child for child in children if child is not None)[:MAX_CHILDREN],
            Openness(
                state.joined_count == 0 or has_member_of(state, self._server_name),
                # "Whether users on other servers can join this room. Defaults to `true` if key does not exist."
                content("m.room.create").get("m.federate") is not False,
                find(ACL_PAIR[0]),
            ),
        )

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind != "event" or self._cache.peek(entry.key[0]) is None:
                continue
            change = entry.change
            if not isinstance(change, StoreEvent) or change.redacts is not None:
                self._cache.drop(entry.key[0])
            elif change.new_state is not None:
                changed = (*change.new_state.changes, *change.new_state.current_changes)
                if any(event_type in _SHOWN for event_type, _, _ in changed):
                    self._cache.drop(change.room_id)


def _shown_entries(room: LiveRoom) -> dict[tuple[str, str], str]:
    entries = room.committed.entries
    shown = {
        (event_type, ""): event_id
        for event_type in _TYPES
        if (event_id := entries.get((event_type, ""))) is not None
    }
    create = room.auth_events.get(shown.get(("m.room.create", ""), ""))
    # Whole states are looked through for spaces only.
    if create is not None and create.content.get("type") == SPACE:
        shown.update((pair, event_id) for pair, event_id in entries.items() if pair[0] == CHILD)
    return shown


def _allowed(allow: object) -> list[str]:
    return [
        room_id
        for condition in (allow if isinstance(allow, list) else ())
        if isinstance(condition, dict)
        and condition.get("type") == "m.room_membership"
        and isinstance(room_id := condition.get("room_id"), str)
        and room_id.startswith("!")
    ]


def _child(stored: StoredEvent) -> SpaceChild | None:
    event = stored.event
    return read_child(
        {
            "type": event.type,
            "state_key": event.state_key,
            "sender": event.sender,
            "content": event.content,
            "origin_server_ts": event.origin_server_ts,
        }
    )


def read_child(stripped: Mapping[str, Any]) -> SpaceChild | None:
    """The child that a stripped m.space.child event with `origin_server_ts` names; None if it names none."""
    content, room_id = stripped["content"], stripped["state_key"]
    via = content.get("via")
    # Of `via`: "If not present or invalid (not an array), the room is not considered a child."
    if room_id is None or not room_id.startswith("!") or not isinstance(via, list) or not via:
        return None
    order = content.get("order")
    return SpaceChild(
        room_id,
        order if is_order(order) else None,
        content.get("suggested") is True,
        tuple(server for server in via if isinstance(server, str)),
        stripped,
    )


def is_order(order: object) -> bool:
    """Whether it is a valid `order` of a child."""
    # "`order`s should consist of ASCII characters in the range \\x20 (space) to \\x7E (~), inclusive, and be at most 50
    # characters long. If the `order` isn't valid, it is treated as though it was not present."
    return isinstance(order, str) and len(order) <= 50 and all(" " <= letter <= "~" for letter in order)


def in_order(children: Iterable[SpaceChild]) -> list[SpaceChild]:
    """As they are to be shown."""
    return sorted(children, key=_child_order)


def _child_order(child: SpaceChild) -> tuple[bool, str, int, str]:
    # Those without a valid order come last, then by `origin_server_ts` of their events, then by room ID.
    return (child.order is None, child.order or "", child.stripped["origin_server_ts"], child.room_id)
