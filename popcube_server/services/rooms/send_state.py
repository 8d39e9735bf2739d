"""Set an entry of a room's state. Source: client-server API, room_state."""

from collections.abc import Mapping
from typing import Any

from federation.rooms.draft import Draft
from popcube_server.services.errors import BadJson, NotAllowed
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.append import RoomWriter
from popcube_server.services.rooms.change_membership import ChangeMembership
from popcube_server.services.rooms.check_canonical_alias import CheckCanonicalAlias
from popcube_server.services.rooms.suspensions import Suspensions

_LEVEL_MAPS = ("users", "events", "notifications")
_LEVELS = ("users_default", "events_default", "state_default", "ban", "kick", "redact", "invite")


class SendState:
    """State of any type; memberships go the way of the membership endpoints."""

    def __init__(
        self,
        writer: RoomWriter,
        memberships: ChangeMembership,
        canonical_alias: CheckCanonicalAlias,
        suspensions: Suspensions,
        limiter: RateLimiter,
    ) -> None:
        self._writer = writer
        self._memberships = memberships
        self._canonical_alias = canonical_alias
        self._suspensions = suspensions
        self._limiter = limiter

    async def send(
        self, requester: Requester, room_id: str, event_type: str, state_key: str, content: Mapping[str, Any]
    ) -> str:
        """The event's ID; that of the present one if the state has this content already."""
        self._limiter.spend(requester.user_id)
        if event_type == "m.room.member":
            return await self._memberships.set_member_state(requester, room_id, state_key, content)
        await self._suspensions.check_not_suspended(requester.user_id)
        if event_type == "m.room.create":
            raise NotAllowed("A room has only one create event.")
        if event_type == "m.room.redaction":
            # From room version 11 on it would be applied, and who may redact what is not asked on this way.
            raise NotAllowed("A redaction is no state: send it as a message or to the redaction endpoint.")
        if event_type == "m.room.power_levels":
            check_power_levels(content)
        if event_type == "m.room.canonical_alias" and state_key == "":
            await self._canonical_alias.check(requester, room_id, content)
        draft = Draft(room_id, event_type, requester.user_id, state_key, content)
        return (await self._writer.append(draft)).event_id


def check_power_levels(content: Mapping[str, Any]) -> None:
    """Raise unless every level is an integer: the specification forbids strings from clients in all versions."""
    for name in _LEVELS:
        if name in content and type(content[name]) is not int:
            raise BadJson(f"'{name}' must be an integer.")
    for name in _LEVEL_MAPS:
        levels = content.get(name, {})
        if not isinstance(levels, dict) or any(type(level) is not int for level in levels.values()):
            raise BadJson(f"'{name}' must be an object of integers.")
