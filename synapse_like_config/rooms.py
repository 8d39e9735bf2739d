"""Rooms created here, and what is kept of them."""

from collections.abc import Mapping

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.parsers import list_of, parse_string
from synapse_like_config.values import Plain, Value

ROOM_VERSIONS = tuple(str(version) for version in range(1, 13))


def _parse_prejoin_event_type(value: Value) -> tuple[str, str | None]:
    pair = value.sequence()
    if pair is None:
        return parse_string(value), None
    if len(pair) != 2:
        raise WrongValue("each entry must be an event type, or a pair of event type and state key")
    return parse_string(pair[0]), parse_string(pair[1])


@dataclass(frozen=True)
class RoomPrejoinState:
    """Which state events someone invited sees: (type, state key), None for every state key."""

    disable_default_event_types: bool = options.boolean(False)
    additional_event_types: tuple[tuple[str, str | None], ...] = options.custom(
        (), list_of(_parse_prejoin_event_type)
    )


@dataclass(frozen=True)
class LimitRemoteRooms:
    """Rooms of other servers that are too big for this one."""

    enabled: bool = options.boolean(False)
    complexity: float = options.number(1.0, 0)
    complexity_error: str | None = options.optional_string()
    admins_can_join: bool = options.boolean(False)


@dataclass(frozen=True)
class RoomsSection:
    """`filter_timeline_limit` of -1 is no limit of ours."""

    default_room_version: str = options.choice("12", ROOM_VERSIONS)
    encryption_enabled_by_default_for_room_type: str = options.choice("off", ("all", "invite", "off"))
    default_power_level_content_override: Mapping[str, Plain] = options.plain_mapping()
    room_prejoin_state: RoomPrejoinState = options.nested(RoomPrejoinState())
    block_non_admin_invites: bool = options.boolean(False)
    forget_rooms_on_leave: bool = options.boolean(False)
    forgotten_room_retention_period_ms: int | None = options.optional_duration_ms()
    redaction_retention_period_ms: int | None = options.optional_duration_ms("7d")
    exclude_rooms_from_sync: tuple[str, ...] = options.strings()
    filter_timeline_limit: int = options.integer(100, -1)
    enable_search: bool = options.boolean(True)
    limit_remote_rooms: LimitRemoteRooms = options.nested(LimitRemoteRooms())
    max_event_delay_duration_ms: int | None = options.optional_duration_ms(None, 1)

    def check(self) -> None:
        presets = ("private_chat", "trusted_private_chat", "public_chat")
        for preset, content in self.default_power_level_content_override.items():
            if preset not in presets or not isinstance(content, dict | None):
                raise WrongValue(
                    f"must be a mapping for each of {', '.join(presets)}",
                    f"default_power_level_content_override.{preset}",
                )
