"""Ask a room's policy server to recommend events: those that users here send, and those that come unsigned.

Source: server-server API, "Policy servers" (v1.18).
"""

import logging
from typing import Protocol

from federation.room_dag.event import Event, EventTooLarge, decode_pdu
from federation.room_dag.signing import POLICY_KEY_ID, find_signature
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.policy.policy_server import (
    POLICY_PAIR,
    PolicyServer,
    find_policy_server,
    is_exempt,
    is_recommended,
    with_recommendation,
)
from federation.transport.errors import FederationError, HttpRefusal, InvalidAnswer
from federation.transport.federation_client import Body, Query, RequestPolicy
from storage.events import OUTLIER
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

SIGN_PATH = "/_matrix/policy/v1/sign"


class PolicyRequests(Protocol):
    """`federation.transport.federation_client.FederationClient`. Raises `FederationError`."""

    async def post(
        self,
        destination: str,
        path: str,
        body: Body,
        query: Query | None = None,
        *,
        policy: RequestPolicy | None = None,
    ) -> dict[str, object]: ...


class NotRecommended(Exception):
    """The policy server does not want the event in the room. `refusal` is what it said."""

    def __init__(self, refusal: HttpRefusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class PolicyServerAway(Exception):
    """The policy server could not be asked, or its answer was of no use."""


@dataclass(frozen=True, slots=True)
class Checked:
    """An event, now with the policy server's signature if it had to be asked for. `False`: it is to be soft failed."""

    event: Event
    is_recommended: bool
    is_settled: bool = False
    """Whoever brought it has the say whether it is soft failed: the current state here is not asked."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a policy server may take: for what a user sends, and for what came from elsewhere."""

    sending: RequestPolicy
    receiving: RequestPolicy


class PolicyServers:
    """Knows the policy servers of rooms, and asks them."""

    def __init__(
        self, rooms: LiveRooms, events: EventStore, requests: PolicyRequests, patience: Patience
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._requests = requests
        self._patience = patience

    async def find(self, room_id: str) -> PolicyServer | None:
        """The policy server by the room's current state; None if it uses none. Raises `UnknownRoom`."""
        room = await self._rooms.get(room_id)
        event_id = room.committed.entries.get(POLICY_PAIR)
        if event_id is None:
            return None
        stored = await self._events.find(event_id)
        state = (await self._rooms.get(room_id)).committed
        return None if stored is None else find_policy_server(stored.event.content, state)

    async def recommend(self, event: Event) -> Event:
        """An event made here, with the signature that it needs. Raises `NotRecommended`, `PolicyServerAway`,
        `UnknownRoom`, `EventTooLarge`.
        """
        server = await self._server_for(event)
        if server is None or is_recommended(event, server):
            return event
        return await self._ask(server, event, self._patience.sending)

    async def check(self, event: Event) -> Checked:
        """An event from elsewhere. Raises nothing: without a recommendation it is soft failed."""
        try:
            server = await self._server_for(event)
            if server is None or is_recommended(event, server):
                return Checked(event, True)
            stored = await self._events.find(event.event_id)
            if stored is not None and not stored.flags & OUTLIER:
                # It came before, and was decided about then.
                return Checked(event, True)
            # A signature that is wrong may be of a key that the room has changed since: it is asked for again.
            return Checked(await self._ask(server, event, self._patience.receiving), True)
        except UnknownRoom:
            return Checked(event, True)
        except (NotRecommended, PolicyServerAway, EventTooLarge) as error:
            logger.info("%s is not recommended: %s", event.event_id, error)
            return Checked(event, False)

    async def _server_for(self, event: Event) -> PolicyServer | None:
        return None if is_exempt(event.type, event.state_key) else await self.find(event.room_id)

    async def _ask(self, server: PolicyServer, event: Event, policy: RequestPolicy) -> Event:
        try:
            answer = await self._requests.post(server.name, SIGN_PATH, decode_pdu(event), policy=policy)
            signature = find_signature({"signatures": answer}, server.name, POLICY_KEY_ID)
            if signature is None:
                raise InvalidAnswer(server.name, "the policy server's signature is not in the answer")
            signed = with_recommendation(event, server, signature)
            if not is_recommended(signed, server):
                raise InvalidAnswer(server.name, "the policy server's signature is not by the room's key")
        except HttpRefusal as refusal:
            if refusal.status >= 500:
                raise PolicyServerAway(str(refusal)) from None
            raise NotRecommended(refusal) from None
        except FederationError as error:
            raise PolicyServerAway(str(error)) from None
        return signed


class NoPolicyServers:
    """Every event is welcome: for tools that work on rooms without a network."""

    async def check(self, event: Event) -> Checked:
        return Checked(event, True)
