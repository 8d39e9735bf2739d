"""Reading what a stranger wrote: the types are checked, and who may speak for whom."""

from collections.abc import Mapping
from typing import Any

from federation.room_dag.identifiers import domain_of, is_user_id

MAX_ID_BYTES = 255
MAX_STREAM_ID = 2**53 - 1


class BadEdu(Exception):
    """The EDU is not as the specification says."""


def get_string(content: Mapping[str, Any], key: str, max_bytes: int = MAX_ID_BYTES) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not 0 < len(value.encode("utf-8", "surrogatepass")) <= max_bytes:
        raise BadEdu(f"'{key}' must be a string of at most {max_bytes} bytes")
    if "\0" in value or not value.isprintable():
        raise BadEdu(f"'{key}' has characters that it may not have")
    return value


def get_object(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    if not isinstance(value, dict):
        raise BadEdu(f"'{key}' must be an object")
    return value


def get_int(content: Mapping[str, Any], key: str, low: int = 0, high: int = MAX_STREAM_ID) -> int:
    value = content.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadEdu(f"'{key}' must be an integer between {low} and {high}")
    return value


def get_user_of(origin: str, content: Mapping[str, Any], key: str) -> str:
    """A user ID of the origin's: a server speaks for its own users only."""
    return check_user_of(origin, get_string(content, key))


def check_user_of(origin: str, user_id: str) -> str:
    if not is_user_id(user_id) or domain_of(user_id) != origin:
        raise BadEdu(f"{user_id[:300]!r} is no user of {origin}")
    return user_id
