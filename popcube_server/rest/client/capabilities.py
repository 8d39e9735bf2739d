"""Specification module capabilities negotiation: what this user can do on this server."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call, endpoint
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CapabilitySettings:
    """What follows from the configuration."""

    default_room_version: str
    room_versions: tuple[str, ...]
    """All are stable."""
    change_password: bool
    get_login_token: bool
    frozen_profile_fields: tuple[str, ...]
    forget_forced_upon_leave: bool


class Capabilities:
    def __init__(self, settings: CapabilitySettings) -> None:
        self._capabilities = _capabilities(settings)

    @endpoint("GET", "/_matrix/client/v3/capabilities")
    async def get(self, call: Call) -> Mapping[str, Any]:
        capabilities = self._capabilities
        if call.requester.is_admin:
            # Left out for those who may do neither.
            capabilities = {**capabilities, "m.account_moderation": {"lock": True, "suspend": True}}
        return {"capabilities": capabilities}


def _capabilities(settings: CapabilitySettings) -> Mapping[str, Any]:
    frozen = settings.frozen_profile_fields
    profile_fields: dict[str, Any] = {"enabled": True}
    if frozen:
        profile_fields["disallowed"] = list(frozen)
    return {
        "m.room_versions": {
            "default": settings.default_room_version,
            "available": dict.fromkeys(settings.room_versions, "stable"),
        },
        "m.change_password": {"enabled": settings.change_password},
        "m.profile_fields": profile_fields,
        # Deprecated by m.profile_fields, which demands that both agree with it.
        "m.set_displayname": {"enabled": "displayname" not in frozen},
        "m.set_avatar_url": {"enabled": "avatar_url" not in frozen},
        "m.3pid_changes": {"enabled": False},
        "m.get_login_token": {"enabled": settings.get_login_token},
        "m.forget_forced_upon_leave": {"enabled": settings.forget_forced_upon_leave},
    }
