"""What a client may ask for when it creates a room, and what follows from it.

Source: client-server API, createRoom and "Creation".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from federation.room_dag.room_versions import RoomRules
from popcube_server.services.rooms.invite_by_address import AddressInvite
from synapse_like_config.lazy_dataclasses import dataclass

StateDraft = tuple[str, str, Mapping[str, Any]]
"""Type, state key, content."""


@dataclass(frozen=True, slots=True)
class RoomOptions:
    """The body of a createRoom request, parsed."""

    preset: str | None = None
    visibility: str = "private"
    name: str | None = None
    topic: str | None = None
    room_alias_name: str | None = None
    room_version: str | None = None
    creation_content: Mapping[str, Any] | None = None
    power_level_content_override: Mapping[str, Any] | None = None
    initial_state: Sequence[StateDraft] = ()
    invite: Sequence[str] = ()
    invite_by_address: Sequence[AddressInvite] = ()
    is_direct: bool = False

    @property
    def effective_preset(self) -> str:
        """The preset; by the visibility if none was given."""
        if self.preset is not None:
            return self.preset
        return "public_chat" if self.visibility == "public" else "private_chat"


_PRESETS: Mapping[str, tuple[str, str, str]] = {
    # join rule, history visibility, guest access
    "private_chat": ("invite", "shared", "can_join"),
    "trusted_private_chat": ("invite", "shared", "can_join"),
    "public_chat": ("public", "shared", "forbidden"),
}

PRESETS = tuple(_PRESETS)


def create_content(options: RoomOptions, rules: RoomRules, creator: str) -> dict[str, Any]:
    """The content of m.room.create."""
    content = dict(options.creation_content or {})
    content["room_version"] = rules.version
    if rules.creator_in_content:
        content["creator"] = creator
    else:
        content.pop("creator", None)
    if rules.privileged_creators and options.effective_preset == "trusted_private_chat" and options.invite:
        # "In room version 12 ... the invitees are added to `additional_creators`."
        given = content.get("additional_creators")
        others = [*(given if isinstance(given, list) else []), *options.invite]
        content["additional_creators"] = list(dict.fromkeys(user for user in others if user != creator))
    return content


def power_levels(
    options: RoomOptions, rules: RoomRules, creator: str, server_override: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of m.room.power_levels."""
    trusted = options.effective_preset == "trusted_private_chat"
    users: dict[str, int] = {}
    if not rules.privileged_creators:
        users[creator] = 100
        if trusted:
            users.update((user, 100) for user in options.invite)
    content: dict[str, Any] = {
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.canonical_alias": 50,
            "m.room.avatar": 50,
            # "servers SHOULD ... above state_default, for example 150": only creators may upgrade a room.
            "m.room.tombstone": 150 if rules.privileged_creators else 100,
            "m.room.server_acl": 100,
            "m.room.encryption": 100,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 50 if options.effective_preset == "public_chat" else 0,
    }
    content.update(server_override)
    content.update(options.power_level_content_override or {})
    return content


def preset_state(options: RoomOptions, encrypted_by_default: bool) -> list[StateDraft]:
    """What the preset sets and initial_state does not."""
    join_rule, history_visibility, guest_access = _PRESETS[options.effective_preset]
    drafts: list[StateDraft] = [
        ("m.room.join_rules", "", {"join_rule": join_rule}),
        ("m.room.history_visibility", "", {"history_visibility": history_visibility}),
        ("m.room.guest_access", "", {"guest_access": guest_access}),
    ]
    if encrypted_by_default:
        drafts.append(("m.room.encryption", "", {"algorithm": "m.megolm.v1.aes-sha2"}))
    # "Events explicitly set in initial_state take precedence over events set by presets".
    explicit = {(event_type, state_key) for event_type, state_key, _ in options.initial_state}
    return [draft for draft in drafts if draft[:2] not in explicit]


def name_and_topic(options: RoomOptions) -> list[StateDraft]:
    """What `name` and `topic` set; they come after initial_state and win over it."""
    drafts: list[StateDraft] = []
    if options.name:
        drafts.append(("m.room.name", "", {"name": options.name}))
    if options.topic:
        # v1.15: "the server SHOULD set m.topic to the same text".
        text = {"m.text": [{"body": options.topic, "mimetype": "text/plain"}]}
        drafts.append(("m.room.topic", "", {"topic": options.topic, "m.topic": text}))
    return drafts
