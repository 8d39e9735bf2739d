"""Session keys of a backup as clients send them, checked."""

from collections.abc import Mapping
from typing import Any

import orjson

from federation.room_dag.canonical_json import MAX_INTEGER, compact
from popcube_server.rest.parse import find_bool, find_int, get_object
from popcube_server.services.errors import BadJson, InvalidParam, MissingParam
from popcube_server.services.keys.backup.session_keys import RoomSessionKey, SessionKey

MAX_NAME_BYTES = 255
MAX_SESSION_DATA_BYTES = 64 * 1024


def parse_room_keys(room_id: str, room: Any) -> list[RoomSessionKey]:
    """The `sessions` of one room. Raises `BadJson`, `InvalidParam` or `MissingParam`."""
    if not isinstance(room, dict):
        raise BadJson(f"The keys of '{room_id}' must be an object.")
    return [
        parse_session_key(room_id, session_id, key)
        for session_id, key in get_object(room, "sessions").items()
    ]


def parse_session_key(room_id: str, session_id: str, key: Any) -> RoomSessionKey:
    """One key. Raises `BadJson`, `InvalidParam` or `MissingParam`."""
    if not isinstance(key, dict):
        raise BadJson(f"The key of session '{session_id}' must be an object.")
    for name in (room_id, session_id):
        if not name or len(name.encode()) > MAX_NAME_BYTES:
            raise InvalidParam(f"IDs of rooms and sessions have 1 to {MAX_NAME_BYTES} bytes.")
    data = compact(orjson.dumps(get_object(key, "session_data")))
    if len(data) > MAX_SESSION_DATA_BYTES:
        raise InvalidParam(f"'session_data' may have at most {MAX_SESSION_DATA_BYTES} bytes.")
    is_verified = find_bool(key, "is_verified")
    if is_verified is None:
        raise MissingParam("'is_verified' is missing.")
    first, forwarded = _get_count(key, "first_message_index"), _get_count(key, "forwarded_count")
    return RoomSessionKey(room_id, session_id, SessionKey(first, forwarded, is_verified, data))


def _get_count(key: Mapping[str, Any], name: str) -> int:
    value = find_int(key, name, low=0, high=MAX_INTEGER)
    if value is None:
        raise MissingParam(f"'{name}' is missing.")
    return value
