"""What other servers say of rooms, taken field by field: what is wrong or too long is as if it had not been said.

Source: client-server API, PublishedRoomsChunk, RoomSummary; server-server API, `/hierarchy/{roomId}`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from federation.room_dag.identifiers import is_room_alias, is_room_id, is_server_name, is_user_id
from popcube_server.services.rooms.room_summaries import (
    CHILD,
    RESTRICTED_RULES,
    RoomSummary,
    SpaceChild,
    in_order,
    is_order,
    read_child,
)

MAX_NAME_CHARACTERS: Final = 1_000
MAX_TOPIC_CHARACTERS: Final = 4_000
MAX_WORD_CHARACTERS: Final = 255
MAX_ALLOWED_ROOMS: Final = 100
MAX_CHILDREN: Final = 2_000
MAX_VIA: Final = 20
MAX_INTEGER: Final = 2**53 - 1


def read_room(value: Any) -> RoomSummary | None:
    """A room, without its children; None if it says not even which room it is and who may see it."""
    if not isinstance(value, dict):
        return None
    room_id, members = value.get("room_id"), value.get("num_joined_members")
    flags = value.get("world_readable"), value.get("guest_can_join")
    if not isinstance(room_id, str) or not is_room_id(room_id) or not _is_integer(members):
        return None
    if not all(isinstance(flag, bool) for flag in flags):
        return None
    # "The room's join rule. When not present, the room is assumed to be `public`."
    join_rule = value.get("join_rule", "public")
    if not isinstance(join_rule, str) or not 0 < len(join_rule) <= MAX_WORD_CHARACTERS:
        return None
    alias, avatar = value.get("canonical_alias"), _word(value, "avatar_url", MAX_NAME_CHARACTERS)
    return RoomSummary(
        room_id,
        _word(value, "room_version"),
        _word(value, "room_type"),
        _text(value, "name", MAX_NAME_CHARACTERS),
        _text(value, "topic", MAX_TOPIC_CHARACTERS),
        alias if isinstance(alias, str) and is_room_alias(alias) else None,
        avatar if avatar is not None and avatar.startswith("mxc://") else None,
        _word(value, "encryption"),
        join_rule,
        _room_ids(value.get("allowed_room_ids")) if join_rule in RESTRICTED_RULES else (),
        value["world_readable"],
        value["guest_can_join"],
        value["num_joined_members"],
        (),
        None,
    )


def read_children(value: Any) -> Sequence[SpaceChild]:
    """The children of a space, in order, from its `children_state`."""
    entries = value[:MAX_CHILDREN] if isinstance(value, list) else ()
    by_room = {child.room_id: child for entry in entries if (child := _read_child(entry)) is not None}
    return in_order(by_room.values())


def size_of(room: RoomSummary) -> int:
    """About how many bytes a room takes in memory."""
    texts = (
        room.room_id,
        room.name,
        room.topic,
        room.canonical_alias,
        room.avatar_url,
        *room.allowed_room_ids,
    )
    children = sum(500 + 100 * len(child.via) for child in room.children)
    return 500 + 2 * sum(len(text) for text in texts if text is not None) + children


def _read_child(value: Any) -> SpaceChild | None:
    if not isinstance(value, dict) or value.get("type") != CHILD:
        return None
    room_id, sender, timestamp = value.get("state_key"), value.get("sender"), value.get("origin_server_ts")
    content = value.get("content")
    if not isinstance(room_id, str) or not is_room_id(room_id) or not _is_integer(timestamp):
        return None
    if not isinstance(sender, str) or not is_user_id(sender) or not isinstance(content, dict):
        return None
    stripped = {
        "type": CHILD,
        "state_key": room_id,
        "sender": sender,
        "content": _child_content(content),
        "origin_server_ts": timestamp,
    }
    return read_child(stripped)


def _child_content(content: Mapping[str, Any]) -> Mapping[str, Any]:
    via, order = content.get("via"), content.get("order")
    checked: dict[str, Any] = {}
    if isinstance(via, list):
        servers = (server for server in via[:MAX_VIA] if isinstance(server, str) and is_server_name(server))
        checked["via"] = list(dict.fromkeys(servers))
    if is_order(order):
        checked["order"] = order
    if content.get("suggested") is True:
        checked["suggested"] = True
    return checked


def _room_ids(value: Any) -> Sequence[str]:
    room_ids = value[:MAX_ALLOWED_ROOMS] if isinstance(value, list) else ()
    return tuple(room_id for room_id in room_ids if isinstance(room_id, str) and is_room_id(room_id))


def _text(value: Mapping[str, Any], key: str, max_characters: int) -> str | None:
    """What people read is cut."""
    text = value.get(key)
    return text[:max_characters] if isinstance(text, str) and text else None


def _word(value: Mapping[str, Any], key: str, max_characters: int = MAX_WORD_CHARACTERS) -> str | None:
    """What programs read is whole or not there."""
    word = value.get(key)
    return word if isinstance(word, str) and 0 < len(word) <= max_characters else None


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER
