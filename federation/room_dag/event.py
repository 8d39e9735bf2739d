"""An event, and the ways to get one: parse a stranger's PDU, load one's own row, build and sign a new one.

An event is immutable and knows the rules of its room version. ``Event.json`` is the PDU as it is stored, sent
and never serialized again: canonical JSON with hashes and signatures, without ``unsigned``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from hashlib import sha256
from typing import Any, Final

import orjson

from federation.room_dag.base64 import encode_base64
from federation.room_dag.canonical_json import NotCanonical, decode_exact, encode_lenient
from federation.room_dag.event_format import (
    MAX_AUTH_EVENTS,
    MAX_EVENT_BYTES,
    MAX_PREV_EVENTS,
    EventTooLarge,
    InvalidEvent,
    check_pdu_format,
    check_size,
    max_depth,
    referenced_ids,
)
from federation.room_dag.hashes import (
    derive_event_id,
    encode_for_version,
    event_id_of_hash,
    reference_hash,
    room_id_of_create,
    signed_bytes,
)
from federation.room_dag.identifiers import InvalidIdentifier, check_user_id
from federation.room_dag.redaction_rules import redacted_content
from federation.room_dag.room_versions import EventFormat, EventIdFormat, RoomRules
from federation.room_dag.signing import EventSigner
from synapse_like_config.lazy_dataclasses import dataclass

__all__ = [
    "Event",
    "EventTemplate",
    "EventTooLarge",
    "InvalidEvent",
    "build_event",
    "client_fields",
    "decode_pdu",
    "load_event",
    "parse_event",
    "reference_hash_base64",
    "sign_event",
]

_CREATE: Final = "m.room.create"
_REDACTION: Final = "m.room.redaction"


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One event of a room; two are equal if their IDs are.

    `redacts` is the event that a redaction redacts, from wherever the room version keeps it; None for other
    types. `prev_events` and `auth_events` are event IDs in all room versions.
    """

    event_id: str
    room_id: str
    type: str
    sender: str
    state_key: str | None
    content: Mapping[str, Any]
    origin_server_ts: int
    depth: int
    prev_events: tuple[str, ...]
    auth_events: tuple[str, ...]
    redacts: str | None
    rules: RoomRules = field(repr=False)
    json: bytes = field(repr=False)

    @property
    def is_state(self) -> bool:
        """Whether the event sets room state."""
        return self.state_key is not None

    @property
    def state_pair(self) -> tuple[str, str]:
        """The key of the event in the room state; only for state events."""
        if self.state_key is None:
            raise ValueError(f"{self.event_id} is not a state event")
        return self.type, self.state_key

    @property
    def membership(self) -> str | None:
        """``content.membership`` if it is a string."""
        membership = self.content.get("membership")
        return membership if isinstance(membership, str) else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self.event_id == other.event_id

    def __hash__(self) -> int:
        return hash(self.event_id)


@dataclass(frozen=True, slots=True)
class EventTemplate:
    """What the room engine decides about a new event; hashes, signature and ID are what build_event adds.

    `room_id` is None only for a create event of a room version whose room IDs are its hash. `redacts` is put
    where the version wants it. `reference_hashes` has the Base64 reference hash of each prev and auth event,
    which only room versions 1 and 2 write into the event; None for one that is known by its ID alone.
    """

    type: str
    sender: str
    room_id: str | None
    state_key: str | None
    content: Mapping[str, Any]
    origin_server_ts: int
    depth: int
    prev_events: Sequence[str]
    auth_events: Sequence[str]
    redacts: str | None = None
    reference_hashes: Mapping[str, str | None] = field(default_factory=dict)


def parse_event(pdu: dict[str, Any], rules: RoomRules) -> Event:
    """Check the format of an untrusted PDU and derive its ID; raises InvalidEvent.

    Neither signatures nor the content hash are checked here.
    """
    check_pdu_format(pdu, rules)
    # `unsigned` is not part of what is hashed, signed or stored.
    bare = {key: value for key, value in pdu.items() if key != "unsigned"}
    try:
        json = encode_for_version(bare, rules)
        event_id = derive_event_id(bare, rules)
    except NotCanonical as error:
        raise InvalidEvent(f"not canonical JSON: {error}") from None
    _check_event_size(json)
    return _make_event(event_id, bare, json, rules)


