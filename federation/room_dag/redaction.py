"""Redaction: an event without what its room version does not protect, and who may cause that.

Source: "Redactions" and "Handling redactions" of each room version.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from federation.room_dag.event import Event, decode_pdu
from federation.room_dag.hashes import encode_for_version
from federation.room_dag.identifiers import domain_of
from federation.room_dag.power_levels import PowerLevels
from federation.room_dag.redaction_rules import redacted_fields
from federation.room_dag.room_versions import RoomRules


def redact_pdu(pdu: Mapping[str, Any], rules: RoomRules) -> dict[str, Any]:
    """The redacted copy of a PDU; what is kept is shared with the original. ``unsigned`` is not kept."""
    return redacted_fields(pdu, rules)


def redact_event(event: Event) -> Event:
    """The same event, redacted: ID, hashes and signatures stay valid."""
    pdu = redacted_fields(decode_pdu(event), event.rules)
    redacts = event.redacts if "redacts" in pdu["content"] else None
    return replace(event, content=pdu["content"], redacts=redacts, json=encode_for_version(pdu, event.rules))


def is_redaction_allowed(redaction: Event, target: Event, power_levels: PowerLevels) -> bool:
    """Whether a redaction that is in the room is to be applied to the event that it names.

    `power_levels` are those of the state before the redaction. In room versions 1 and 2 the auth rules have
    decided.
    """
    if redaction.redacts != target.event_id or redaction.room_id != target.room_id:
        return False
    if redaction.rules.redaction_auth:
        return True
    # "1. The power level of the redaction event's `sender` is greater than or equal to the redact level."
    if power_levels.user_level(redaction.sender) >= power_levels.redact:
        return True
    # "2. The domain of the redaction event's `sender` matches that of the original event's `sender`."
    return domain_of(redaction.sender) == domain_of(target.sender)
