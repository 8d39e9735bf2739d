"""A whole filter as clients upload it or write it into `/sync`: parsed once, then asked.

Source: client-server API, "Filtering".
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from federation.room_dag.identifiers import is_room_id, is_user_id
from popcube_server.services.errors import BadJson, InvalidParam, NotJson
from popcube_server.services.filters.event_filter import (
    EventFilter,
    RoomEventFilter,
    TypePatterns,
    make_type_patterns,
)
from popcube_server.services.property_path import PropertyPath, parse_property_path
from synapse_like_config.lazy_dataclasses import dataclass

MAX_FILTER_BYTES: Final = 64 * 1024
MAX_LIST_LENGTH: Final = 2_000
MAX_FIELDS: Final = 200
MAX_STARS: Final = 20

_NO_FILTER: Final = RoomEventFilter()
_NO_EVENT_FILTER: Final = EventFilter()


@dataclass(frozen=True, slots=True)
class RoomFilter:
    """What is wanted of rooms. `rooms` and `not_rooms` come before the filters of the parts."""

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    include_leave: bool = False
    timeline: RoomEventFilter = _NO_FILTER
    state: RoomEventFilter = _NO_FILTER
    ephemeral: RoomEventFilter = _NO_FILTER
    account_data: RoomEventFilter = _NO_FILTER

    def matches_room(self, room_id: str) -> bool:
        """Whether a room is wanted at all."""
        return room_id not in self.not_rooms and (self.rooms is None or room_id in self.rooms)


_NO_ROOM_FILTER: Final = RoomFilter()


@dataclass(frozen=True, slots=True)
class SyncFilter:
    """What is wanted, and in which form."""

    room: RoomFilter = _NO_ROOM_FILTER
    presence: EventFilter = _NO_EVENT_FILTER
    account_data: EventFilter = _NO_EVENT_FILTER
    event_fields: tuple[PropertyPath, ...] | None = None
    """The properties of events that are wanted, None for all. See `select_fields`."""
    federation_format: bool = False
    """Events as they are between servers (`event_format`: `federation`)."""

    @property
    def is_unrestricted(self) -> bool:
        """Whether the filter changes nothing at all."""
        return self == NO_FILTER


NO_FILTER: Final = SyncFilter()


def parse_filter_json(text: str | bytes) -> SyncFilter:
    """A filter written into a query. Raises `NotJson`, `BadJson` or `InvalidParam`."""
    return parse_sync_filter(_load(text))


def parse_room_event_filter_json(text: str | bytes) -> RoomEventFilter:
    """The `filter` of `/messages` and `/context`. Raises as `parse_filter_json`."""
    return parse_room_event_filter(_load(text))


def parse_sync_filter(body: Any) -> SyncFilter:
    """Raises `BadJson` for a wrong type, `InvalidParam` for a wrong value."""
    body = _object(body, "the filter")
    fields = _strings(body, "event_fields", MAX_FIELDS)
    event_format = body.get("event_format", "client")
    if event_format not in ("client", "federation"):
        raise InvalidParam("'event_format' must be client or federation.")
    return SyncFilter(
        _parse_room(body.get("room")),
        _parse_events(_object(body.get("presence"), "presence")),
        _parse_events(_object(body.get("account_data"), "account_data")),
        None if fields is None else tuple(parse_property_path(field) for field in fields),
        event_format == "federation",
    )


def parse_room_event_filter(value: Any, name: str = "the filter") -> RoomEventFilter:
    """Raises as `parse_sync_filter`."""
    body = _object(value, name)
    if not body:
        return _NO_FILTER
    return RoomEventFilter(
        _parse_events(body),
        _rooms(body, "rooms"),
        _rooms(body, "not_rooms") or frozenset(),
        _bool(body, "contains_url"),
        _users(body, "related_by_senders"),
        _set(body, "related_by_rel_types"),
        _bool(body, "lazy_load_members") or False,
        _bool(body, "include_redundant_members") or False,
        _bool(body, "unread_thread_notifications") or False,
    )


def select_fields(event: Mapping[str, Any], fields: tuple[PropertyPath, ...]) -> dict[str, Any]:
    """The event with just these properties; those that it has not are left out."""
    selected: dict[str, Any] = {}
    for path in fields:
        _copy(event, selected, path)
    return selected


def _copy(source: Mapping[str, Any], target: dict[str, Any], path: PropertyPath) -> None:
    for at, name in enumerate(path):
        if name not in source:
            return
        value = source[name]
        if at == len(path) - 1:
            target[name] = value
        elif not isinstance(value, Mapping):
            return
        else:
            inner = target.get(name)
            if inner is value:
                # The whole object is wanted already.
                return
            if not isinstance(inner, dict):
                if not _has(value, path[at + 1 :]):
                    return
                inner = target[name] = {}
            source, target = value, inner


def _has(value: Any, path: PropertyPath) -> bool:
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return True


def _parse_room(value: Any) -> RoomFilter:
    body = _object(value, "room")
    return RoomFilter(
        _rooms(body, "rooms"),
        _rooms(body, "not_rooms") or frozenset(),
        _bool(body, "include_leave") or False,
        parse_room_event_filter(body.get("timeline"), "timeline"),
        parse_room_event_filter(body.get("state"), "state"),
        parse_room_event_filter(body.get("ephemeral"), "ephemeral"),
        parse_room_event_filter(body.get("account_data"), "account_data"),
    )


def _parse_events(body: Mapping[str, Any]) -> EventFilter:
    return EventFilter(
        _types(body, "types"),
        _types(body, "not_types"),
        _users(body, "senders"),
        _users(body, "not_senders") or frozenset(),
        _limit(body),
    )


def _types(body: Mapping[str, Any], name: str) -> TypePatterns | None:
    types = _set(body, name)
    if types is None:
        return None
    if any(each.count("*") > MAX_STARS for each in types):
        raise InvalidParam(f"An event type in '{name}' may have at most {MAX_STARS} stars.")
    # A list that excludes nothing is no list.
    return None if name == "not_types" and not types else make_type_patterns(types)


def _users(body: Mapping[str, Any], name: str) -> frozenset[str] | None:
    users = _set(body, name)
    if users is not None and not all(is_user_id(each) for each in users):
        raise InvalidParam(f"'{name}' must be a list of user IDs.")
    return users


def _rooms(body: Mapping[str, Any], name: str) -> frozenset[str] | None:
    rooms = _set(body, name)
    if rooms is not None and not all(is_room_id(each) for each in rooms):
        raise InvalidParam(f"'{name}' must be a list of room IDs.")
    return rooms


def _set(body: Mapping[str, Any], name: str) -> frozenset[str] | None:
    strings = _strings(body, name, MAX_LIST_LENGTH)
    return None if strings is None else frozenset(strings)


def _strings(body: Mapping[str, Any], name: str, limit: int) -> list[str] | None:
    values = body.get(name)
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise BadJson(f"'{name}' must be a list of strings.")
    if len(values) > limit:
        raise InvalidParam(f"'{name}' may have at most {limit} entries.")
    return values


def _limit(body: Mapping[str, Any]) -> int | None:
    limit = body.get("limit")
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise BadJson("'limit' must be an integer.")
    # COMPAT: the specification wants it greater than 0; old clients send 0 to get no timeline.
    if limit < 0:
        raise InvalidParam("'limit' must not be negative.")
    return limit


def _bool(body: Mapping[str, Any], name: str) -> bool | None:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadJson(f"'{name}' must be true or false.")
    return value


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadJson(f"{name} must be an object.")
    return value


def _load(text: str | bytes) -> Any:
    if len(text) > MAX_FILTER_BYTES:
        raise InvalidParam(f"A filter may have at most {MAX_FILTER_BYTES} bytes.")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise NotJson("The filter is not JSON.") from None
