"""Invites taken back, and knocks turned down, of our users in rooms that this server is not in.

There is no room here to judge the event in. What can be known: that the event stands on the very invite or knock that
our user has, that its sender's server signed it, and either that this is the server which invited or took the knock,
or that the auth events which the origin shows allow it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from federation.room_dag.event import Event
from federation.room_dag.identifiers import InvalidIdentifier, domain_of, parse_user_id
from federation.room_dag.room_versions import RoomRules, get_room_rules
from federation.rooms.event_store import EventStore
from federation.rooms.joining.stripped import member_outlier
from federation.rooms.receiving.auth_order import judge_by_auth_events
from federation.rooms.receiving.check_pdu import CheckPdus
from federation.rooms.receiving.remote import AskServers
from federation.rooms.room_state import MEMBER
from storage.committer import Committer
from storage.database import Database, Transaction
from storage.events import find_event_ids
from storage.expected_membership import ExpectMembership
from storage.memberships import MembershipsRepository
from storage.rooms import RoomsRepository
from storage.stripped_states import DropStripped, StrippedStatesRepository
from synapse_like_config.lazy_dataclasses import dataclass

ASKED_AT_ONCE = 5
"""So many times one server is asked, at the same time, what allows an event that it sent."""
ALL_ASKED_AT_ONCE = 50

_TAKEN_BACK = ("leave", "ban")
_OUTSIDE = ("invite", "knock")


class AskedTooMuch(Exception):
    """What allows an event of that server is not asked for now: enough is being asked already."""


@dataclass(frozen=True, slots=True)
class _Outside:
    """How a user stands who is invited or knocking: the room's version, the member event, and who told of the room."""

    version: str
    member_id: str
    servers: Sequence[str]


class RetractInvite:
    def __init__(
        self,
        database: Database,
        rooms: RoomsRepository,
        memberships: MembershipsRepository,
        stripped: StrippedStatesRepository,
        events: EventStore,
        check: CheckPdus,
        ask: AskServers,
        committer: Committer,
        server_name: str,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._memberships = memberships
        self._stripped = stripped
        self._events = events
        self._check = check
        self._ask = ask
        self._committer = committer
        self._server_name = server_name
        self._asking: Counter[str] = Counter()

    async def find_rules(self, room_id: str, pdu: Any) -> RoomRules | None:
        """The room's, if the event may end an invite or a knock of a user of ours there."""
        found = await self._find_outside(room_id, pdu)
        return None if found is None else get_room_rules(found.version)

    async def receive(self, origin: str, room_id: str, pdu: Any) -> str | None:
        """Why the event is refused. None: it is on disk, and the invite or the knock is no more.

        Raises `InvalidEvent`, `InvalidSignature`; `KeysUnavailable`, `FederationError`, `AskedTooMuch` where it may be
        otherwise later; `MembershipMovedOn`: the user stands otherwise by now; `CommitFailed`: the event is good, and
        not written.
        """
        outside = await self._find_outside(room_id, pdu)
        if outside is None:
            return "This server is not in the room."
        event = await self._check.check(pdu, get_room_rules(outside.version), room_id)
        member = await self._events.find(outside.member_id)
        # "The target's current `m.room.member` event, if any" is among the auth events: else this is about an
        # earlier invite.
        if member is None or outside.member_id not in event.auth_events:
            return "The event does not follow the invite that is known here."
        # Whoever could invite in this server's name can take it back in its name.
        if domain_of(event.sender) not in outside.servers and not await self._is_shown_to_be_allowed(
            origin, event, member.event
        ):
            return "The event's auth events do not allow it."
        user_id = event.state_key or ""
        await self._committer.commit(
            # The user may have joined, or been invited again, while servers were asked.
            ExpectMembership(room_id, user_id, outside.member_id),
            member_outlier(event, event.membership or ""),
            DropStripped(user_id, room_id),
        )
        return None

    async def _find_outside(self, room_id: str, pdu: Any) -> _Outside | None:
        user_id = self._local_target(pdu)
        if user_id is None:
            return None
        return await self._database.read(lambda tx: self._find(tx, room_id, user_id))

    def _local_target(self, pdu: Any) -> str | None:
        """The user of this server who is put out, or kept out, by somebody else."""
        if not isinstance(pdu, dict) or pdu.get("type") != MEMBER or not isinstance(pdu.get("content"), dict):
            return None
        user_id = pdu.get("state_key")
        if not isinstance(user_id, str) or pdu.get("sender") == user_id:
            return None
        try:
            is_ours = parse_user_id(user_id).domain == self._server_name
        except InvalidIdentifier:
            return None
        return user_id if is_ours and pdu["content"].get("membership") in _TAKEN_BACK else None

    def _find(self, tx: Transaction, room_id: str, user_id: str) -> _Outside | None:
        room = self._rooms.find(tx, room_id)
        row = self._memberships.find(tx, room_id, user_id)
        if room is None or row is None or row.membership not in _OUTSIDE:
            return None
        shown = self._stripped.find(tx, user_id, room_id)
        member_id = find_event_ids(tx, (row.event_nid,))[row.event_nid]
        return _Outside(room.version, member_id, () if shown is None else shown.servers)

    async def _is_shown_to_be_allowed(self, origin: str, event: Event, member: Event) -> bool:
        if self._asking[origin] >= ASKED_AT_ONCE or self._asking.total() >= ALL_ASKED_AT_ONCE:
            # It sends such events as quickly as it likes, and answers as slowly.
            raise AskedTooMuch("Too much is asked of your server already.")
        self._asking[origin] += 1
        try:
            pdus = await self._ask.event_auth(origin, event.room_id, event.event_id)
        finally:
            self._asking[origin] -= 1
            if not self._asking[origin]:
                del self._asking[origin]
        chain = await self._check.check_many(pdus, event.rules, event.room_id)
        creates = [each.event_id for each in chain.values() if each.type == "m.room.create"]
        if event.rules.room_create_in_auth_events and not set(creates) & set(member.auth_events):
            # Some other room that calls itself the same.
            return False
        known = {member.event_id: member}
        chain.pop(member.event_id, None)
        return event.event_id in judge_by_auth_events({**chain, event.event_id: event}, known).accepted
