"""Specification modules joining, inviting, knocking, leaving, kicking, banning."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from popcube_server.rest.client.address_invite import address_invite
from popcube_server.rest.endpoint import Access, Call, Payload, endpoint
from popcube_server.rest.parse import find_string, get_string
from popcube_server.services.rooms.change_membership import ChangeMembership
from popcube_server.services.rooms.forget_room import ForgetRooms
from popcube_server.services.rooms.invite_by_address import InviteByAddress
from popcube_server.services.rooms.resolve_any_alias import ResolveAnyAlias, RoomAddress

_OPTIONAL = Payload.OPTIONAL_JSON_OBJECT


class Membership:
    def __init__(
        self,
        memberships: ChangeMembership,
        by_address: InviteByAddress,
        aliases: ResolveAnyAlias,
        forget: ForgetRooms,
    ) -> None:
        self._memberships = memberships
        self._by_address = by_address
        self._aliases = aliases
        self._forget = forget

    @endpoint("POST", "/_matrix/client/v3/rooms/{room_id}/join", Access.GUEST, _OPTIONAL)
    async def join(self, call: Call) -> Mapping[str, Any]:
        room_id = call.path["room_id"]
        await self._memberships.join(call.requester, room_id, find_string(call.body, "reason"))
        return {"room_id": room_id}

    @endpoint("POST", "/_matrix/client/v3/join/{room_id_or_alias}", Access.GUEST, _OPTIONAL)
    async def join_by_alias(self, call: Call) -> Mapping[str, Any]:
        address = await self._address(call)
        await self._memberships.join(
            call.requester, address.room_id, find_string(call.body, "reason"), via=address.servers
        )
        return {"room_id": address.room_id}

    @endpoint("POST", "/_matrix/client/v3/knock/{room_id_or_alias}", payload=_OPTIONAL)
    async def knock(self, call: Call) -> Mapping[str, Any]:
        address = await self._address(call)
        await self._memberships.knock(
            call.requester, address.room_id, find_string(call.body, "reason"), address.servers
        )
        return {"room_id": address.room_id}

    @endpoint("POST", "/_matrix/client/v3/rooms/{room_id}/invite")
    async def invite(self, call: Call) -> Mapping[str, Any]:
        if "medium" in call.body:
            await self._by_address.invite(call.requester, call.path["room_id"], address_invite(call.body))
            return {}
        user_id = get_string(call.body, "user_id")
        await self._memberships.invite(
            call.requester, call.path["room_id"], user_id, find_string(call.body, "reason")
        )
        return {}

    @endpoint("POST", "/_matrix/client/v3/rooms/{room_id}/leave", Access.GUEST, _OPTIONAL)
    async def leave(self, call: Call) -> Mapping[str, Any]:
        await self._memberships.leave(call.requester, call.path["room_id"], find_string(call.body, "reason"))
        return {}

    @endpoint("POST", "/_matrix/client/v3/rooms/{room_id}/kick")
    async def kick(self, call: Call) -> Mapping[str, Any]:
        await self._memberships.kick(call.requester, *_target(call))
        return {}

    @endpoint("POST", "/_matrix/client/v3/rooms/{room_id}/ban")
    async def ban(self, call: Call) -> Mapping[str, Any]:
        await self._memberships.ban(call.requester, *_target(call))
        return {}

    @endpoint("POST", "/_matrix/client/v3/rooms/{room_id}/unban")
    async def unban(self, call: Call) -> Mapping[str, Any]:
        await self._memberships.unban(call.requester, *_target(call))
        return {}

    @endpoint("POST", "/_matrix/client/v3/rooms/{room_id}/forget", payload=_OPTIONAL)
    async def forget(self, call: Call) -> Mapping[str, Any]:
        await self._forget.forget(call.requester, call.path["room_id"])
        return {}

    async def _address(self, call: Call) -> RoomAddress:
        found = await self._aliases.address_of(call.requester.user_id, call.path["room_id_or_alias"])
        return replace(found, servers=(*_via(call), *found.servers))


def _via(call: Call) -> tuple[str, ...]:
    # COMPAT: `server_name` is what `via` was called before v1.12 of the specification.
    return (*call.query.get("via", ()), *call.query.get("server_name", ()))


def _target(call: Call) -> tuple[str, str, str | None]:
    return call.path["room_id"], get_string(call.body, "user_id"), find_string(call.body, "reason")
