"""Which state of the room gives the permission to send an event.

Source: server-server API, "Auth events selection".
"""

from collections.abc import Mapping
from typing import Any, Final

from federation.room_dag.room_versions import RoomRules

CREATE_PAIR: Final = ("m.room.create", "")
POWER_LEVELS_PAIR: Final = ("m.room.power_levels", "")
JOIN_RULES_PAIR: Final = ("m.room.join_rules", "")


def auth_state_keys(
    rules: RoomRules, event_type: str, sender: str, state_key: str | None, content: Mapping[str, Any]
) -> tuple[tuple[str, str], ...]:
    """The state entries whose events are the auth events of such an event; without duplicates."""
    # "The `auth_events` for the `m.room.create` event in a room is empty"
    if event_type == "m.room.create":
        return ()
    sender_pair = ("m.room.member", sender)
    if event_type != "m.room.member" or state_key is None:
        if rules.room_create_in_auth_events:
            return (CREATE_PAIR, POWER_LEVELS_PAIR, sender_pair)
        # Version 12: "The `m.room.create` event MUST NOT be selected for `auth_events` on events."
        return (POWER_LEVELS_PAIR, sender_pair)
    keys = [CREATE_PAIR] if rules.room_create_in_auth_events else []
    keys += [POWER_LEVELS_PAIR, sender_pair]
    keys += _member_keys(rules, state_key, content)
    return tuple(dict.fromkeys(keys))


def _member_keys(rules: RoomRules, target: str, content: Mapping[str, Any]) -> list[tuple[str, str]]:
    # "The target's current `m.room.member` event, if any."
    keys = [("m.room.member", target)]
    membership = content.get("membership")
    # "If `membership` is `join`, `invite` or `knock`, the current `m.room.join_rules` event, if any."
    if membership in ("join", "invite", "knock"):
        keys.append(JOIN_RULES_PAIR)
    if membership == "invite":
        # "the current `m.room.third_party_invite` event with `state_key` matching
        # `content.third_party_invite.signed.token`, if any"
        token = _third_party_token(content)
        if token is not None:
            keys.append(("m.room.third_party_invite", token))
    # "If `content.join_authorised_via_users_server` is present, and the room version supports restricted
    # rooms, then the `m.room.member` event with `state_key` matching
    # `content.join_authorised_via_users_server`."
    authorising_user = content.get("join_authorised_via_users_server")
    if rules.restricted_joins and isinstance(authorising_user, str):
        keys.append(("m.room.member", authorising_user))
    return keys


def _third_party_token(content: Mapping[str, Any]) -> str | None:
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    token = signed.get("token") if isinstance(signed, dict) else None
    return token if isinstance(token, str) else None
