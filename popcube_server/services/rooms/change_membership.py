"""Memberships: join, invite, knock, leave, kick, ban, unban. Source: client-server API, "Room membership".

The room's auth rules decide; what stands here is what the specification asks of the server beyond them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from federation.room_dag.identifiers import domain_of, is_user_id
from federation.rooms.draft import Draft
from federation.rooms.event_store import EventStore
from federation.rooms.live_room import LiveRoom
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.room_state import RoomState
from popcube_server.services.errors import BadJson, InvalidParam, NotAllowed, NotFound, WithCode
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.append import RoomWriter
from popcube_server.services.rooms.invite_permission import InvitePermission
from popcube_server.services.rooms.membership_content import MemberProfiles, member_content
from popcube_server.services.rooms.membership_limits import MembershipLimits
from popcube_server.services.rooms.remote_rooms import RemoteRooms
from popcube_server.services.rooms.restricted_joins import CannotGrantJoin, RestrictedJoins
from popcube_server.services.rooms.suspensions import Suspensions
from popcube_server.services.rooms.user_rooms import UserRooms

_OWN_KEYS = (
    "membership",
    "displayname",
    "avatar_url",
    "join_authorised_via_users_server",
    "third_party_invite",
)


class ChangeMembership:
    """One method per verb. Each returns the ID of the member event that is in force afterwards, if there is one."""

    def __init__(
        self,
        writer: RoomWriter,
        rooms: LiveRooms,
        events: EventStore,
        profiles: MemberProfiles,
        restricted: RestrictedJoins,
        suspensions: Suspensions,
        permission: InvitePermission,
        limits: MembershipLimits,
        remote: RemoteRooms,
        user_rooms: UserRooms,
        server_name: str,
    ) -> None:
        self._writer = writer
        self._rooms = rooms
        self._events = events
        self._profiles = profiles
        self._restricted = restricted
        self._suspensions = suspensions
        self._permission = permission
        self._limits = limits
        self._remote = remote
        self._user_rooms = user_rooms
        self._server_name = server_name

    async def join(
        self,
        requester: Requester,
        room_id: str,
        reason: str | None = None,
        extra: Mapping[str, Any] | None = None,
        via: Sequence[str] = (),
    ) -> None:
        """Joining while joined is no mistake and does nothing. `via` are servers that may know the room."""
        if await self._remote.is_elsewhere(room_id):
            await self._suspensions.check_not_suspended(requester.user_id)
            if requester.is_guest:
                raise WithCode(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests may not join this room.")
            self._limits.spend_remote_join(requester.user_id, room_id)
            content = await member_content(self._profiles, requester.user_id, "join", reason)
            if await self._remote.join(room_id, requester.user_id, {**(extra or {}), **content}, via):
                return
        room = await self._known_room(room_id)
        if room.committed.is_joined(requester.user_id):
            return
        await self._suspensions.check_not_suspended(requester.user_id)
        self._limits.spend_join(requester.user_id, room_id)
        if requester.is_guest:
            await self._check_guest_access(room_id)
        content = await member_content(self._profiles, requester.user_id, "join", reason)
        content = {**(extra or {}), **content}
        try:
            authorizer = await self._restricted.find_authorizer(room_id, requester.user_id)
        except CannotGrantJoin:
            # Server-server API, "Restricted rooms": another server of the room may be able to grant the join.
            await self._remote.join_with_help(room_id, requester.user_id, content, via)
            return
        if authorizer is not None:
            content["join_authorised_via_users_server"] = authorizer
        await self._set(requester.user_id, room_id, requester.user_id, content)

    async def knock(
        self, requester: Requester, room_id: str, reason: str | None, via: Sequence[str] = ()
    ) -> None:
        await self._suspensions.check_not_suspended(requester.user_id)
        is_elsewhere = await self._remote.is_elsewhere(room_id)
        if not is_elsewhere:
            await self._known_room(room_id)
        self._limits.joins.spend(requester.user_id)
        content = await member_content(self._profiles, requester.user_id, "knock", reason)
        if is_elsewhere:
            await self._remote.knock(room_id, requester.user_id, content, via)
            return
        await self._set(requester.user_id, room_id, requester.user_id, content)

    async def invite(
        self, requester: Requester, room_id: str, user_id: str, reason: str | None, is_direct: bool = False
    ) -> None:
        """Raises `M_INVITE_BLOCKED` if the invited user wants no invites."""
        _check_user_id(user_id)
        room = await self._joined_room(requester.user_id, room_id)
        await self._suspensions.check_not_suspended(requester.user_id)
        self._permission.check_may_invite(requester)
        # Who may not invite learns nothing about the invited user.
        if room.power_levels.user_level(requester.user_id) < room.power_levels.invite:
            raise NotAllowed("You may not invite people into this room.")
        if room.committed.is_joined(user_id):
            raise NotAllowed(f"{user_id} is in the room already.")
        is_local = domain_of(user_id) == self._server_name
        if is_local:
            await self._permission.check(user_id)
        self._limits.spend_invite(requester.user_id, room_id, user_id)
        content = await member_content(self._profiles, user_id, "invite", reason)
        if is_direct:
            content["is_direct"] = True
        if not is_local:
            await self._remote.invite(Draft(room_id, "m.room.member", requester.user_id, user_id, content))
            return
        await self._set(requester.user_id, room_id, user_id, content)

    async def leave(self, requester: Requester, room_id: str, reason: str | None = None) -> None:
        """Also turns down an invite and takes back a knock."""
        if await self._remote.is_elsewhere(room_id):
            await self._leave_elsewhere(requester.user_id, room_id, reason)
            return
        state = await self._state(room_id)
        membership = state.membership_of(requester.user_id)
        if membership == "leave":
            return
        if membership is None or membership == "ban":
            raise NotAllowed("You are not in this room.")
        await self._set(requester.user_id, room_id, requester.user_id, _plain("leave", reason))

    async def kick(self, requester: Requester, room_id: str, user_id: str, reason: str | None) -> None:
        _check_user_id(user_id)
        await self._suspensions.check_not_suspended(requester.user_id)
        room = await self._joined_room(requester.user_id, room_id)
        if room.committed.membership_of(user_id) not in ("join", "invite", "knock"):
            raise NotAllowed(f"{user_id} is not in the room.")
        await self._set(requester.user_id, room_id, user_id, _plain("leave", reason))

    async def ban(self, requester: Requester, room_id: str, user_id: str, reason: str | None) -> None:
        _check_user_id(user_id)
        await self._suspensions.check_not_suspended(requester.user_id)
        await self._joined_room(requester.user_id, room_id)
        await self._set(requester.user_id, room_id, user_id, _plain("ban", reason))

    async def unban(self, requester: Requester, room_id: str, user_id: str, reason: str | None) -> None:
        _check_user_id(user_id)
        await self._suspensions.check_not_suspended(requester.user_id)
        room = await self._joined_room(requester.user_id, room_id)
        if room.committed.membership_of(user_id) != "ban":
            raise NotAllowed(f"{user_id} is not banned from the room.")
        await self._set(requester.user_id, room_id, user_id, _plain("leave", reason))

    async def set_member_state(
        self, requester: Requester, room_id: str, user_id: str, content: Mapping[str, Any]
    ) -> str:
        """A member event as a client wrote it: the rules are those of the verb that it amounts to."""
        membership = content.get("membership")
        reason = content.get("reason")
        if not isinstance(membership, str) or (reason is not None and not isinstance(reason, str)):
            raise BadJson("'membership' and 'reason' must be strings.")
        _check_user_id(user_id)
        state = await self._state(room_id)
        if user_id == requester.user_id and membership == "join":
            if not state.is_joined(user_id):
                await self.join(requester, room_id, reason, _without_own_keys(content))
                return await self._member_event_id(room_id, user_id)
            await self._suspensions.check_not_suspended(user_id)
            # A change of the profile in one room: allowed fields are kept as they were sent.
            allowed = {key: value for key, value in content.items() if key not in _OWN_KEYS[3:]}
            return await self._set(user_id, room_id, user_id, allowed)
        if membership == "invite":
            await self.invite(requester, room_id, user_id, reason, content.get("is_direct") is True)
        elif membership == "knock" and user_id == requester.user_id:
            await self.knock(requester, room_id, reason)
        elif membership == "ban":
            await self.ban(requester, room_id, user_id, reason)
        elif membership == "leave" and user_id == requester.user_id:
            await self.leave(requester, room_id, reason)
        elif membership == "leave" and state.membership_of(user_id) == "ban":
            await self.unban(requester, room_id, user_id, reason)
        elif membership == "leave":
            await self.kick(requester, room_id, user_id, reason)
        else:
            raise NotAllowed(f"You may not set the membership of {user_id} to {membership[:20]!r}.")
        return await self._member_event_id(room_id, user_id)

    async def _set(self, sender: str, room_id: str, user_id: str, content: Mapping[str, Any]) -> str:
        draft = Draft(room_id, "m.room.member", sender, user_id, content)
        return (await self._writer.append(draft)).event_id

    async def _member_event_id(self, room_id: str, user_id: str) -> str:
        event_id = (await self._state(room_id)).find("m.room.member", user_id)
        if event_id is None:
            raise NotFound("There is no such membership.")
        return event_id

    async def _known_room(self, room_id: str) -> LiveRoom:
        try:
            return await self._rooms.get(room_id)
        except UnknownRoom:
            raise NotFound("This server does not know that room.") from None

    async def _state(self, room_id: str) -> RoomState:
        try:
            return (await self._rooms.get(room_id)).committed
        except UnknownRoom:
            raise NotAllowed("You are not in this room.") from None

    async def _joined_room(self, user_id: str, room_id: str) -> LiveRoom:
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            raise NotAllowed("You are not in this room.") from None
        if not room.committed.is_joined(user_id):
            raise NotAllowed("You are not in this room.")
        return room

    async def _leave_elsewhere(self, user_id: str, room_id: str, reason: str | None) -> None:
        row = (await self._user_rooms.of_user(user_id)).get(room_id)
        membership = None if row is None else row.membership
        if membership == "leave":
            return
        if row is None or membership not in ("invite", "knock"):
            raise NotAllowed("You are not in this room.")
        await self._remote.leave(room_id, user_id, row.event_nid, _plain("leave", reason))

    async def _check_guest_access(self, room_id: str) -> None:
        room = await self._known_room(room_id)
        event_id = room.committed.find("m.room.guest_access")
        stored = None if event_id is None else await self._events.find(event_id)
        if stored is None or stored.event.content.get("guest_access") != "can_join":
            raise WithCode(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests may not join this room.")


def _plain(membership: str, reason: str | None) -> dict[str, Any]:
    return {"membership": membership} if reason is None else {"membership": membership, "reason": reason}


def _without_own_keys(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in _OWN_KEYS}


def _check_user_id(user_id: str) -> None:
    if not is_user_id(user_id):
        raise InvalidParam("That is not a user ID.")
