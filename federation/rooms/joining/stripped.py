"""Stripped state that other servers send, read from hostile JSON; and member events outside of rooms."""

from dataclasses import replace
from typing import Any

from federation.room_dag.canonical_json import NotCanonical, encode_lenient
from federation.room_dag.event import Event
from federation.rooms.receiving.keep_outliers import outlier
from storage.events import StoreEvent
from storage.memberships import MembershipChange


def strip_entry(entry: Any) -> bytes | None:
    """JSON with nothing but `content`, `sender`, `state_key` and `type`; None if that is not what came."""
    if not isinstance(entry, dict) or not isinstance(entry.get("content"), dict):
        return None
    if not all(isinstance(entry.get(key), str) for key in ("sender", "state_key", "type")):
        return None
    try:
        return encode_lenient({key: entry[key] for key in ("content", "sender", "state_key", "type")})
    except NotCanonical:
        return None


def strip_event(event: Event) -> bytes:
    """The stripped form of an event that was checked."""
    return encode_lenient(
        {"content": event.content, "sender": event.sender, "state_key": event.state_key, "type": event.type}
    )


def member_outlier(event: Event, membership: str) -> StoreEvent:
    """A member event in a room that this server is not in: all that it knows is where its user stands."""
    change = MembershipChange(event.state_key or "", membership, event.event_id)
    return replace(outlier(event), memberships=(change,))
