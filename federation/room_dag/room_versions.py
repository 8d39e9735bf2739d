"""What differs between room versions, as data.

Ask ``rules.restricted_joins``, never compare version numbers: versions are opaque strings.
Source: the pages of room versions 1 to 12 of the specification.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from synapse_like_config.lazy_dataclasses import dataclass


class UnknownRoomVersion(ValueError):
    """The room version is not one that this server supports."""

    def __init__(self, version: str) -> None:
        super().__init__(f"unknown room version: {version!r}")
        self.version = version


class EventFormat(Enum):
    """How a PDU names other events and itself."""

    ID_AND_HASH_PAIRS = "pairs"
    """``event_id`` is in the PDU; prev and auth events are ``[event_id, {"sha256": hash}]`` pairs."""
    ID_LISTS = "ids"
    """No ``event_id`` in the PDU; prev and auth events are lists of event IDs."""


class EventIdFormat(Enum):
    """What an event ID looks like."""

    LOCALPART_AND_DOMAIN = "localpart"
    """``$opaque:domain``, chosen by the server that made the event."""
    HASH_BASE64 = "base64"
    """``$`` and the reference hash in standard unpadded Base64."""
    HASH_URL_SAFE_BASE64 = "base64url"
    """``$`` and the reference hash in URL-safe unpadded Base64."""


class StateResolution(Enum):
    """The algorithm that merges the states of branches."""

    V1 = "1"
    V2 = "2"
    V2_1 = "2.1"


@dataclass(frozen=True, slots=True)
class RoomRules:
    """One room version: a field for each thing in which versions differ."""

    version: str

    event_format: EventFormat
    event_id_format: EventIdFormat
    state_resolution: StateResolution

    strict_canonical_json: bool
    """Floats and integers outside of 53 bits make an event invalid."""
    enforce_key_validity: bool
    """A signature counts only if the key was valid at the event's ``origin_server_ts``."""

    special_aliases_auth: bool
    """``m.room.aliases`` has an auth rule and a protected content key of its own."""
    redaction_auth: bool
    """``m.room.redaction`` is checked against the redact level by the auth rules."""
    guarded_notifications: bool
    """Changes to ``notifications`` power levels are limited like those to ``events``."""
    knocking: bool
    restricted_joins: bool
    knock_restricted_joins: bool
    integer_power_levels: bool
    """Power levels must be JSON integers and their maps well-formed; else strings of an integer count too."""

    creator_in_content: bool
    """The creator is ``content.creator`` of the create event, else its sender."""
    redacts_in_content: bool
    """``redacts`` stands in the content of a redaction, else beside it."""

    redaction_keeps_origin: bool
    """Redaction keeps the top-level ``origin``, ``membership`` and ``prev_state``."""
    redaction_keeps_allow: bool
    """Redaction keeps ``allow`` of join rules."""
    redaction_keeps_authorising_user: bool
    """Redaction keeps ``join_authorised_via_users_server`` of members."""
    redaction_keeps_create_content: bool
    """Redaction keeps all content of the create event, else only ``creator``."""
    redaction_keeps_redacts: bool
    """Redaction keeps ``content.redacts`` of redactions."""
    redaction_keeps_invite_level: bool
    """Redaction keeps ``invite`` of power levels."""
    redaction_keeps_third_party_signed: bool
    """Redaction keeps ``third_party_invite.signed`` of members."""

    room_id_is_create_hash: bool
    """The room ID is the create event's ID with ``!``; the create event has no ``room_id``."""
    room_create_in_auth_events: bool
    """Events name the create event among their auth events, else the room ID implies it."""
    privileged_creators: bool
    """Creators (sender and ``additional_creators``) outrank every power level."""


_V1: Final = RoomRules(
    version="1",
    event_format=EventFormat.ID_AND_HASH_PAIRS,
    event_id_format=EventIdFormat.LOCALPART_AND_DOMAIN,
    state_resolution=StateResolution.V1,
    strict_canonical_json=False,
    enforce_key_validity=False,
    special_aliases_auth=True,
    redaction_auth=True,
    guarded_notifications=False,
    knocking=False,
    restricted_joins=False,
    knock_restricted_joins=False,
    integer_power_levels=False,
    creator_in_content=True,
    redacts_in_content=False,
    redaction_keeps_origin=True,
    redaction_keeps_allow=False,
    redaction_keeps_authorising_user=False,
    redaction_keeps_create_content=False,
    redaction_keeps_redacts=False,
    redaction_keeps_invite_level=False,
    redaction_keeps_third_party_signed=False,
    room_id_is_create_hash=False,
    room_create_in_auth_events=True,
    privileged_creators=False,
)
_V2: Final = replace(_V1, version="2", state_resolution=StateResolution.V2)
_V3: Final = replace(
    _V2,
    version="3",
    event_format=EventFormat.ID_LISTS,
    event_id_format=EventIdFormat.HASH_BASE64,
    redaction_auth=False,
)
_V4: Final = replace(_V3, version="4", event_id_format=EventIdFormat.HASH_URL_SAFE_BASE64)
_V5: Final = replace(_V4, version="5", enforce_key_validity=True)
_V6: Final = replace(
    _V5, version="6", strict_canonical_json=True, special_aliases_auth=False, guarded_notifications=True
)
_V7: Final = replace(_V6, version="7", knocking=True)
_V8: Final = replace(_V7, version="8", restricted_joins=True, redaction_keeps_allow=True)
_V9: Final = replace(_V8, version="9", redaction_keeps_authorising_user=True)
_V10: Final = replace(_V9, version="10", knock_restricted_joins=True, integer_power_levels=True)
_V11: Final = replace(
    _V10,
    version="11",
    creator_in_content=False,
    redacts_in_content=True,
    redaction_keeps_origin=False,
    redaction_keeps_create_content=True,
    redaction_keeps_redacts=True,
    redaction_keeps_invite_level=True,
    redaction_keeps_third_party_signed=True,
)
_V12: Final = replace(
    _V11,
    version="12",
    state_resolution=StateResolution.V2_1,
    room_id_is_create_hash=True,
    room_create_in_auth_events=False,
    privileged_creators=True,
)

ROOM_VERSIONS: Final[Mapping[str, RoomRules]] = MappingProxyType(
    {rules.version: rules for rules in (_V1, _V2, _V3, _V4, _V5, _V6, _V7, _V8, _V9, _V10, _V11, _V12)}
)
"""Every supported room version, oldest first."""


def get_room_rules(version: str) -> RoomRules:
    """The rules of a room version; raises UnknownRoomVersion."""
    rules = ROOM_VERSIONS.get(version)
    if rules is None:
        raise UnknownRoomVersion(version)
    return rules
