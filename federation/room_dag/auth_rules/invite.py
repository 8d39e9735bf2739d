"""Rule 5.4: invites, also those of third-party identifiers."""

from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any, Final

from federation.room_dag.auth_rules.auth_state import AuthState
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.base64 import decode_base64
from federation.room_dag.canonical_json import NotCanonical
from federation.room_dag.event import Event
from federation.room_dag.signing import InvalidSignature, json_signed_bytes, verify_bytes

_MAX_VERIFICATIONS: Final = 256


def check_invite(event: Event, target: str, state: AuthState) -> None:
    """Raise NotAllowed if the target may not be invited."""
    # 5.4.1: "If `content` has a `third_party_invite` property"
    if "third_party_invite" in event.content:
        _check_third_party_invite(event, target, state)
        return
    # 5.4.2: "If the `sender`'s current membership state is not `join`, reject."
    if state.membership_of(event.sender) != "join":
        raise NotAllowed(f"{event.sender} is not in the room")
    # 5.4.3: "If target user's current membership state is `join` or `ban`, reject."
    if state.membership_of(target) in ("join", "ban"):
        raise NotAllowed(f"{target} is already in the room or banned")
    # 5.4.4: "If the `sender`'s power level is greater than or equal to the invite level, allow."
    levels = state.power_levels
    if levels.user_level(event.sender) < levels.invite:
        raise NotAllowed(f"{event.sender} has not the power level to invite")


def _check_third_party_invite(event: Event, target: str, state: AuthState) -> None:
    # 5.4.1.1: "If target user is banned, reject."
    if state.membership_of(target) == "ban":
        raise NotAllowed(f"{target} is banned from the room")
    # 5.4.1.2: "If `content.third_party_invite` does not have a `signed` property, reject."
    invite = event.content["third_party_invite"]
    signed = invite.get("signed") if isinstance(invite, dict) else None
    if not isinstance(signed, dict):
        raise NotAllowed("the third-party invite is not signed")
    # 5.4.1.3: "If `signed` does not have `mxid` and `token` properties, reject."
    token = signed.get("token")
    if "mxid" not in signed or not isinstance(token, str):
        raise NotAllowed("the third-party invite names no user or no token")
    # 5.4.1.4: "If `mxid` does not match `state_key`, reject."
    if signed["mxid"] != target:
        raise NotAllowed("the third-party invite is of another user")
    # 5.4.1.5: "If there is no `m.room.third_party_invite` event in the current room state with `state_key`
    # matching `token`, reject."
    origin = state.lookup(("m.room.third_party_invite", token))
    if origin is None:
        raise NotAllowed("the third-party invite is unknown to the room")
    # 5.4.1.6: "If `sender` does not match `sender` of the `m.room.third_party_invite`, reject."
    if event.sender != origin.sender:
        raise NotAllowed("the third-party invite is of another sender")
    # 5.4.1.7: "If any signature in `signed` matches any public key in the `m.room.third_party_invite` event,
    # allow."
    if not _is_signed_by_any(signed, list(_public_keys(origin.content))):
        raise NotAllowed("no key of the third-party invite has signed it")


def _public_keys(content: Mapping[str, Any]) -> Iterator[bytes]:
    # "1. A single public key in the `public_key` property. 2. A list of public keys in the `public_keys`
    # property."
    encoded = [content.get("public_key")]
    many = content.get("public_keys")
    if isinstance(many, list):
        encoded += [entry.get("public_key") for entry in many if isinstance(entry, dict)]
    for text in encoded:
        if isinstance(text, str):
            try:
                yield decode_base64(text)
            except ValueError:
                # A key that is none matches nothing; the others count.
                continue


def _is_signed_by_any(signed: Mapping[str, Any], keys: list[bytes]) -> bool:
    try:
        message = json_signed_bytes(signed)
    except NotCanonical:
        return False
    pairs = product(_ed25519_signatures(signed), keys)
    # NOTSPEC: an event has room for hundreds of keys and signatures; trying them all would take seconds.
    return any(_is_valid(message, text, key) for text, key in islice(pairs, _MAX_VERIFICATIONS))


def _ed25519_signatures(signed: Mapping[str, Any]) -> Iterator[str]:
    signatures = signed.get("signatures")
    for of_entity in signatures.values() if isinstance(signatures, dict) else ():
        for key_id, signature in of_entity.items() if isinstance(of_entity, dict) else ():
            if key_id.startswith("ed25519:") and isinstance(signature, str):
                yield signature


def _is_valid(message: bytes, signature: str, key: bytes) -> bool:
    try:
        verify_bytes(message, signature, key)
    except InvalidSignature:
        return False
    return True
