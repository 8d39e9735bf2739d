"""matrix-nio, unchanged: what its users' bots and clients do every day, encrypted too."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from nio import (  # type: ignore[import-untyped]
    AsyncClient,
    AsyncClientConfig,
    JoinResponse,
    KeysUploadResponse,
    LoginResponse,
    LogoutResponse,
    RedactedEvent,
    RegisterResponse,
    Response,
    RoomCreateResponse,
    RoomInviteResponse,
    RoomLeaveResponse,
    RoomMessagesResponse,
    RoomMessageText,
    RoomRedactResponse,
    RoomSendResponse,
    SyncResponse,
    WhoamiError,
    WhoamiResponse,
)

from tests.support.configuration import SERVER_NAME
from tests.support.http_client import MatrixClient
from tests.support.postgres import postgres_database
from tests.support.server_process import ServerProcess
from tests.support.server_test_case import ServerProcessTestCase

PASSWORD = "correct horse battery"
SCENARIO_DEADLINE_S = 120.0
LONG_POLL_MS = 30_000
ENCRYPTION: dict[str, object] = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}

R = TypeVar("R", bound=Response)


def got(expected: type[R], response: object) -> R:
    """The response, if it is the expected one and not nio's way to say that something failed."""
    if not isinstance(response, expected):
        raise AssertionError(f"{expected.__name__} expected, got {response}")
    return response


def texts(response: SyncResponse, room_id: str) -> list[RoomMessageText]:
    room = response.rooms.join.get(room_id)
    events = room.timeline.events if room is not None else []
    return [event for event in events if isinstance(event, RoomMessageText)]


async def sync_until(client: AsyncClient, has_arrived: Callable[[SyncResponse], object]) -> SyncResponse:
    """Sync as a client does, until an answer has what is waited for. The scenario's deadline ends it."""
    while True:
        response = got(SyncResponse, await client.sync(timeout=LONG_POLL_MS))
        if client.should_upload_keys:
            got(KeysUploadResponse, await client.keys_upload())
        if client.should_query_keys:
            await client.keys_query()
        if has_arrived(response):
            return response


async def send_text(client: AsyncClient, room_id: str, text: str) -> str:
    content = {"msgtype": "m.text", "body": text}
    # In an encrypted room nio refuses to send to devices that nobody has verified, unless told so.
    sent = await client.room_send(room_id, "m.room.message", content, ignore_unverified_devices=True)
    return str(got(RoomSendResponse, sent).event_id)


class NioTestCase(ServerProcessTestCase):
    """Clients of one server, each with its own store."""

    @asynccontextmanager
    async def registered(self, server: ServerProcess, name: str) -> AsyncIterator[AsyncClient]:
        client = self.new_client(server, name)
        try:
            got(RegisterResponse, await client.register(name, PASSWORD, device_name="nio"))
            yield client
        finally:
            await client.close()

    def new_client(self, server: ServerProcess, name: str) -> AsyncClient:
        store = Path(self.mktemp())
        store.mkdir(parents=True)
        config = AsyncClientConfig(encryption_enabled=True, store_sync_tokens=False)
        return AsyncClient(server.base_url, name, store_path=str(store), config=config)

    async def in_one_room(
        self, alice: AsyncClient, bob: AsyncClient, initial_state: tuple[dict[str, object], ...] = ()
    ) -> str:
        """Alice creates a private room and invites Bob, who joins; both have synced that."""
        created = await alice.room_create(name="Nio's", initial_state=initial_state)
        room_id = str(got(RoomCreateResponse, created).room_id)
        got(RoomInviteResponse, await alice.room_invite(room_id, bob.user_id))
        invited = await sync_until(bob, lambda sync: room_id in sync.rooms.invite)
        self.assertIn(room_id, invited.rooms.invite)
        got(JoinResponse, await bob.join(room_id))
        await sync_until(bob, lambda sync: room_id in sync.rooms.join)
        await sync_until(alice, lambda _: bob.user_id in alice.rooms[room_id].users)
        self.assertEqual(bob.rooms[room_id].name, "Nio's")
        self.assertEqual(set(bob.rooms[room_id].users), {alice.user_id, bob.user_id})
        return room_id


