"""Knock on, and leave, rooms that this server is not in: turning down an invite, taking back a knock.

Source: server-server API, "Knocking upon a room", "Leaving Rooms (Rejecting Invites)".
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from federation.room_dag.event import Event, EventTemplate, build_event, decode_pdu, reference_hash_base64
from federation.room_dag.room_versions import EventFormat, RoomRules
from federation.room_dag.signing import EventSigner
from federation.rooms.event_store import EventStore
from federation.rooms.joining.handshake import Handshake, NoServerHelped, Wanted, first_that_helps
from federation.rooms.joining.stripped import member_outlier, strip_entry, strip_event
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.receiving.remote import V1, V2, RemoteServers
from federation.transport.errors import InvalidAnswer
from federation.transport.federation_client import api_path
from storage.committer import Committer
from storage.database import Database
from storage.expected_membership import ExpectMembership, MembershipMovedOn, find_member_event_id
from storage.rooms import AddRoom
from storage.stripped_states import DropStripped, KeepStripped

MAX_STATE_ENTRIES = 100


class KnockRoom:
    """Knocks on rooms of other servers, and remembers what they show of themselves."""

    def __init__(
        self,
        servers: RemoteServers,
        handshake: Handshake,
        rooms: LiveRooms,
        database: Database,
        committer: Committer,
        server_name: str,
    ) -> None:
        self._servers = servers
        self._handshake = handshake
        self._rooms = rooms
        self._database = database
        self._committer = committer
        self._server_name = server_name

    async def knock(
        self, room_id: str, user_id: str, content: Mapping[str, Any], servers: Sequence[str]
    ) -> None:
        """Raises `NoServerHelped`, `CommitFailed`."""
        wanted = Wanted(room_id, user_id, "knock", content)
        before = await self._database.read(lambda tx: find_member_event_id(tx, room_id, user_id))
        await first_that_helps(
            servers, self._server_name, lambda destination: self._through(destination, wanted, before)
        )

    async def _through(self, destination: str, wanted: Wanted, before: str | None) -> None:
        event = await self._handshake.make(destination, wanted)
        with suppress(UnknownRoom):
            if (await self._rooms.get(wanted.room_id)).rules is not event.rules:
                raise InvalidAnswer(destination, "the room has another version than it had")
        path = api_path(V1 + "send_knock", wanted.room_id, event.event_id)
        answer = await self._servers.put(destination, path, decode_pdu(event))
        entries = answer.get("knock_room_state")
        if not isinstance(entries, list):
            raise InvalidAnswer(destination, "knock_room_state is not a list")
        stripped = [entry for each in entries[:MAX_STATE_ENTRIES] if (entry := strip_entry(each)) is not None]
        own = strip_event(event)
        if own not in stripped:
            stripped.append(own)
        # An invite may be the answer, and quicker than this one.
        with suppress(MembershipMovedOn):
            await self._committer.commit(
                ExpectMembership(wanted.room_id, wanted.user_id, before),
                AddRoom(event.room_id, event.rules.version),
                member_outlier(event, "knock"),
                KeepStripped(wanted.user_id, wanted.room_id, tuple(stripped), (destination,)),
            )


class LeaveRemoteRoom:
    """Leaves through another server; if none can be reached, this server's user is out of it all the same."""

    def __init__(
        self,
        servers: RemoteServers,
        handshake: Handshake,
        events: EventStore,
        committer: Committer,
        signer: EventSigner,
    ) -> None:
        self._servers = servers
        self._handshake = handshake
        self._events = events
        self._committer = committer
        self._signer = signer

    async def leave(
        self, user_id: str, member_event_id: str, content: Mapping[str, Any], servers: Sequence[str]
    ) -> str:
        """The ID of the leave event; `member_event_id` is the invite or the knock. Raises `CommitFailed`."""
        stored = await self._events.find(member_event_id)
        assert stored is not None
        member = stored.event
        wanted = Wanted(member.room_id, user_id, "leave", content)
        try:
            event: Event = await first_that_helps(
                servers, self._signer.server_name, lambda destination: self._through(destination, wanted)
            )
            if event.rules is not member.rules:
                event = self._alone(member, wanted)
        except NoServerHelped:
            # The user must be able to be rid of the invite whatever became of the room's servers.
            event = self._alone(member, wanted)
        # The user may have joined, or been invited again, while servers were asked.
        with suppress(MembershipMovedOn):
            await self._committer.commit(
                ExpectMembership(member.room_id, user_id, member_event_id),
                member_outlier(event, "leave"),
                DropStripped(user_id, member.room_id),
            )
        return event.event_id

    async def _through(self, destination: str, wanted: Wanted) -> Event:
        event = await self._handshake.make(destination, wanted)
        path = api_path(V2 + "send_leave", wanted.room_id, event.event_id)
        await self._servers.put(destination, path, decode_pdu(event))
        return event

    def _alone(self, member: Event, wanted: Wanted) -> Event:
        rules: RoomRules = member.rules
        hashes = {}
        if rules.event_format is EventFormat.ID_AND_HASH_PAIRS:
            hashes[member.event_id] = reference_hash_base64(member)
        template = EventTemplate(
            type="m.room.member",
            sender=wanted.user_id,
            room_id=member.room_id,
            state_key=wanted.user_id,
            content={**wanted.content, "membership": "leave"},
            origin_server_ts=self._handshake.now_ms(),
            depth=member.depth + 1,
            prev_events=(member.event_id,),
            auth_events=(member.event_id,),
            reference_hashes=hashes,
        )
        return build_event(template, rules, self._signer, self._handshake.local_id(rules))
