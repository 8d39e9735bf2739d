"""Events as clients get them: the stored event's bytes, with what the server adds for this reader spliced in.

Source: client-server API, "Room event format" (ClientEvent and its `unsigned`).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import orjson

from federation.room_dag.canonical_json import encode_lenient
from federation.rooms.event_store import EventStore
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.property_path import PropertyPath, find_property
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.event_memberships import EventMemberships
from popcube_server.services.rooms.sent_transactions import SentTransactions
from synapse_like_config.lazy_dataclasses import dataclass


class Aggregations(Protocol):
    """What other events say about an event, in short."""

    async def bundled(self, events: Sequence[StoredEvent], reader_id: str) -> Mapping[str, bytes]:
        """By event ID the JSON of `unsigned.m.relations`, for those events that have one."""


class EventVisibility(Protocol):
    """Who may see what of a room's history."""

    async def visible(self, user_id: str, events: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Those of the events that the user may see, in the same order."""


@dataclass(frozen=True, slots=True)
class EventStyle:
    """The form in which events are wanted."""

    has_room_id: bool = True
    is_federation_format: bool = False
    """`event_format` of filters: the PDU instead of the client's form."""
    fields: tuple[PropertyPath, ...] | None = None
    """`event_fields` of filters: only these properties."""
    has_aggregations: bool = False
    """Whether `unsigned.m.relations` is wanted."""


STYLE = EventStyle()
SYNC_STYLE = EventStyle(has_room_id=False)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Events that others refer to: what they replaced in the state, and what redacted them."""

    events: Mapping[str, StoredEvent]
    hidden: Collection[str]
    """IDs of replaced events that the reader may not see."""


NO_SURROUNDINGS = Surroundings({}, frozenset())


class EventJson:
    """Renders stored events for one reader."""

    def __init__(
        self,
        events: EventStore,
        sent: SentTransactions,
        visibility: EventVisibility,
        memberships: EventMemberships,
        aggregations: Aggregations,
        now_ms: Callable[[], int],
    ) -> None:
        self._events = events
        self._sent = sent
        self._visibility = visibility
        self._memberships = memberships
        self._aggregations = aggregations
        self._now_ms = now_ms

    async def render(
        self, events: Sequence[StoredEvent], reader: Requester, style: EventStyle = STYLE
    ) -> list[bytes]:
        """The JSON of each event, with everything that the specification wants in `unsigned`.

        That the reader may see the events is the caller's business; whether they may see `prev_content` is looked at.
        """
        surroundings = await self.surroundings(events, reader.user_id)
        memberships = await self._memberships.of(reader.user_id, events)
        bundles: Mapping[str, bytes] = {}
        if style.has_aggregations:
            bundles = await self._aggregations.bundled(events, reader.user_id)
        rendered = []
        for stored in events:
            membership = memberships[stored.event.event_id]
            bundle = bundles.get(stored.event.event_id)
            rendered.append(self.one(stored, surroundings, membership, reader, bundle, style))
        return rendered

    async def surroundings(
        self, events: Sequence[StoredEvent], user_id: str, seen_after: int | None = None
    ) -> Surroundings:
        """What the events refer to. The user is known to see whatever has an ordering above `seen_after`.

        Does not wait if there is nothing, or if all is in memory and seen.
        """
        wanted = {stored.replaces for stored in events if stored.replaces is not None}
        wanted.update(stored.redacted_by for stored in events if stored.redacted_by is not None)
        if not wanted:
            return NO_SURROUNDINGS
        found = {
            event_id: stored
            for event_id in wanted
            if event_id is not None and (stored := self._events.find_cached(event_id)) is not None
        }
        if len(found) < len(wanted):
            found = await self._events.get_many(event_id for event_id in wanted if event_id is not None)
        doubtful = [
            found[stored.replaces]
            for stored in events
            if stored.replaces in found
            and (seen_after is None or found[stored.replaces].ordering <= seen_after)
        ]
        if not doubtful:
            return Surroundings(found, frozenset())
        seen = {stored.event.event_id for stored in await self._visibility.visible(user_id, doubtful)}
        hidden = frozenset(stored.event.event_id for stored in doubtful) - seen
        return Surroundings(found, hidden)

    def one(
        self,
        stored: StoredEvent,
        surroundings: Surroundings,
        membership: str | None,
        reader: Requester | None,
        bundle: bytes | None = None,
        style: EventStyle = SYNC_STYLE,
    ) -> bytes:
        """One event whose surroundings are at hand; without a reader, what all readers get."""
        event = stored.event
        unsigned = [b',"unsigned":{"age":%d' % (self._now_ms() - event.origin_server_ts)]
        if membership is not None:
            unsigned.append(b',"membership":"%b"' % membership.encode())
        if reader is not None and event.sender == reader.user_id:
            # "... if the client being given the event is the same one which sent it."
            txn_id = self._sent.find(event.event_id, reader.transaction_scope)
            if txn_id is not None:
                unsigned.append(b',"transaction_id":' + orjson.dumps(txn_id))
        if stored.replaces is not None:
            unsigned.append(_replaced(stored, surroundings))
        if stored.redacted_by is not None:
            redaction = surroundings.events.get(stored.redacted_by)
            if redaction is not None:
                unsigned.append(b',"redacted_because":' + self._redaction(redaction, style))
        if bundle is not None:
            unsigned.append(b',"m.relations":' + bundle)
        unsigned.append(b"}}")
        if style.is_federation_format:
            return _pick(event.json[:-1] + b"".join(unsigned), style)
        if style.has_room_id:
            unsigned.insert(0, b',"room_id":' + orjson.dumps(event.room_id))
        return _pick(stored.client_fields + b"".join(unsigned), style)

    def state(self, events: Iterable[StoredEvent], style: EventStyle = SYNC_STYLE) -> list[bytes]:
        """Events of a whole state, as they are the same for everybody: `replaces_state`, but no `prev_content`."""
        if style == SYNC_STYLE:
            now_ms = self._now_ms()
            return [_state_entry(stored, now_ms) for stored in events]
        return [self.one(stored, NO_SURROUNDINGS, None, None, None, style) for stored in events]

    def _redaction(self, redaction: StoredEvent, style: EventStyle) -> bytes:
        room_id = b',"room_id":' + orjson.dumps(redaction.event.room_id) if style.has_room_id else b""
        age = self._now_ms() - redaction.event.origin_server_ts
        return redaction.client_fields + room_id + b',"unsigned":{"age":%d}}' % age


def _state_entry(stored: StoredEvent, now_ms: int) -> bytes:
    age = now_ms - stored.event.origin_server_ts
    if stored.replaces is None:
        return stored.client_fields + b',"unsigned":{"age":%d}}' % age
    return stored.client_fields + b',"unsigned":{"age":%d,"replaces_state":%b}}' % (
        age,
        orjson.dumps(stored.replaces),
    )


def _replaced(stored: StoredEvent, surroundings: Surroundings) -> bytes:
    assert stored.replaces is not None
    # "Unlike `prev_content`, this field is included regardless of history visibility."
    text = b',"replaces_state":' + orjson.dumps(stored.replaces)
    replaced = surroundings.events.get(stored.replaces)
    if replaced is None or stored.replaces in surroundings.hidden:
        return text
    return text + b',"prev_content":' + _content(replaced)


def _content(stored: StoredEvent) -> bytes:
    try:
        return orjson.dumps(stored.event.content)
    except orjson.JSONEncodeError:
        # orjson refuses integers beyond 64 bits, which room versions 1 to 5 allow.
        return encode_lenient(stored.event.content)


def _pick(data: bytes, style: EventStyle) -> bytes:
    if style.fields is None:
        return data
    event = orjson.loads(data)
    picked: dict[str, Any] = {}
    # The shortest first: a whole object has its properties already.
    for path in sorted(style.fields, key=len):
        is_there, value = find_property(event, path)
        if is_there:
            _put(picked, path, value)
    return orjson.dumps(picked)


def _put(target: dict[str, Any], path: PropertyPath, value: Any) -> None:
    for name in path[:-1]:
        target = target.setdefault(name, {})
    target[path[-1]] = value


class NoAggregations:
    """Bundles nothing: for servers and tools that keep no relations."""

    async def bundled(self, events: Sequence[StoredEvent], reader_id: str) -> Mapping[str, bytes]:
        return {}