class NioTests(NioTestCase):
    def test_two_users_talk_on_sqlite(self) -> None:
        asyncio.run(asyncio.wait_for(self.talk(self.start_server()), SCENARIO_DEADLINE_S))

    def test_two_users_talk_on_postgresql(self) -> None:
        server = self.start_server(postgres_database(self))
        asyncio.run(asyncio.wait_for(self.talk(server), SCENARIO_DEADLINE_S))

    async def talk(self, server: ServerProcess) -> None:
        async with self.registered(server, "alice") as alice, self.registered(server, "bob") as bob:
            self.assertEqual(alice.user_id, f"@alice:{SERVER_NAME}")
            room_id = await self.in_one_room(alice, bob)
            await self.see_a_message_and_its_redaction(alice, bob, room_id)
            await self.page_back(alice, bob, room_id)
            await self.leave(alice, bob, room_id)
            await self.log_out_and_in_again(server, alice)

    async def see_a_message_and_its_redaction(
        self, alice: AsyncClient, bob: AsyncClient, room_id: str
    ) -> None:
        event_id = await send_text(alice, room_id, "Hello, Bob")
        arrived = await sync_until(bob, lambda sync: texts(sync, room_id))
        self.assertEqual([text.body for text in texts(arrived, room_id)], ["Hello, Bob"])
        self.assertEqual(texts(arrived, room_id)[0].sender, alice.user_id)
        got(RoomRedactResponse, await alice.room_redact(room_id, event_id, reason="mistaken"))
        await sync_until(bob, lambda sync: room_id in sync.rooms.join)
        history = got(RoomMessagesResponse, await bob.room_messages(room_id, limit=5))
        redacted = [event for event in history.chunk if event.event_id == event_id]
        self.assertIsInstance(redacted[0], RedactedEvent)
        self.assertEqual(redacted[0].reason, "mistaken")

    async def page_back(self, alice: AsyncClient, bob: AsyncClient, room_id: str) -> None:
        sent = [await send_text(alice, room_id, f"Message {number}") for number in range(35)]
        newest = {"room": {"timeline": {"limit": 5}}}
        response = got(SyncResponse, await bob.sync(sync_filter=newest))
        timeline = response.rooms.join[room_id].timeline
        self.assertTrue(timeline.limited)
        self.assertEqual([event.event_id for event in timeline.events], sent[-5:])
        older, token = [], timeline.prev_batch
        while token is not None:
            page = got(RoomMessagesResponse, await bob.room_messages(room_id, token, limit=10))
            older += [event.event_id for event in page.chunk if isinstance(event, RoomMessageText)]
            token = page.end
        self.assertEqual(older, sent[-6::-1])

    async def leave(self, alice: AsyncClient, bob: AsyncClient, room_id: str) -> None:
        got(RoomLeaveResponse, await bob.room_leave(room_id))
        await sync_until(bob, lambda sync: room_id in sync.rooms.leave)
        await sync_until(alice, lambda _: bob.user_id not in alice.rooms[room_id].users)

    async def log_out_and_in_again(self, server: ServerProcess, alice: AsyncClient) -> None:
        token = alice.access_token
        got(LogoutResponse, await alice.logout())
        again = self.new_client(server, "alice")
        try:
            again.access_token = token
            got(WhoamiError, await again.whoami())
            got(LoginResponse, await again.login(PASSWORD, device_name="another"))
            self.assertEqual(got(WhoamiResponse, await again.whoami()).user_id, f"@alice:{SERVER_NAME}")
            self.assertNotEqual(again.access_token, token)
        finally:
            await again.close()


class NioEncryptionTests(NioTestCase):
    def test_two_users_talk_end_to_end_encrypted(self) -> None:
        asyncio.run(asyncio.wait_for(self.talk_in_secret(self.start_server()), SCENARIO_DEADLINE_S))

    async def talk_in_secret(self, server: ServerProcess) -> None:
        async with self.registered(server, "alice") as alice, self.registered(server, "bob") as bob:
            for client in (alice, bob):
                got(KeysUploadResponse, await client.keys_upload())
            room_id = await self.in_one_room(alice, bob, (ENCRYPTION,))
            self.assertTrue(alice.rooms[room_id].encrypted)
            for sender, receiver, text in (
                (alice, bob, "A secret"),
                (bob, alice, "Another"),
                (alice, bob, "A third"),
            ):
                await send_text(sender, room_id, text)
                await self.expect_decrypted(sender, receiver, room_id, text)

    async def expect_decrypted(
        self, sender: AsyncClient, receiver: AsyncClient, room_id: str, text: str
    ) -> None:
        arrived = await sync_until(
            receiver, lambda sync: [event for event in texts(sync, room_id) if event.sender == sender.user_id]
        )
        event = texts(arrived, room_id)[-1]
        self.assertEqual((event.body, event.sender), (text, sender.user_id))
        self.assertTrue(event.decrypted)
        with MatrixClient(receiver.homeserver, receiver.access_token) as onlooker:
            stored = onlooker.get(f"/rooms/{quote(room_id)}/event/{quote(event.event_id)}").expect(200)
        self.assertEqual(stored["type"], "m.room.encrypted")
        self.assertNotIn(text, str(stored))
