"""Lists of events that are JSON already, and what several modules ask about such lists."""

from collections.abc import Sequence

from popcube_server.rest.endpoint import Call
from popcube_server.rest.parse import query_choice, query_int
from popcube_server.services.errors import MissingParam
from popcube_server.services.filters.event_filter import RoomEventFilter
from popcube_server.services.filters.sync_filter import parse_room_event_filter_json
from popcube_server.services.rooms.read_messages import NO_FILTER

DEFAULT_LIMIT = 10
MAX_LIMIT = 1000


def event_list(events: Sequence[bytes]) -> bytes:
    return b"[%b]" % b",".join(events)


def query_limit(call: Call, default: int = DEFAULT_LIMIT, low: int = 0) -> int:
    """`limit`, bounded."""
    return query_int(call, "limit", default, low, MAX_LIMIT)


def query_filter(call: Call) -> RoomEventFilter:
    """`filter`: a RoomEventFilter as JSON. Raises `NotJson`, `BadJson` or `InvalidParam`."""
    text = call.query_one("filter")
    return NO_FILTER if not text else parse_room_event_filter_json(text)


def is_backward(call: Call, default: str | None = None) -> bool:
    """`dir`. Raises `MissingParam` if there is none and no default."""
    direction = query_choice(call, "dir", ("b", "f")) or default
    if direction is None:
        raise MissingParam("The query parameter 'dir' is missing.")
    return direction == "b"
