"""send_join, send_knock, send_leave: member events that other servers made from our templates.

Source: server-server API, "Joining Rooms", "Knocking upon a room", "Leaving Rooms".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from federation.room_dag.event import Event, InvalidEvent, sign_event
from federation.room_dag.identifiers import InvalidIdentifier, domain_of
from federation.room_dag.signing import EventSigner, InvalidSignature
from federation.rooms.accept_event import MissingEvents, Verdict
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.read_graph import ReadGraph
from federation.rooms.receiving.check_pdu import parse_whole_pdu
from federation.rooms.receiving.fetch_missing import StateUnavailable
from federation.rooms.receiving.receive_pdu import ReceivePdu
from federation.rooms.receiving.remote import EventVerifier
from federation.rooms.room_state import MEMBER, StatePair
from federation.transport.errors import FederationError
from popcube_server.services.errors import InvalidParam, NotAllowed, NotFound
from popcube_server.services.federation.authorize_joins import AuthorizeJoins
from popcube_server.services.federation.room_access import RoomAccess, servers_of
from popcube_server.services.sync.heroes import Heroes
from popcube_server.services.sync.stripped_state import RoomStrippedState
from storage.committer import Committer
from storage.forwarded_events import ForwardEvent
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Joined:
    """The answer to send_join."""

    event: Event
    state: Sequence[Event]
    auth_chain: Sequence[Event]
    servers_in_room: Sequence[str] | None
    """Given if members are omitted."""


class TakeMembership:
    def __init__(
        self,
        access: RoomAccess,
        authorize: AuthorizeJoins,
        rooms: LiveRooms,
        events: EventStore,
        graph: ReadGraph,
        verifier: EventVerifier,
        receive_pdu: ReceivePdu,
        stripped: RoomStrippedState,
        heroes: Heroes,
        committer: Committer,
        signer: EventSigner,
    ) -> None:
        self._access = access
        self._authorize = authorize
        self._rooms = rooms
        self._events = events
        self._graph = graph
        self._verifier = verifier
        self._receive_pdu = receive_pdu
        self._stripped = stripped
        self._heroes = heroes
        self._committer = committer
        self._signer = signer

    async def join(self, origin: str, room_id: str, event_id: str, pdu: Any, *, omit_members: bool) -> Joined:
        """Raises `NotFound`, `NotAllowed`, `InvalidParam`."""
        event = await self._take(origin, room_id, event_id, pdu, "join")
        stored = await self._events.find(event_id)
        before = None if stored is None else await self._graph.state_before(stored)
        if before is None:
            raise NotFound("This server does not know the state there.")
        shown_members = await self._shown_members(room_id, event) if omit_members else ()
        ids = [
            each
            for pair, each in before.items()
            if not omit_members or pair[0] != MEMBER or pair[1] in shown_members
        ]
        state = await self._graph.events_of(ids)
        shown = {each.event_id for each in state}
        chain = await self._graph.auth_chain([event_id, *ids])
        chain = [each for each in chain if not omit_members or each.event_id not in shown]
        if not omit_members:
            return Joined(event, state, chain, None)
        return Joined(event, state, chain, await self._servers_before(room_id, event, before))

    async def _shown_members(self, room_id: str, event: Event) -> Sequence[str]:
        # "If the room to be joined has no `m.room.name` nor `m.room.canonical_alias` events in its current state, the
        # resident server should determine the room members who would be included in the `m.heroes` property ... [and]
        # include these members' membership events in the response `state` field".
        room = await self._rooms.get(room_id)
        return await self._heroes.of(room_id, room.committed, event.sender) or ()

    async def _servers_before(
        self, room_id: str, event: Event, before: Mapping[StatePair, str]
    ) -> Sequence[str]:
        # `servers_in_room`: "those with joined members ... before the join".
        state = (await self._rooms.get(room_id)).committed
        servers = servers_of(state)
        origin = domain_of(event.sender)
        previous_id = before.get((MEMBER, event.sender))
        previous = None if previous_id is None else await self._events.find(previous_id)
        was_joined = previous is not None and previous.event.membership == "join"
        if not was_joined and state.servers.get(origin) == 1 and state.is_joined(event.sender):
            servers.remove(origin)
        return servers

    async def knock(self, origin: str, room_id: str, event_id: str, pdu: Any) -> Sequence[bytes]:
        """JSON of the stripped state. Raises `NotFound`, `NotAllowed`, `InvalidParam`."""
        event = await self._take(origin, room_id, event_id, pdu, "knock")
        room = await self._rooms.get(room_id)
        return await self._stripped.of(room.committed, event.sender)

    async def leave(self, origin: str, room_id: str, event_id: str, pdu: Any) -> None:
        """Raises `NotFound`, `NotAllowed`, `InvalidParam`."""
        await self._take(origin, room_id, event_id, pdu, "leave")

    async def _take(self, origin: str, room_id: str, event_id: str, pdu: Any, membership: str) -> Event:
        room = await self._access.resident(origin, room_id)
        try:
            event = parse_whole_pdu(pdu, room.rules, room_id)
        except InvalidEvent as error:
            raise InvalidParam(f"The event is not valid: {error}") from None
        if event.event_id != event_id:
            raise InvalidParam("The event does not have the ID that the path says.")
        if event.type != MEMBER or event.membership != membership or event.state_key != event.sender:
            raise InvalidParam(f"That is not a {membership} event of a user.")
        if domain_of(event.sender) != origin:
            raise NotAllowed("That user is not one of your server's.")
        event = await self._authorised(event)
        try:
            await self._verifier.verify(event)
        except InvalidSignature as error:
            raise NotAllowed(f"The event is not properly signed: {error}") from None
        try:
            verdict = await self._receive_pdu.receive(origin, event)
        except (FederationError, StateUnavailable, MissingEvents) as error:
            raise InvalidParam(f"What the event stands on is not to be had: {error}") from None
        stored = await self._events.find(event_id)
        # An event that was refused before is known too.
        if verdict not in (Verdict.ACCEPTED, Verdict.KNOWN) or stored is None or not stored.is_visible:
            raise NotAllowed("The room's rules do not allow the event.")
        # "the resident server ... sends the event to the other servers participating in the room"
        await self._committer.commit(ForwardEvent(room_id, event_id))
        # With the policy server's signature, if the room has one.
        return stored.event

    async def _authorised(self, event: Event) -> Event:
        """With our signature, if a user of ours is to vouch for the join."""
        user_id = event.content.get("join_authorised_via_users_server")
        if not event.rules.restricted_joins or event.membership != "join" or not isinstance(user_id, str):
            return event
        try:
            is_ours = domain_of(user_id) == self._signer.server_name
        except InvalidIdentifier:
            raise InvalidParam("join_authorised_via_users_server is not a user ID.") from None
        if not is_ours:
            return event
        # The event need not be the template that we made: the conditions are checked before our signature vouches.
        if await self._authorize.find_authorizer(event.room_id, event.sender) is None:
            return event
        return sign_event(event, self._signer)
