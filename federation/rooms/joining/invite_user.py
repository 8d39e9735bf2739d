"""Invite a user of another server. Source: server-server API, "Inviting to a room"."""

from collections.abc import Sequence
from typing import Any, Protocol

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event, InvalidEvent, decode_pdu
from federation.room_dag.identifiers import domain_of
from federation.room_dag.room_versions import EventIdFormat
from federation.room_dag.signing import InvalidSignature
from federation.rooms.accept_event import AcceptEvent, Verdict
from federation.rooms.draft import Draft
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.policy.ask_policy_server import PolicyServers
from federation.rooms.receiving.check_pdu import CheckPdus
from federation.rooms.receiving.remote import V1, V2
from federation.rooms.room_state import MEMBER, StatePair
from federation.rooms.send_event import SendEvent
from federation.transport.errors import HttpRefusal, InvalidAnswer
from federation.transport.federation_client import Body, Query, api_path

# Client-server API, "Stripped state": what should be shown of a room.
SHOWN_TYPES = (
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)
MAX_SHOWN = 100
_STRIPPED_KEYS = ("content", "sender", "state_key", "type")


class InvitedServers(Protocol):
    """`federation.transport.federation_client.FederationClient`. All raise `FederationError`."""

    async def put(
        self, destination: str, path: str, body: Body, query: Query | None = None
    ) -> dict[str, Any]: ...

    async def request(
        self, method: str, destination: str, path: str, query: Query | None, body: Body | None
    ) -> Any: ...


class InviteUser:
    """The invited user's server signs the invite before it becomes part of the room."""

    def __init__(
        self,
        servers: InvitedServers,
        send_event: SendEvent,
        rooms: LiveRooms,
        events: EventStore,
        check: CheckPdus,
        accept: AcceptEvent,
        policy: PolicyServers,
        additional: Sequence[tuple[str, str | None]],
    ) -> None:
        """`additional` is state to show besides the usual: type and state key, None for all state keys."""
        self._servers = servers
        self._send_event = send_event
        self._rooms = rooms
        self._events = events
        self._check = check
        self._accept = accept
        self._policy = policy
        self._additional = additional

    async def invite(self, draft: Draft) -> str:
        """The invite's event ID. Raises `FederationError`, `auth_rules.errors.NotAllowed`, `UnknownRoom`, and as
        `PolicyServers.recommend`.

        If it raises, nothing of the invite is left here.
        """
        await self._check_federates(draft.room_id)
        event = await self._policy.recommend(await self._send_event.make_template(draft))
        destination = domain_of(draft.state_key or "")
        answer = await self._ask(destination, event, await self._room_state(draft))
        try:
            signed = await self._check.check(answer.get("event"), event.rules, event.room_id)
        except (InvalidEvent, InvalidSignature) as error:
            raise InvalidAnswer(destination, f"the invite came back unusable: {error}") from None
        if signed.event_id != event.event_id or signed.content != event.content:
            raise InvalidAnswer(destination, "another event than ours came back")
        if await self._accept.accept(signed) not in (Verdict.ACCEPTED, Verdict.KNOWN):
            # The room moved on meanwhile, so that the inviter may not invite any more.
            raise InvalidAnswer(destination, "the invite is not allowed any more")
        return signed.event_id

    async def _check_federates(self, room_id: str) -> None:
        room = await self._rooms.get(room_id)
        create = room.auth_events[room.committed.entries[CREATE_PAIR]]
        # "m.federate: Whether users on other servers can join this room." The auth rules would only stop them later.
        if create.content.get("m.federate") is False:
            raise NotAllowed("the room is for users of its own server only")

    async def _ask(self, destination: str, event: Event, state: Sequence[Event]) -> dict[str, Any]:
        body = {
            "event": decode_pdu(event),
            "room_version": event.rules.version,
            "invite_room_state": [decode_pdu(each) for each in state],
        }
        path = api_path(V2 + "invite", event.room_id, event.event_id)
        try:
            return await self._servers.put(destination, path, body)
        except HttpRefusal as refusal:
            # "Senders which receive a 400 or 404 response to this endpoint should retry using the v1 API as the server
            # may be older, if the room version is "1" or "2"."
            is_old = event.rules.event_id_format is EventIdFormat.LOCALPART_AND_DOMAIN
            if not is_old or refusal.status not in (400, 404):
                raise
            return await self._ask_v1(destination, event, state, refusal)

    async def _ask_v1(
        self, destination: str, event: Event, state: Sequence[Event], refusal: HttpRefusal
    ) -> dict[str, Any]:
        stripped = [
            {key: value for key, value in decode_pdu(each).items() if key in _STRIPPED_KEYS} for each in state
        ]
        body = {**decode_pdu(event), "unsigned": {"invite_room_state": stripped}}
        path = api_path(V1 + "invite", event.room_id, event.event_id)
        try:
            answer = await self._servers.request("PUT", destination, path, None, body)
        except HttpRefusal as second:
            # A server that knows the second version only has said why not before.
            raise refusal if second.errcode == "M_UNRECOGNIZED" else second from None
        # "the response is an array of two elements": 200, and the object that version 2 answers with.
        if not isinstance(answer, list) or len(answer) != 2 or not isinstance(answer[1], dict):
            raise InvalidAnswer(destination, "the answer to the invite is not a pair")
        signed: dict[str, Any] = answer[1]
        return signed

    async def _room_state(self, draft: Draft) -> list[Event]:
        """Full events, as v1.16 wants them, the create event among them."""
        entries = (await self._rooms.get(draft.room_id)).committed.entries
        pairs: list[StatePair] = [CREATE_PAIR, *((event_type, "") for event_type in SHOWN_TYPES)]
        pairs.append((MEMBER, draft.sender))
        pairs.extend((event_type, key) for event_type, key in self._additional if key is not None)
        whole_types = {event_type for event_type, key in self._additional if key is None}
        if whole_types:
            pairs.extend(pair for pair in entries if pair[0] in whole_types)
        wanted = [event_id for pair in dict.fromkeys(pairs) if (event_id := entries.get(pair)) is not None]
        return [stored.event for stored in (await self._events.get_many(wanted[: MAX_SHOWN - 1])).values()]
