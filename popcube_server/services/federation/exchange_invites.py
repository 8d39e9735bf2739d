"""Third-party invites that have found their user: the identity server tells the user's server, which tells the room's.

Source: server-server API, "Third-party invites".
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from twisted.internet.defer import DeferredSemaphore

from federation.identity.identity_servers import IdentityServerFailed, IdentityServers
from federation.identity.third_party_keys import find_signing_key
from federation.room_dag.auth_rules.errors import NotAllowed as AuthRulesNotAllowed
from federation.room_dag.event import InvalidEvent
from federation.room_dag.identifiers import domain_of, is_room_id, is_user_id
from federation.rooms.draft import Draft
from federation.rooms.event_store import EventStore
from federation.rooms.live_room import LiveRoom
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.receiving.remote import V1, RemoteServers
from federation.rooms.room_state import MEMBER
from federation.rooms.send_event import Sent
from federation.transport.errors import FederationError, HttpRefusal
from federation.transport.federation_client import api_path
from popcube_server.services.errors import BadJson, InvalidParam, NotAllowed, NotFound, Refusal, WithCode
from popcube_server.services.federation.room_access import RoomAccess, has_member_of
from storage.committer import Committer
from storage.forwarded_events import ForwardEvent
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

THIRD_PARTY_INVITE = "m.room.third_party_invite"
MAX_BOUND_INVITES = 20
BINDINGS_AT_ONCE = 5
"""Anybody may say that an address was bound, and name servers that do not answer."""


class InviteRemotely(Protocol):
    """`popcube_server.services.rooms.remote_rooms.FederatedRooms`. Raises refusals."""

    async def invite(self, draft: Draft) -> str: ...


class InviteHere(Protocol):
    """`popcube_server.services.rooms.append.RoomWriter`. Raises refusals."""

    async def append(self, draft: Draft) -> Sent: ...


class InviteLimits(Protocol):
    """`popcube_server.services.rooms.membership_limits.MembershipLimits`."""

    def spend_invite(self, inviter: str, room_id: str, invitee: str) -> None:
        """Raises `LimitExceeded`."""


class BoundUsers(Protocol):
    """`popcube_server.services.federation.local_users.InvitableUsers`."""

    async def exists(self, user_id: str) -> bool: ...

    async def blocks_invites(self, user_id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """The invite that is to come out of it. `signed` is the identity server's word, nothing of it checked."""

    room_id: str
    sender: str
    user_id: str
    signed: Mapping[str, Any]


class ExchangeInvites:
    """The side of the room: turns the identity server's word into an invite."""

    def __init__(
        self,
        access: RoomAccess,
        rooms: LiveRooms,
        events: EventStore,
        identity: IdentityServers,
        remotely: InviteRemotely,
        here: InviteHere,
        limits: InviteLimits,
        committer: Committer,
        server_name: str,
    ) -> None:
        self._access = access
        self._rooms = rooms
        self._events = events
        self._identity = identity
        self._remotely = remotely
        self._here = here
        self._limits = limits
        self._committer = committer
        self._server_name = server_name

    async def exchange(self, origin: str, room_id: str, body: Mapping[str, Any]) -> None:
        """What another server asks. Raises refusals."""
        wanted = _read(room_id, body)
        if domain_of(wanted.user_id) != origin:
            raise NotAllowed("The invited user is not one of your server's.")
        await self._access.resident(origin, room_id)
        await self.invite(wanted)

    async def invite(self, wanted: Exchange) -> None:
        """This server is in the room. Raises refusals, and the auth rules' `NotAllowed`."""
        if domain_of(wanted.sender) != self._server_name:
            # Others would not take an invite from us in the name of a user of theirs.
            raise NotAllowed("The inviting user is not of this server.")
        room = await self._rooms.get(wanted.room_id)
        if room.committed.membership_of(wanted.user_id) in ("join", "invite"):
            # Asked a second time.
            return
        draft = await self._draft(room, wanted)
        if domain_of(wanted.user_id) == self._server_name:
            await self._here.append(draft)
            return
        try:
            await self._remotely.invite(draft)
        except InvalidEvent as error:
            raise InvalidParam(f"That makes no event: {error}") from None

    async def invite_here(self, wanted: Exchange) -> None:
        """For a user of this server, in the name of a user of another server that cannot be reached. Raises refusals,
        and the auth rules' `NotAllowed`.
        """
        room = await self._rooms.get(wanted.room_id)
        if room.committed.membership_of(wanted.user_id) in ("join", "invite"):
            return
        sent = await self._here.append(await self._draft(room, wanted))
        # Events of other servers' users are not sent on but when somebody says so.
        await self._committer.commit(ForwardEvent(wanted.room_id, sent.event_id))

    async def _draft(self, room: LiveRoom, wanted: Exchange) -> Draft:
        name = await self._check_key(room, wanted)
        self._limits.spend_invite(wanted.sender, wanted.room_id, wanted.user_id)
        invite = {"display_name": name, "signed": dict(wanted.signed)}
        content = {"membership": "invite", "third_party_invite": invite}
        return Draft(wanted.room_id, MEMBER, wanted.sender, wanted.user_id, content)

    async def _check_key(self, room: LiveRoom, wanted: Exchange) -> str:
        """The name to display of the invited person."""
        token = wanted.signed.get("token")
        event_id = room.committed.entries.get((THIRD_PARTY_INVITE, token)) if isinstance(token, str) else None
        stored = None if event_id is None else await self._events.find(event_id)
        if stored is None:
            raise NotAllowed("The room knows no such third-party invite.")
        key = find_signing_key(wanted.signed, stored.event.content)
        if key is None or wanted.signed.get("mxid") != wanted.user_id:
            raise NotAllowed("The third-party invite is not signed for that user.")
        # "the server which is already participating in the room ... MUST validate that the public key used for signing
        # is still valid, by checking `key_validity_url`".
        try:
            is_valid = await self._identity.is_key_valid(key)
        except IdentityServerFailed as error:
            # No 502: nothing is wrong between the two servers that talk here.
            logger.info("Nobody says whether the key of an identity server is valid: %s", error)
            raise WithCode(
                400, "M_UNKNOWN", "Nobody says whether the identity server's key is valid."
            ) from None
        if not is_valid:
            raise NotAllowed("The identity server's key is not valid any more.")
        name = stored.event.content.get("display_name")
        return name if isinstance(name, str) else ""


