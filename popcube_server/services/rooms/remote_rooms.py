"""Memberships of our users in rooms that this server is not in: what `ChangeMembership` hands over to other servers."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from federation.room_dag.identifiers import InvalidIdentifier, domain_of
from federation.rooms.draft import Draft
from federation.rooms.joining.handshake import NoServerHelped
from federation.rooms.joining.invite_user import InviteUser
from federation.rooms.joining.join_room import JoinRoom
from federation.rooms.joining.join_with_help import JoinWithHelp
from federation.rooms.joining.leave_room import KnockRoom, LeaveRemoteRoom
from federation.rooms.live_room import LiveRoom
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.policy.ask_policy_server import NotRecommended, PolicyServerAway
from federation.transport.errors import FederationError, HttpRefusal, NotFederated
from popcube_server.services.errors import LimitExceeded, NotAllowed, NotFound, WithCode
from popcube_server.services.federation.room_access import has_member_of, servers_of
from popcube_server.services.rooms.policy_refusal import policy_refusal
from popcube_server.services.rooms.restricted_joins import CannotGrantJoin
from storage.database import Database
from storage.events import find_event_ids
from storage.stripped_states import StrippedStatesRepository

# What another server may say to our clients in its own words; anything else is only told as a failure.
_PASSED_ON = {
    "M_FORBIDDEN": 403,
    "M_NOT_FOUND": 404,
    "M_INCOMPATIBLE_ROOM_VERSION": 400,
    "M_UNABLE_TO_AUTHORISE_JOIN": 400,
    "M_UNABLE_TO_GRANT_JOIN": 400,
    "M_INVITE_BLOCKED": 403,
}


class RemoteRooms(Protocol):
    """What memberships need of other servers."""

    async def is_elsewhere(self, room_id: str) -> bool:
        """Whether only other servers can let someone into the room."""

    async def join(self, room_id: str, user_id: str, content: Mapping[str, Any], via: Sequence[str]) -> bool:
        """False if it turned out that the room is here."""

    async def join_with_help(
        self, room_id: str, user_id: str, content: Mapping[str, Any], via: Sequence[str]
    ) -> None:
        """A room that is here, but where no user of this server may let anybody in."""

    async def knock(
        self, room_id: str, user_id: str, content: Mapping[str, Any], via: Sequence[str]
    ) -> None: ...

    async def leave(self, room_id: str, user_id: str, event_nid: int, content: Mapping[str, Any]) -> None: ...

    async def invite(self, draft: Draft) -> str: ...


class FederatedRooms:
    """Rooms over federation; errors in the words of the services."""

    def __init__(
        self,
        rooms: LiveRooms,
        join_room: JoinRoom,
        join_with_help: JoinWithHelp,
        knock_room: KnockRoom,
        leave_room: LeaveRemoteRoom,
        invite_user: InviteUser,
        database: Database,
        stripped: StrippedStatesRepository,
        server_name: str,
    ) -> None:
        self._rooms = rooms
        self._join_room = join_room
        self._join_with_help = join_with_help
        self._knock_room = knock_room
        self._leave_room = leave_room
        self._invite_user = invite_user
        self._database = database
        self._stripped = stripped
        self._server_name = server_name

    async def is_elsewhere(self, room_id: str) -> bool:
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            return True
        # A room that everybody has left is still here, if nobody else has it.
        return not has_member_of(room.committed, self._server_name) and room.committed.joined_count > 0

    async def join(self, room_id: str, user_id: str, content: Mapping[str, Any], via: Sequence[str]) -> bool:
        servers = await self._servers(room_id, user_id, via)
        try:
            return await self._join_room.join(room_id, user_id, content, servers)
        except NoServerHelped as error:
            raise _refusal(error.refusal) from None

    async def join_with_help(
        self, room_id: str, user_id: str, content: Mapping[str, Any], via: Sequence[str]
    ) -> None:
        granting = granting_servers(await self._rooms.get(room_id))
        servers = [server for server in via if server in granting]
        servers.extend(sorted(granting.difference(servers)))
        try:
            await self._join_with_help.join(room_id, user_id, content, servers)
        except NoServerHelped as error:
            if error.refusal is None:
                raise CannotGrantJoin from None
            raise _refusal(error.refusal) from None

    async def knock(self, room_id: str, user_id: str, content: Mapping[str, Any], via: Sequence[str]) -> None:
        servers = await self._servers(room_id, user_id, via)
        try:
            await self._knock_room.knock(room_id, user_id, content, servers)
        except NoServerHelped as error:
            raise _refusal(error.refusal) from None

    async def leave(self, room_id: str, user_id: str, event_nid: int, content: Mapping[str, Any]) -> None:
        servers = await self._servers(room_id, user_id, ())
        found = await self._database.read(lambda tx: find_event_ids(tx, (event_nid,)))
        await self._leave_room.leave(user_id, found[event_nid], content, servers)

    async def invite(self, draft: Draft) -> str:
        try:
            return await self._invite_user.invite(draft)
        except HttpRefusal as error:
            raise _invite_refusal(error) from None
        except (NotRecommended, PolicyServerAway) as error:
            raise policy_refusal(error) from None
        except NotFederated as error:
            raise NotAllowed(f"This server does not talk to {error.destination}.") from None
        except FederationError as error:
            message = f"The server {error.destination} could not be reached; nobody was invited."
            raise WithCode(502, "M_UNKNOWN", message) from None

    async def _servers(self, room_id: str, user_id: str, via: Sequence[str]) -> list[str]:
        """Whom to ask, the likeliest first."""
        servers = list(via)
        row = await self._database.read(lambda tx: self._stripped.find(tx, user_id, room_id))
        if row is not None:
            servers.extend(row.servers)
        with suppress(UnknownRoom):
            servers.extend(servers_of((await self._rooms.get(room_id)).committed))
        with suppress(InvalidIdentifier):
            # COMPAT: clients that name no server; up to room version 11 the ID has the creator's.
            servers.append(domain_of(room_id))
        return servers


def granting_servers(room: LiveRoom) -> set[str]:
    """The servers of members who may let users into a restricted room."""
    levels = room.power_levels
    return {
        domain_of(user_id)
        for user_id in room.committed.joined_members()
        if levels.user_level(user_id) >= levels.invite
    }


def _invite_refusal(refusal: HttpRefusal) -> Exception:
    if refusal.errcode == "M_LIMIT_EXCEEDED":
        wait_ms = refusal.retry_after_ms
        return LimitExceeded(
            "The other server takes no more invites now.", 5000 if wait_ms is None else wait_ms
        )
    if refusal.errcode in _PASSED_ON:
        return _refusal(refusal)
    # "If `M_MISSING_PARAM` or `M_INVALID_PARAM` is returned ... the Client-Server API request SHOULD fail with a 5xx
    # error rather than being passed through."
    return WithCode(502, "M_UNKNOWN", f"The server {refusal.destination} did not take the invite.")


def _refusal(refusal: HttpRefusal | None) -> Exception:
    if refusal is None:
        return NotFound("No server that could be reached has that room.")
    status = _PASSED_ON.get(refusal.errcode or "")
    if status is None or refusal.errcode is None:
        return NotFound("No server lets you into that room.")
    version = refusal.body.get("room_version")
    extra = {"room_version": version} if isinstance(version, str) else {}
    return WithCode(status, refusal.errcode, (refusal.error or "Another server refused.")[:500], **extra)
