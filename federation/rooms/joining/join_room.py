"""Join a room that other servers have. Source: server-server API, "Joining Rooms"."""

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import DeferredLock

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR
from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event, decode_pdu
from federation.room_dag.room_versions import RoomRules
from federation.rooms.accept_event import AcceptEvent
from federation.rooms.event_store import EventStore
from federation.rooms.joining.handshake import Handshake, Wanted, first_that_helps
from federation.rooms.joining.joins_under_way import JoinsUnderWay
from federation.rooms.joining.signed_join import take_signed
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.receiving.auth_order import Judged, judge_by_auth_events
from federation.rooms.receiving.check_pdu import CheckPdus
from federation.rooms.receiving.keep_outliers import KeepOutliers
from federation.rooms.receiving.remote import MAX_STATE_EVENTS, V2, RemoteServers
from federation.rooms.room_state import StatePair
from federation.rooms.take_room import TakeRoom
from federation.transport.errors import InvalidAnswer
from federation.transport.federation_client import api_path
from storage.gaps import AddGap
from storage.stripped_states import DropStripped


class JoinRoom:
    """One join of a room at a time: the second user finds the room here already."""

    def __init__(
        self,
        servers: RemoteServers,
        handshake: Handshake,
        check: CheckPdus,
        rooms: LiveRooms,
        events: EventStore,
        take_room: TakeRoom,
        accept: AcceptEvent,
        keep: KeepOutliers,
        under_way: JoinsUnderWay,
        server_name: str,
    ) -> None:
        self._servers = servers
        self._handshake = handshake
        self._check = check
        self._rooms = rooms
        self._events = events
        self._take_room = take_room
        self._accept = accept
        self._keep = keep
        self._under_way = under_way
        self._server_name = server_name
        self._locks: dict[str, DeferredLock] = {}

    async def join(
        self, room_id: str, user_id: str, content: Mapping[str, Any], servers: Sequence[str]
    ) -> bool:
        """Whether the user was joined; False if this server turned out to be in the room: then join it from here.

        Raises `NoServerHelped`, `CommitFailed`.
        """
        lock = self._locks.setdefault(room_id, DeferredLock())
        await lock.acquire()
        try:
            if await self._is_in_room(room_id):
                return False
            wanted = Wanted(room_id, user_id, "join", content)
            with self._under_way.one():
                await first_that_helps(
                    servers, self._server_name, lambda destination: self._through(destination, wanted)
                )
            return True
        finally:
            lock.release()
            if not lock.locked:
                self._locks.pop(room_id, None)

    async def _is_in_room(self, room_id: str) -> bool:
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            return False
        return room.committed.has_member_of(self._server_name)

    async def _through(self, destination: str, wanted: Wanted) -> None:
        event = await self._handshake.make(destination, wanted)
        await self._check_version(destination, event)
        path = api_path(V2 + "send_join", wanted.room_id, event.event_id)
        answer = await self._servers.put(destination, path, decode_pdu(event), {"omit_members": "false"})
        # All members are needed: an answer without them is not what was asked for.
        if answer.get("members_omitted") is True:
            raise InvalidAnswer(destination, "members are omitted")
        event = await take_signed(self._check, destination, event, answer.get("event"))
        state_pdus, chain_pdus = _pdus(destination, answer, "state"), _pdus(destination, answer, "auth_chain")
        events = await self._check.check_many([*state_pdus, *chain_pdus], event.rules, event.room_id)
        judged = judge_by_auth_events({**events, event.event_id: event}, {})
        if event.event_id not in judged.accepted:
            raise InvalidAnswer(destination, "the auth events do not allow the join")
        in_state = await self._check.check_many(state_pdus, event.rules, event.room_id)
        state = _as_state(destination, in_state, judged, event.rules)
        _check_allowed(destination, event, state)
        others = (AddGap(event.room_id, event.event_id), DropStripped(wanted.user_id, event.room_id))
        if await self._find_known(event.room_id) is not None:
            await self._check_beginning(destination, state[CREATE_PAIR])
            await self._keep.keep({**judged.accepted, **judged.rejected})
            ids = {pair: each.event_id for pair, each in state.items()}
            await self._accept.accept_return(event, ids, *others)
        else:
            chain = [each for each in judged.accepted.values() if each.event_id != event.event_id]
            await self._take_room.take(event.rules, event, state, chain, *others)

    async def _find_known(self, room_id: str) -> RoomRules | None:
        """The rules of a room that this server was in before."""
        try:
            return (await self._rooms.get(room_id)).rules
        except UnknownRoom:
            return None

    async def _check_version(self, destination: str, event: Event) -> None:
        known = await self._find_known(event.room_id)
        if known is not None and known is not event.rules:
            raise InvalidAnswer(destination, "the room has another version than it had")

    async def _check_beginning(self, destination: str, create: Event) -> None:
        room = await self._rooms.get(create.room_id)
        if create.event_id != room.committed.entries[CREATE_PAIR]:
            raise InvalidAnswer(destination, "the room has another create event than it had")


def _pdus(destination: str, answer: Mapping[str, Any], key: str) -> list[Any]:
    value = answer.get(key)
    if not isinstance(value, list) or len(value) > MAX_STATE_EVENTS:
        raise InvalidAnswer(destination, f"{key} is not a list of a reasonable length")
    return value


def _check_allowed(destination: str, event: Event, state: Mapping[StatePair, Event]) -> None:
    """The join was checked against its own auth events; what state it is in, the answer says alone."""
    # From version 12 on the room's ID names the create event.
    if event.rules.room_create_in_auth_events and state[CREATE_PAIR].event_id not in event.auth_events:
        raise InvalidAnswer(destination, "the state has another create event than the join")
    try:
        check_event_auth(event, state.get)
    except NotAllowed as error:
        raise InvalidAnswer(destination, f"the state does not allow the join: {error}") from None


def _as_state(
    destination: str, events: Mapping[str, Event], judged: Judged, rules: RoomRules
) -> dict[StatePair, Event]:
    state: dict[StatePair, Event] = {}
    for event_id, event in events.items():
        if not event.is_state or event.state_pair in state:
            raise InvalidAnswer(destination, "the state is no state")
        if event_id in judged.accepted:
            state[event.state_pair] = event
    create = state.get(CREATE_PAIR)
    if create is None:
        raise InvalidAnswer(destination, "the state has no create event")
    # "room_version ... Defaults to "1" if the key does not exist."
    if create.content.get("room_version", "1") != rules.version:
        raise InvalidAnswer(destination, "the room has another version than the template")
    return state
