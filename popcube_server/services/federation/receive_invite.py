"""Invites of our users into rooms, by users of other servers. Source: server-server API, "Inviting to a room"."""

from collections.abc import Sequence
from typing import Any, Protocol

from federation.room_dag.event import Event, InvalidEvent, parse_event, sign_event
from federation.room_dag.identifiers import InvalidIdentifier, domain_of
from federation.room_dag.room_versions import RoomRules, UnknownRoomVersion, get_room_rules
from federation.room_dag.signing import EventSigner, InvalidSignature
from federation.rooms.joining.stripped import member_outlier, strip_entry, strip_event
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.receiving.check_pdu import CheckPdus, parse_whole_pdu
from federation.rooms.receiving.remote import EventVerifier
from federation.rooms.room_state import MEMBER
from popcube_server.services.errors import InvalidParam, MissingParam, NotAllowed, NotFound, WithCode
from popcube_server.services.federation.room_access import RoomAccess, has_member_of
from storage.committer import Committer
from storage.database import Database, Transaction
from storage.event_rows import EventsRepository
from storage.expected_membership import ExpectMembership, MembershipMovedOn, find_member_event_id
from storage.rooms import AddRoom
from storage.stripped_states import KeepStripped
from synapse_like_config.lazy_dataclasses import dataclass

MAX_STATE_ENTRIES = 100


class InviteDoor(Protocol):
    """Whether invites of other servers are taken at all, and how many."""

    def check_open(self) -> None:
        """Raise `NotAllowed` if none are."""

    def spend_invite(self, inviter: str, room_id: str, invitee: str) -> None:
        """Raises `LimitExceeded`."""


