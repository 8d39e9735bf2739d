"""m.relates_to, read from hostile content: whatever is not well-formed is no relation."""

from collections.abc import Mapping
from typing import Any

from storage.events import Relation

THREAD = "m.thread"
ANNOTATION = "m.annotation"
REPLACE = "m.replace"
REFERENCE = "m.reference"

_MAX_ANNOTATION_BYTES = 1024


def find_relation(content: Mapping[str, Any]) -> Relation | None:
    """The relation of an event, if it has one."""
    relates_to = content.get("m.relates_to")
    if not isinstance(relates_to, dict):
        return None
    rel_type = relates_to.get("rel_type")
    parent = relates_to.get("event_id")
    if not isinstance(rel_type, str) or not isinstance(parent, str):
        return None
    if len(rel_type.encode()) > 255 or len(parent.encode()) > 255 or "\x00" in parent:
        return None
    key = relates_to.get("key") if rel_type == ANNOTATION else None
    if not isinstance(key, str) or len(key.encode()) > _MAX_ANNOTATION_BYTES:
        key = None
    return Relation(parent, rel_type, key)
