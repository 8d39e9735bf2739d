"""mautrix, unchanged: the library that bridges and bots are made of."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from mautrix.api import Method, Path
from mautrix.client import Client, InternalEventType
from mautrix.errors import MForbidden, MUnknownToken
from mautrix.types import (
    Event,
    EventID,
    EventType,
    Membership,
    MessageEvent,
    PaginationDirection,
    RoomID,
    StateEvent,
    SyncToken,
    UserID,
)

from tests.support.configuration import SERVER_NAME
from tests.support.server_process import ServerProcess
from tests.support.server_test_case import ServerProcessTestCase

PASSWORD = "correct horse battery"
SCENARIO_DEADLINE_S = 120.0


class Inbox:
    """What a client's sync loop has brought so far, and a way to wait for more."""

    def __init__(self, client: Client) -> None:
        self._events: list[Any] = []
        self._arrived = asyncio.Condition()
        self.problem: Exception | None = None
        client.add_event_handler(EventType.ALL, self._keep)
        client.add_event_handler(InternalEventType.SYNC_ERRORED, self._note_problem)

    async def _keep(self, event: Event) -> None:
        async with self._arrived:
            self._events.append(event)
            self._arrived.notify_all()

    async def _note_problem(self, data: dict[str, Any]) -> None:
        async with self._arrived:
            self.problem = data["error"]
            self._arrived.notify_all()

    async def wait_for(self, is_it: Callable[[Any], bool]) -> Any:
        """The first event of that kind, perhaps one that has come already."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.problem or any(map(is_it, self._events)))
        if self.problem is not None:
            raise self.problem
        return next(event for event in self._events if is_it(event))


def is_text(body: str) -> Callable[[Any], bool]:
    return lambda event: isinstance(event, MessageEvent) and event.content.body == body


def is_member(user_id: UserID, membership: Membership) -> Callable[[Any], bool]:
    def is_it(event: Any) -> bool:
        if not isinstance(event, StateEvent) or event.type != EventType.ROOM_MEMBER:
            return False
        content: Any = event.content
        return event.state_key == user_id and content.membership == membership

    return is_it


class MautrixTests(ServerProcessTestCase):
    def test_two_users_talk(self) -> None:
        asyncio.run(asyncio.wait_for(self.talk(self.start_server()), SCENARIO_DEADLINE_S))

    async def talk(self, server: ServerProcess) -> None:
        async with self.registered(server, "alice") as alice, self.registered(server, "bob") as bob:
            alices, bobs = Inbox(alice), Inbox(bob)
            alice.start(None)
            bob.start(None)
            room_id = await self.meet(alice, bob, alices, bobs)
            await self.see_a_message_and_its_redaction(alice, bob, bobs, room_id)
            await self.page_back(alice, bob, room_id)
            alice.stop()
            bob.stop()
            await self.log_out_and_in_again(alice)

    @asynccontextmanager
    async def registered(self, server: ServerProcess, name: str) -> AsyncIterator[Client]:
        # mautrix has no method to register: bridges have the application service API for that.
        client = Client(base_url=server.base_url)
        try:
            await client.api.request(
                Method.POST,
                Path.v3.register,
                {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}},
            )
            with self.assertRaises(MForbidden):
                await client.login(UserID(name), password="wrong")
            await client.login(UserID(name), password=PASSWORD, device_name="mautrix")
            self.assertEqual(client.mxid, f"@{name}:{SERVER_NAME}")
            yield client
        finally:
            client.stop()
            await client.api.session.close()

    async def meet(self, alice: Client, bob: Client, alices: Inbox, bobs: Inbox) -> RoomID:
        room_id = await alice.create_room(name="Mautrix's", topic="bridges")
        await alice.invite_user(room_id, bob.mxid)
        invite = await bobs.wait_for(is_member(bob.mxid, Membership.INVITE))
        self.assertEqual((invite.room_id, invite.sender), (room_id, alice.mxid))
        await bob.join_room(room_id)
        await alices.wait_for(is_member(bob.mxid, Membership.JOIN))
        self.assertEqual(set(await bob.get_joined_members(room_id)), {alice.mxid, bob.mxid})
        name: Any = await bob.get_state_event(room_id, EventType.ROOM_NAME)
        self.assertEqual(name.name, "Mautrix's")
        return room_id

    async def see_a_message_and_its_redaction(
        self, alice: Client, bob: Client, bobs: Inbox, room_id: RoomID
    ) -> None:
        event_id = await alice.send_text(room_id, "Hello, Bob")
        message = await bobs.wait_for(is_text("Hello, Bob"))
        self.assertEqual((message.event_id, message.sender), (event_id, alice.mxid))
        await bob.react(room_id, event_id, "👍")
        redaction_id = await alice.redact(room_id, event_id, reason="mistaken")
        await bobs.wait_for(lambda event: getattr(event, "event_id", None) == redaction_id)
        redacted = await bob.get_event(room_id, event_id)
        self.assertEqual(redacted.unsigned["redacted_because"]["event_id"], redaction_id)

    async def page_back(self, alice: Client, bob: Client, room_id: RoomID) -> None:
        sent = [await alice.send_text(room_id, f"Message {number}") for number in range(35)]
        token: SyncToken | None = None
        seen: list[EventID] = []
        while True:
            page: Any = await bob.get_messages(room_id, PaginationDirection.BACKWARD, token, limit=10)
            seen += [event.event_id for event in page.events if event.event_id in sent]
            if page.end is None:
                break
            token = page.end
        self.assertEqual(seen, sent[::-1])

    async def log_out_and_in_again(self, alice: Client) -> None:
        token, mxid = alice.api.token, alice.mxid
        await alice.logout()
        alice.api.token = token
        with self.assertRaises(MUnknownToken):
            await alice.whoami()
        await alice.login(mxid, password=PASSWORD)
        self.assertEqual((await alice.whoami()).user_id, mxid)
