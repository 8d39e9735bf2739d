"""Invite a user of another server. Source: server-server API, "Inviting to a room"."""

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR
from federation.room_dag.event import Event, InvalidEvent, decode_pdu
from federation.room_dag.identifiers import domain_of
from federation.room_dag.signing import InvalidSignature
from federation.rooms.accept_event import AcceptEvent, Verdict
from federation.rooms.draft import Draft
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.receiving.check_pdu import CheckPdus
from federation.rooms.receiving.remote import V2, RemoteServers
from federation.rooms.room_state import MEMBER, StatePair
from federation.rooms.send_event import SendEvent
from federation.transport.errors import InvalidAnswer
from federation.transport.federation_client import api_path

# Client-server API, "Stripped state": what should be shown of a room.
SHOWN_TYPES = (
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)


class InviteUser:
    """The invited user's server signs the invite before it becomes part of the room."""

    def __init__(
        self,
        servers: RemoteServers,
        send_event: SendEvent,
        rooms: LiveRooms,
        events: EventStore,
        check: CheckPdus,
        accept: AcceptEvent,
    ) -> None:
        self._servers = servers
        self._send_event = send_event
        self._rooms = rooms
        self._events = events
        self._check = check
        self._accept = accept

    async def invite(self, draft: Draft) -> str:
        """The invite's event ID. Raises `FederationError`, `auth_rules.errors.NotAllowed`, `UnknownRoom`."""
        event = await self._send_event.make_template(draft)
        destination = domain_of(draft.state_key or "")
        body = {
            "event": decode_pdu(event),
            "room_version": event.rules.version,
            "invite_room_state": [decode_pdu(each) for each in await self._room_state(draft)],
        }
        path = api_path(V2 + "invite", event.room_id, event.event_id)
        answer = await self._servers.put(destination, path, body)
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

    async def _room_state(self, draft: Draft) -> list[Event]:
        """Full events, as v1.16 wants them, the create event among them."""
        entries = (await self._rooms.get(draft.room_id)).committed.entries
        pairs: list[StatePair] = [CREATE_PAIR, *((event_type, "") for event_type in SHOWN_TYPES)]
        pairs.append((MEMBER, draft.sender))
        wanted = [event_id for pair in pairs if (event_id := entries.get(pair)) is not None]
        return [stored.event for stored in (await self._events.get_many(wanted)).values()]
