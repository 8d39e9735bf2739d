"""Which keys of an event survive redaction, by room version.

``redaction`` has the public functions; hashing, which covers the redacted event, needs the bare rules.
Source: "Redactions" of each room version.
"""

from collections.abc import Mapping
from typing import Any, Final

from federation.room_dag.room_versions import RoomRules

_TOP_LEVEL: Final = frozenset(
    {
        "event_id",
        "type",
        "room_id",
        "sender",
        "state_key",
        "content",
        "hashes",
        "signatures",
        "depth",
        "prev_events",
        "auth_events",
        "origin_server_ts",
    }
)
_TOP_LEVEL_WITH_ORIGIN: Final = _TOP_LEVEL | {"prev_state", "origin", "membership"}

_POWER_LEVELS: Final = frozenset(
    {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
)
_HISTORY_VISIBILITY: Final = frozenset({"history_visibility"})
_NOTHING: Final[frozenset[str]] = frozenset()


def redacted_fields(pdu: Mapping[str, Any], rules: RoomRules) -> dict[str, Any]:
    """The redacted copy of a PDU; what is kept is shared with the original."""
    kept = _TOP_LEVEL_WITH_ORIGIN if rules.redaction_keeps_origin else _TOP_LEVEL
    redacted = {key: value for key, value in pdu.items() if key in kept}
    event_type = pdu.get("type")
    content = pdu.get("content")
    if isinstance(event_type, str) and isinstance(content, Mapping):
        redacted["content"] = redacted_content(event_type, content, rules)
    else:
        redacted["content"] = {}
    return redacted


def redacted_content(event_type: str, content: Mapping[str, Any], rules: RoomRules) -> dict[str, Any]:
    """The content keys that an event of this type keeps."""
    # "m.room.create allows all keys."
    if event_type == "m.room.create" and rules.redaction_keeps_create_content:
        return dict(content)
    kept = _kept_content_keys(event_type, rules)
    if not kept:
        return {}
    redacted = {key: value for key, value in content.items() if key in kept}
    if event_type == "m.room.member" and rules.redaction_keeps_third_party_signed:
        invite = content.get("third_party_invite")
        # "Additionally, it allows the `signed` key of the `third_party_invite` key."
        if isinstance(invite, Mapping) and "signed" in invite:
            redacted["third_party_invite"] = {"signed": invite["signed"]}
    return redacted


def _kept_content_keys(event_type: str, rules: RoomRules) -> frozenset[str]:
    match event_type:
        case "m.room.member":
            if rules.redaction_keeps_authorising_user:
                return frozenset({"membership", "join_authorised_via_users_server"})
            return frozenset({"membership"})
        case "m.room.create":
            return frozenset({"creator"})
        case "m.room.join_rules":
            return frozenset({"join_rule", "allow"} if rules.redaction_keeps_allow else {"join_rule"})
        case "m.room.power_levels":
            return _POWER_LEVELS | {"invite"} if rules.redaction_keeps_invite_level else _POWER_LEVELS
        case "m.room.aliases":
            return frozenset({"aliases"}) if rules.special_aliases_auth else _NOTHING
        case "m.room.history_visibility":
            return _HISTORY_VISIBILITY
        case "m.room.redaction":
            return frozenset({"redacts"}) if rules.redaction_keeps_redacts else _NOTHING
        case _:
            return _NOTHING
