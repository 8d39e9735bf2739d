"""The format of a PDU that comes from outside: which keys it must have, of which type and size.

Source: "Event format" of each room version; client-server API, "Size limits".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from federation.room_dag.canonical_json import MAX_INTEGER
from federation.room_dag.identifiers import (
    MAX_IDENTIFIER_BYTES,
    InvalidIdentifier,
    check_event_id,
    check_room_id,
    check_user_id,
    domain_of,
    size_bytes,
)
from federation.room_dag.room_versions import EventFormat, EventIdFormat, RoomRules

MAX_EVENT_BYTES: Final = 65536
MAX_PREV_EVENTS: Final = 20
MAX_AUTH_EVENTS: Final = 10
MAX_DEPTH_BEFORE_CANONICAL: Final = 2**63 - 1


class InvalidEvent(ValueError):
    """An event does not have the format of its room version and has to be dropped."""


class EventTooLarge(InvalidEvent):
    """An event is larger than 65,536 bytes, or one of its identifiers larger than 255."""


def max_depth(rules: RoomRules) -> int:
    """The highest depth; events after one of this depth have it too."""
    # "If the room's depth is already at the limit, the depth must be set to the limit."
    return MAX_INTEGER if rules.strict_canonical_json else MAX_DEPTH_BEFORE_CANONICAL


def check_pdu_format(pdu: Mapping[str, Any], rules: RoomRules) -> None:
    """Raise InvalidEvent unless types, identifiers and counts are those of the room version."""
    event_type = _get_limited_string(pdu, "type")
    try:
        check_user_id(_get_limited_string(pdu, "sender"))
        _check_room_id(pdu, event_type, rules)
        if rules.event_id_format is EventIdFormat.LOCALPART_AND_DOMAIN:
            _check_event_id_with_domain(_get_limited_string(pdu, "event_id"))
    except InvalidIdentifier as error:
        raise InvalidEvent(str(error)) from None
    if "state_key" in pdu:
        _get_limited_string(pdu, "state_key")
    if not isinstance(pdu.get("content"), dict):
        raise InvalidEvent("content is not an object")
    _check_integer(pdu, "origin_server_ts", -MAX_DEPTH_BEFORE_CANONICAL, MAX_DEPTH_BEFORE_CANONICAL)
    _check_integer(pdu, "depth", 0, max_depth(rules))
    # "Must contain less than or equal to 20 events."
    _check_references(pdu, "prev_events", MAX_PREV_EVENTS, rules)
    # "Must contain less than or equal to 10 events."
    _check_references(pdu, "auth_events", MAX_AUTH_EVENTS, rules)
    _check_hashes(pdu.get("hashes"))
    _check_signatures(pdu.get("signatures"))


def check_size(name: str, value: str) -> None:
    """Raise EventTooLarge if an identifier, type or state key has more than 255 bytes."""
    # "sender, room_id, event_id, state_key and type MUST NOT exceed 255 bytes"
    if len(value) > MAX_IDENTIFIER_BYTES or (not value.isascii() and _too_long_in_utf8(value)):
        raise EventTooLarge(f"{name} has more than {MAX_IDENTIFIER_BYTES} bytes")


def referenced_ids(references: Sequence[Any], rules: RoomRules) -> tuple[str, ...]:
    """The event IDs of checked prev or auth events."""
    if rules.event_format is EventFormat.ID_AND_HASH_PAIRS:
        return tuple([pair[0] for pair in references])
    return tuple(references)


def _too_long_in_utf8(value: str) -> bool:
    try:
        return size_bytes(value) > MAX_IDENTIFIER_BYTES
    except InvalidIdentifier as error:
        raise InvalidEvent(str(error)) from None


def _get_limited_string(pdu: Mapping[str, Any], name: str) -> str:
    value = pdu.get(name)
    if not isinstance(value, str):
        raise InvalidEvent(f"{name} is not a string")
    check_size(name, value)
    return value


def _check_room_id(pdu: Mapping[str, Any], event_type: str, rules: RoomRules) -> None:
    if rules.room_id_is_create_hash and event_type == "m.room.create" and pdu.get("state_key") == "":
        # Version 12: "If the event has a `room_id`, reject." It could not be the hash of what contains it.
        if "room_id" in pdu:
            raise InvalidEvent("a create event of this room version may not have a room_id")
        return
    room_id = _get_limited_string(pdu, "room_id")
    check_room_id(room_id)
    if not rules.room_id_is_create_hash:
        domain_of(room_id)


def _check_event_id_with_domain(event_id: str) -> None:
    check_event_id(event_id)
    domain_of(event_id)


def _check_integer(pdu: Mapping[str, Any], name: str, least: int, most: int) -> None:
    value = pdu.get(name)
    if type(value) is not int:
        raise InvalidEvent(f"{name} is not an integer")
    if not least <= value <= most:
        raise InvalidEvent(f"{name} is out of range")


def _check_references(pdu: Mapping[str, Any], name: str, most: int, rules: RoomRules) -> None:
    references = pdu.get(name)
    if not isinstance(references, list):
        raise InvalidEvent(f"{name} is not a list")
    if len(references) > most:
        raise InvalidEvent(f"{name} has more than {most} entries")
    for reference in references:
        if rules.event_format is EventFormat.ID_AND_HASH_PAIRS:
            _check_pair(reference, name)
        elif not isinstance(reference, str):
            raise InvalidEvent(f"{name} contains something that is not an event ID")
        else:
            check_size(name, reference)


def _check_pair(pair: Any, name: str) -> None:
    is_pair = isinstance(pair, list) and len(pair) == 2
    if not (is_pair and isinstance(pair[0], str) and isinstance(pair[1], dict)):
        raise InvalidEvent(f"{name} contains something that is not a pair of event ID and hash")
    check_size(name, pair[0])


def _check_hashes(hashes: Any) -> None:
    if not isinstance(hashes, dict) or not isinstance(hashes.get("sha256"), str):
        raise InvalidEvent("hashes has no sha256")


def _check_signatures(signatures: Any) -> None:
    if not isinstance(signatures, dict):
        raise InvalidEvent("signatures is not an object")
    for of_server in signatures.values():
        if not isinstance(of_server, dict) or not all(isinstance(value, str) for value in of_server.values()):
            raise InvalidEvent("signatures is not an object of objects of strings")
