"""The server-default push rules.

Source: client-server API, "Predefined Rules", version 1.17, which removed those that looked for names in bodies.
"""

from collections.abc import Mapping
from typing import Any, Final

MASTER: Final = ".m.rule.master"

KINDS: Final = ("override", "content", "room", "sender", "underride")
"""In the order in which they are checked."""

_NOTIFY: Final = ["notify"]
_NOTIFY_WITH_SOUND: Final = ["notify", {"set_tweak": "sound", "value": "default"}]
_RING: Final = ["notify", {"set_tweak": "sound", "value": "ring"}]
_HIGHLIGHT: Final = ["notify", {"set_tweak": "highlight"}]
_HIGHLIGHT_WITH_SOUND: Final = [
    "notify",
    {"set_tweak": "sound", "value": "default"},
    {"set_tweak": "highlight"},
]
_QUIET: Final[list[Any]] = []


def _match(key: str, pattern: str) -> Mapping[str, Any]:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _rule(rule_id: str, conditions: list[Any], actions: list[Any], enabled: bool = True) -> Mapping[str, Any]:
    return {
        "rule_id": rule_id,
        "default": True,
        "enabled": enabled,
        "conditions": conditions,
        "actions": actions,
    }


def default_rules(user_id: str) -> Mapping[str, list[Mapping[str, Any]]]:
    """The default rules of each kind that has any, for one user, highest priority first."""
    return {
        "override": [
            _rule(MASTER, [], _QUIET, enabled=False),
            _rule(".m.rule.suppress_notices", [_match("content.msgtype", "m.notice")], _QUIET),
            _rule(
                ".m.rule.invite_for_me",
                [
                    _match("type", "m.room.member"),
                    _match("content.membership", "invite"),
                    _match("state_key", user_id),
                ],
                _NOTIFY_WITH_SOUND,
            ),
            _rule(".m.rule.member_event", [_match("type", "m.room.member")], _QUIET),
            _rule(
                ".m.rule.is_user_mention",
                [
                    {
                        "kind": "event_property_contains",
                        "key": r"content.m\.mentions.user_ids",
                        "value": user_id,
                    }
                ],
                _HIGHLIGHT_WITH_SOUND,
            ),
            _rule(
                ".m.rule.is_room_mention",
                [
                    {"kind": "event_property_is", "key": r"content.m\.mentions.room", "value": True},
                    {"kind": "sender_notification_permission", "key": "room"},
                ],
                _HIGHLIGHT,
            ),
            _rule(
                ".m.rule.tombstone", [_match("type", "m.room.tombstone"), _match("state_key", "")], _HIGHLIGHT
            ),
            _rule(".m.rule.reaction", [_match("type", "m.reaction")], _QUIET),
            _rule(
                ".m.rule.room.server_acl",
                [_match("type", "m.room.server_acl"), _match("state_key", "")],
                _QUIET,
            ),
            _rule(
                ".m.rule.suppress_edits",
                [
                    {
                        "kind": "event_property_is",
                        "key": r"content.m\.relates_to.rel_type",
                        "value": "m.replace",
                    }
                ],
                _QUIET,
            ),
        ],
        "underride": [
            _rule(".m.rule.call", [_match("type", "m.call.invite")], _RING),
            _rule(
                ".m.rule.encrypted_room_one_to_one",
                [{"kind": "room_member_count", "is": "2"}, _match("type", "m.room.encrypted")],
                _NOTIFY_WITH_SOUND,
            ),
            _rule(
                ".m.rule.room_one_to_one",
                [{"kind": "room_member_count", "is": "2"}, _match("type", "m.room.message")],
                _NOTIFY_WITH_SOUND,
            ),
            _rule(".m.rule.message", [_match("type", "m.room.message")], _NOTIFY),
            _rule(".m.rule.encrypted", [_match("type", "m.room.encrypted")], _NOTIFY),
        ],
    }