def load_event(event_id: str, json: bytes, rules: RoomRules) -> Event:
    """An event of which `json` was stored by this server: nothing is checked."""
    return _make_event(event_id, orjson.loads(json), json, rules)


def decode_pdu(event: Event) -> dict[str, Any]:
    """The whole PDU as a new dict, such that it has the same canonical JSON again."""
    pdu: dict[str, Any]
    pdu = orjson.loads(event.json) if event.rules.strict_canonical_json else decode_exact(event.json)
    return pdu


def reference_hash_base64(event: Event) -> str:
    """The reference hash as room versions 1 and 2 write it beside the event ID."""
    return encode_base64(reference_hash(decode_pdu(event), event.rules))


def sign_event(event: Event, signer: EventSigner) -> Event:
    """The event with one more signature, as for invites to local users and restricted joins."""
    pdu = decode_pdu(event)
    signature = signer.sign_bytes(signed_bytes(pdu, event.rules))
    pdu["signatures"].setdefault(signer.server_name, {})[signer.key_id] = signature
    json = encode_for_version(pdu, event.rules)
    _check_event_size(json)
    return replace(event, json=json)


def build_event(
    template: EventTemplate, rules: RoomRules, signer: EventSigner, local_id: str | None = None
) -> Event:
    """Hash, sign and name a new event; raises InvalidEvent, of which EventTooLarge is one.

    `local_id` is the localpart of the event ID, unique on this server: only for room versions 1 and 2.

    The three forms of an event that are needed (hashed, signed, stored) differ in a few keys, so they are put
    together from the same serialized pieces, in the order of canonical JSON.
    """
    _check_template(template, rules)
    content = template.content
    top_level_redacts = b""
    if template.redacts is not None:
        if rules.redacts_in_content:
            content = {**content, "redacts": template.redacts}
        else:
            top_level_redacts = b',"redacts":' + orjson.dumps(template.redacts)
    try:
        content_json = encode_for_version(content, rules)
        kept_content = redacted_content(template.type, content, rules)
        kept_json = encode_for_version(kept_content, rules) if kept_content else b"{}"
        auth_events = b'{"auth_events":' + _encode_references(template.auth_events, template, rules)
        prev_events = _encode_references(template.prev_events, template, rules)
        # The room ID and the sender go together; a create event whose hash is the room ID has only the
        # latter.
        room = b"" if template.room_id is None else b',"room_id":' + orjson.dumps(template.room_id)
        sender = b',"sender":' + orjson.dumps(template.sender)
        tail = b',"type":' + orjson.dumps(template.type) + b"}"
        if template.state_key is not None:
            tail = b',"state_key":' + orjson.dumps(template.state_key) + tail
    except (NotCanonical, orjson.JSONEncodeError) as error:
        raise InvalidEvent(f"not canonical JSON: {error}") from None
    named_id = _choose_event_id(rules, signer, local_id)
    depth = b',"depth":%d' % template.depth
    if named_id is not None:
        depth += b',"event_id":' + orjson.dumps(named_id)
    middle = b',"origin_server_ts":%d,"prev_events":' % template.origin_server_ts + prev_events

    whole = auth_events + b',"content":' + content_json + depth
    end = middle + top_level_redacts + room + sender
    content_digest = encode_base64(sha256(whole + end + tail).digest()).encode("ascii")
    hashes = b',"hashes":{"sha256":"' + content_digest + b'"}'
    # "The event object is then redacted ... Finally it is signed": the top-level `redacts` is not kept.
    signed = auth_events + b',"content":' + kept_json + depth + hashes + middle + room + sender + tail
    signature = signer.sign_bytes(signed)
    signatures = b',"signatures":' + orjson.dumps({signer.server_name: {signer.key_id: signature}})
    json = whole + hashes + end + signatures + tail
    _check_event_size(json)
    # What is signed is just what the reference hash covers.
    event_id = named_id if named_id is not None else event_id_of_hash(sha256(signed).digest(), rules)
    return Event(
        event_id,
        template.room_id if template.room_id is not None else room_id_of_create(event_id),
        template.type,
        template.sender,
        template.state_key,
        content,
        template.origin_server_ts,
        template.depth,
        tuple(template.prev_events),
        tuple(template.auth_events),
        _find_redacts(template.type, content, template.redacts, rules),
        rules,
        json,
    )