class AcceptBinding:
    """The side of the user: an identity server says that an address is the user's now, and what waited for it."""

    def __init__(
        self,
        users: BoundUsers,
        rooms: LiveRooms,
        exchange: ExchangeInvites,
        servers: RemoteServers,
        server_name: str,
    ) -> None:
        self._users = users
        self._rooms = rooms
        self._exchange = exchange
        self._turns = DeferredSemaphore(BINDINGS_AT_ONCE)
        self._servers = servers
        self._server_name = server_name

    async def bound(self, body: Mapping[str, Any]) -> None:
        """Work off each invite; one that leads nowhere is no reason to refuse the others. Raises refusals."""
        user_id, invites = body.get("mxid"), body.get("invites")
        if not isinstance(user_id, str) or not isinstance(invites, list):
            raise BadJson("'mxid' must be a string and 'invites' a list.")
        if len(invites) > MAX_BOUND_INVITES:
            raise InvalidParam(f"'invites' may have at most {MAX_BOUND_INVITES} entries.")
        if not is_user_id(user_id) or domain_of(user_id) != self._server_name:
            raise InvalidParam("That is not a user of this server.")
        if not await self._users.exists(user_id):
            raise NotFound("There is no such user.")
        if await self._users.blocks_invites(user_id):
            return
        for wanted in _pending(user_id, invites):
            await self._turns.acquire()
            try:
                await self._accept(wanted)
            except (Refusal, AuthRulesNotAllowed, FederationError) as error:
                logger.info("A third-party invite into %s led nowhere: %s", wanted.room_id, error)
            finally:
                self._turns.release()

    async def _accept(self, wanted: Exchange) -> None:
        if domain_of(wanted.sender) == self._server_name and await self._is_in_room(wanted.room_id):
            await self._exchange.invite(wanted)
            return
        # "if the invited homeserver isn't in the room the invite came from, it will need to request the room's
        # homeserver to auth the event": the inviting user's, who has to stand for the invite in any case.
        body = {
            "type": MEMBER,
            "room_id": wanted.room_id,
            "sender": wanted.sender,
            "state_key": wanted.user_id,
            "content": {
                "membership": "invite",
                "third_party_invite": {"display_name": wanted.user_id, "signed": dict(wanted.signed)},
            },
        }
        path = api_path(V1 + "exchange_third_party_invite", wanted.room_id)
        try:
            await self._servers.put(domain_of(wanted.sender), path, body)
        except HttpRefusal:
            raise
        except FederationError:
            # "If the invited homeserver is in the room the invite came from, it can auth the event and send it."
            if not await self._is_in_room(wanted.room_id):
                raise
            await self._exchange.invite_here(wanted)

    async def _is_in_room(self, room_id: str) -> bool:
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            return False
        return has_member_of(room.committed, self._server_name)


def _read(room_id: str, body: Mapping[str, Any]) -> Exchange:
    """The partial member event of the request. Raises `InvalidParam`."""
    content = body.get("content")
    invite = content.get("third_party_invite") if isinstance(content, dict) else None
    signed = invite.get("signed") if isinstance(invite, dict) else None
    sender, user_id = body.get("sender"), body.get("state_key")
    # "type: Must be `m.room.member`", "room_id: Must match the ID given in the path", "membership: Must be `invite`".
    if body.get("type") != MEMBER or body.get("room_id") != room_id or not isinstance(signed, dict):
        raise InvalidParam("That is no member event of a third-party invite into the room.")
    if not isinstance(content, dict) or content.get("membership") != "invite":
        raise InvalidParam("That is no invite.")
    if not _is_user(sender) or not _is_user(user_id):
        raise InvalidParam("'sender' and 'state_key' must be users.")
    return Exchange(room_id, str(sender), str(user_id), signed)


def _pending(user_id: str, invites: Sequence[Any]) -> list[Exchange]:
    """Those of the invites that can be one for this user."""
    pending = []
    for invite in invites:
        if not isinstance(invite, dict):
            continue
        room_id, sender, signed = invite.get("room_id"), invite.get("sender"), invite.get("signed")
        if not isinstance(room_id, str) or not is_room_id(room_id) or not _is_user(sender):
            continue
        if isinstance(signed, dict) and signed.get("mxid") == user_id and invite.get("mxid") == user_id:
            pending.append(Exchange(room_id, str(sender), user_id, signed))
    return pending


def _is_user(value: Any) -> bool:
    return isinstance(value, str) and is_user_id(value)