class LocalUsers(Protocol):
    """What an invite needs to know of the invited user."""

    async def exists(self, user_id: str) -> bool:
        """Whether it is an account of this server that is not deactivated."""

    async def blocks_invites(self, user_id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class ReceivedInvite:
    """The body of an invite, nothing of it checked."""

    room_version: str
    event: Any
    room_state: Any


@dataclass(frozen=True, slots=True)
class _Standing:
    """Whether an invite is stored already, and the event that the invited user's membership comes from."""

    is_known: bool
    member_id: str | None


class ReceiveInvite:
    def __init__(
        self,
        rooms: LiveRooms,
        check: CheckPdus,
        verifier: EventVerifier,
        users: LocalUsers,
        door: InviteDoor,
        access: RoomAccess,
        database: Database,
        events: EventsRepository,
        committer: Committer,
        signer: EventSigner,
    ) -> None:
        self._rooms = rooms
        self._check = check
        self._verifier = verifier
        self._users = users
        self._door = door
        self._access = access
        self._database = database
        self._events = events
        self._committer = committer
        self._signer = signer

    async def receive(self, origin: str, room_id: str, event_id: str, invite: ReceivedInvite) -> Event:
        """The event with our signature. Raises refusals."""
        try:
            rules = get_room_rules(invite.room_version)
        except UnknownRoomVersion:
            raise WithCode(
                400,
                "M_INCOMPATIBLE_ROOM_VERSION",
                "This server does not support the version of that room.",
                room_version=invite.room_version,
            ) from None
        event = await self._checked(origin, room_id, event_id, invite.event, rules)
        entries = await self._room_state(invite.room_state, rules, room_id)
        standing = await self._find_standing(event)
        # Looked at after it is known how the user stands: who joins later stands otherwise.
        is_in_room = await self._check_room(origin, room_id, rules)
        self._door.check_open()
        user_id = event.state_key or ""
        if not await self._users.exists(user_id):
            raise NotFound("There is no such user.")
        if await self._users.blocks_invites(user_id):
            raise WithCode(403, "M_INVITE_BLOCKED", f"{user_id} does not take invites.")
        signed = sign_event(event, self._signer)
        if standing.is_known:
            # Asked a second time: the first answer was lost.
            return signed
        self._door.spend_invite(event.sender, room_id, user_id)
        if not is_in_room:
            await self._store(signed, rules, [*entries, strip_event(signed)], origin, standing)
        # A room that this server is in gets the event in a transaction like any other.
        return signed

    async def _find_standing(self, event: Event) -> _Standing:
        def find(tx: Transaction) -> _Standing:
            is_known = bool(self._events.get_by_id(tx, (event.event_id,)))
            return _Standing(is_known, find_member_event_id(tx, event.room_id, event.state_key or ""))

        return await self._database.read(find)

    async def _checked(self, origin: str, room_id: str, event_id: str, pdu: Any, rules: RoomRules) -> Event:
        try:
            event = parse_whole_pdu(pdu, rules, room_id)
        except InvalidEvent as error:
            raise InvalidParam(f"The event is not valid: {error}") from None
        if event.event_id != event_id:
            raise InvalidParam("The event does not have the ID that the path says.")
        if event.type != MEMBER or event.membership != "invite" or event.state_key is None:
            raise InvalidParam("That is not an invite.")
        try:
            is_ours = domain_of(event.state_key) == self._signer.server_name
        except InvalidIdentifier:
            raise InvalidParam("The invited is not a user.") from None
        if not is_ours:
            raise InvalidParam("The invited user is not of this server.")
        if domain_of(event.sender) != origin:
            raise InvalidParam("The sender is not one of your server's users.")
        try:
            await self._verifier.verify(event)
        except InvalidSignature as error:
            raise InvalidParam(f"The event is not properly signed: {error}") from None
        return event

    async def _room_state(self, state: Any, rules: RoomRules, room_id: str) -> list[bytes]:
        """Stripped state out of `invite_room_state`."""
        if state is None:
            # v1.16: from room version 12 on the state is needed, to know that the room is what its ID says.
            if rules.room_id_is_create_hash:
                raise MissingParam("'invite_room_state' is missing.")
            return []
        if not isinstance(state, list) or len(state) > MAX_STATE_ENTRIES:
            raise InvalidParam("'invite_room_state' is not a list of a reasonable length.")
        if not rules.room_id_is_create_hash:
            # Older servers send stripped state, and others full events; what is neither is left out.
            return [entry for pdu in state if (entry := strip_entry(pdu)) is not None]
        try:
            events = [parse_event(pdu, rules) for pdu in state if isinstance(pdu, dict)]
        except InvalidEvent as error:
            raise InvalidParam(f"'invite_room_state' has an event that is not valid: {error}") from None
        checked = await self._check.check_many(state, rules, room_id)
        if len(checked) < len(state) or len(events) < len(state):
            raise InvalidParam("'invite_room_state' has an event that is not valid or not of the room.")
        creates = [event for event in checked.values() if event.type == "m.room.create"]
        if not creates:
            # v1.16: "SHOULD return `M_INVALID_PARAM`" without the create event.
            raise InvalidParam("'invite_room_state' has no create event.")
        if any(not event.is_state for event in checked.values()):
            raise InvalidParam("'invite_room_state' has an event that is no state.")
        return [strip_event(event) for event in checked.values()]

    async def _check_room(self, origin: str, room_id: str, rules: RoomRules) -> bool:
        """Whether this server is in the room. Raises refusals."""
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            return False
        if room.rules is not rules:
            raise InvalidParam("The room has another version.")
        is_in_room = has_member_of(room.committed, self._signer.server_name)
        # "When a remote server ... is denied": invites are among the endpoints that ACLs apply to. What is remembered
        # of a room that everybody here has left may be old.
        if is_in_room and not await self._access.is_allowed(origin, room):
            raise NotAllowed("Your server is banned from the room.")
        return is_in_room

    async def _store(
        self, event: Event, rules: RoomRules, entries: Sequence[bytes], origin: str, standing: _Standing
    ) -> None:
        """Unless this server is in the room by now. `standing` is of before it was known not to be."""
        while not standing.is_known:
            try:
                await self._store_outside(event, rules, entries, origin, standing.member_id)
                return
            except MembershipMovedOn:
                # The user has joined in this very moment, or was invited by somebody else.
                standing = await self._find_standing(event)
                if await self._check_room(origin, event.room_id, rules):
                    return

    async def _store_outside(
        self, event: Event, rules: RoomRules, entries: Sequence[bytes], origin: str, member_id: str | None
    ) -> None:
        """Raises `MembershipMovedOn` if the user's membership does not come from that event any more."""
        user_id = event.state_key or ""
        live = self._rooms.find(event.room_id)
        if live is not None:
            # Somebody here may have joined meanwhile.
            if live.rules is not rules:
                raise InvalidParam("The room has another version.")
            if has_member_of(live.committed, self._signer.server_name):
                return
        await self._committer.commit(
            ExpectMembership(event.room_id, user_id, member_id),
            # Who invites says which version the room has, and nobody here can know better: what an earlier invite said,
            # maybe falsely, must not keep this one out.
            AddRoom(event.room_id, rules.version),
            member_outlier(event, "invite"),
            KeepStripped(user_id, event.room_id, tuple(entries), (origin,)),
        )
