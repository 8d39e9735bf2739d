"""The checks of a PDU that need nothing but itself and its servers' keys.

Source: server-server API, "Checks performed on receipt of a PDU", 1 to 3.
"""

import logging
from collections.abc import Iterable
from typing import Any

from federation.room_dag.canonical_json import NotCanonical, check_json_depth
from federation.room_dag.event import Event, InvalidEvent, parse_event
from federation.room_dag.hashes import has_valid_content_hash
from federation.room_dag.redaction import redact_event
from federation.room_dag.room_versions import RoomRules
from federation.rooms.receiving.remote import EventVerifier

logger = logging.getLogger(__name__)

MAX_JSON_DEPTH = 500
"""What is deeper is no message to anybody, and Python's own JSON would stop at about 1,000."""


class CheckPdus:
    """From untrusted JSON to events that their servers have signed."""

    def __init__(self, verifier: EventVerifier) -> None:
        self._verifier = verifier

    async def check(self, pdu: Any, rules: RoomRules, room_id: str) -> Event:
        """The event, redacted if its hash is wrong. Raises `InvalidEvent` or `InvalidSignature`: drop it."""
        event = _redacted_if_changed(parse_pdu(pdu, rules, room_id), pdu)
        # 2. "Passes signature checks, otherwise it is dropped." Which servers must have signed is asked of the event as
        # it is used: a third-party invite, which its sender need not sign, may be an ordinary one once it is redacted.
        await self._verifier.verify(event)
        return event

    async def check_many(self, pdus: Iterable[Any], rules: RoomRules, room_id: str) -> dict[str, Event]:
        """Those that pass, by ID and in order. Keys are fetched for all of them together."""
        parsed: dict[str, Event] = {}
        for pdu in pdus:
            try:
                event = _redacted_if_changed(parse_pdu(pdu, rules, room_id), pdu)
            except InvalidEvent as error:
                logger.info("Dropped an event of %s: %s", room_id, error)
            else:
                parsed[event.event_id] = event
        invalid = await self._verifier.find_invalid(list(parsed.values()))
        for event_id, reason in invalid.items():
            logger.info("Dropped %s: %s", event_id, reason)
        return {event_id: event for event_id, event in parsed.items() if event_id not in invalid}


def parse_pdu(pdu: Any, rules: RoomRules, room_id: str) -> Event:
    """Check the format, and that the event is of the room. Raises `InvalidEvent`."""
    # 1. "Is a valid event, otherwise it is dropped."
    if not isinstance(pdu, dict):
        raise InvalidEvent("the event is not an object")
    try:
        check_json_depth(pdu, MAX_JSON_DEPTH)
    except NotCanonical as error:
        raise InvalidEvent(str(error)) from None
    event = parse_event(pdu, rules)
    if event.room_id != room_id:
        raise InvalidEvent("the event is of another room")
    return event


def parse_whole_pdu(pdu: Any, rules: RoomRules, room_id: str) -> Event:
    """As `parse_pdu`, for an event that its own server hands in: a redacted or changed one is no use. Raises
    `InvalidEvent`.
    """
    event = parse_pdu(pdu, rules, room_id)
    if _redacted_if_changed(event, pdu) is not event:
        raise InvalidEvent("the content hash does not match the event")
    return event


def _redacted_if_changed(event: Event, pdu: dict[str, Any]) -> Event:
    # 3. "Passes hash checks, otherwise it is redacted before being processed further."
    bare = {key: value for key, value in pdu.items() if key != "unsigned"}
    return event if has_valid_content_hash(bare, event.rules) else redact_event(event)