def client_fields(event: Event) -> bytes:
    """The event as clients see it, as JSON text without ``room_id``, ``unsigned`` and the closing brace.

    Callers splice ``,"room_id":...``, ``,"unsigned":{...}`` and ``}`` behind it.
    """
    content = event.content
    redacts = event.redacts
    if redacts is not None and "redacts" not in content:
        # Version 11: "servers should add a `redacts` property to the `content` of `m.room.redaction` events
        # in *older* room versions when serving such events over the Client-Server API."
        content = {**content, "redacts": redacts}
    fields = {
        "content": content,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
        "sender": event.sender,
        "type": event.type,
    }
    if event.state_key is not None:
        fields["state_key"] = event.state_key
    if redacts is not None:
        # "servers should add a `redacts` property to the top level of `m.room.redaction` events"
        fields["redacts"] = redacts
    try:
        return orjson.dumps(fields)[:-1]
    except orjson.JSONEncodeError:
        # orjson refuses integers beyond 64 bits, which room versions 1 to 5 allow, and more than 254 levels.
        return encode_lenient(fields)[:-1]


def _make_event(event_id: str, pdu: Mapping[str, Any], json: bytes, rules: RoomRules) -> Event:
    event_type = pdu["type"]
    content = pdu["content"]
    room_id = pdu.get("room_id")
    return Event(
        event_id,
        # Version 12: "The room ID is the event ID of the event with sigil `!` instead of `$`."
        room_id if room_id is not None else room_id_of_create(event_id),
        event_type,
        pdu["sender"],
        pdu.get("state_key"),
        content,
        pdu["origin_server_ts"],
        pdu["depth"],
        referenced_ids(pdu["prev_events"], rules),
        referenced_ids(pdu["auth_events"], rules),
        _find_redacts(event_type, content, pdu.get("redacts"), rules),
        rules,
        json,
    )


def _find_redacts(
    event_type: str, content: Mapping[str, Any], top_level: Any, rules: RoomRules
) -> str | None:
    if event_type != _REDACTION:
        return None
    redacts = content.get("redacts") if rules.redacts_in_content else top_level
    return redacts if isinstance(redacts, str) else None


def _check_event_size(json: bytes) -> None:
    # "The complete event MUST NOT be larger than 65536 bytes, when formatted with the federation event
    # format, including any signatures, and encoded as Canonical JSON."
    if len(json) > MAX_EVENT_BYTES:
        raise EventTooLarge(f"the event has more than {MAX_EVENT_BYTES} bytes")


def _check_template(template: EventTemplate, rules: RoomRules) -> None:
    check_size("type", template.type)
    check_size("sender", template.sender)
    if template.state_key is not None:
        check_size("state_key", template.state_key)
    if template.room_id is not None:
        check_size("room_id", template.room_id)
    defines_room_id = rules.room_id_is_create_hash and template.type == _CREATE and template.state_key == ""
    if defines_room_id is (template.room_id is not None):
        raise InvalidEvent("the room ID is missing, or given for the event that defines it")
    try:
        check_user_id(template.sender)
    except InvalidIdentifier as error:
        raise InvalidEvent(str(error)) from None
    if len(template.prev_events) > MAX_PREV_EVENTS or len(template.auth_events) > MAX_AUTH_EVENTS:
        raise InvalidEvent("the event has too many prev or auth events")
    if not 0 <= template.depth <= max_depth(rules):
        raise InvalidEvent("the depth is out of range")


def _choose_event_id(rules: RoomRules, signer: EventSigner, local_id: str | None) -> str | None:
    if rules.event_id_format is not EventIdFormat.LOCALPART_AND_DOMAIN:
        return None
    if not local_id:
        raise InvalidEvent("this room version needs a localpart for the event ID")
    event_id = f"${local_id}:{signer.server_name}"
    check_size("event_id", event_id)
    return event_id


def _encode_references(event_ids: Sequence[str], template: EventTemplate, rules: RoomRules) -> bytes:
    if rules.event_format is EventFormat.ID_LISTS:
        return orjson.dumps(event_ids)
    try:
        hashes = [template.reference_hashes[event_id] for event_id in event_ids]
    except KeyError as error:
        raise InvalidEvent(f"the reference hash of {error} is not given") from None
    return orjson.dumps(
        [
            [event_id, {} if value is None else {"sha256": value}]
            for event_id, value in zip(event_ids, hashes, strict=True)
        ]
    )
