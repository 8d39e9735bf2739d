"""End-to-end encryption between real clients: matrix-nio on either side, and matrix-js-sdk with its crypto in Rust."""

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from nio import (  # type: ignore[import-untyped]
    AsyncClient,
    AsyncClientConfig,
    JoinResponse,
    KeysUploadResponse,
    LoginResponse,
    RegisterResponse,
    RoomCreateResponse,
    RoomInviteResponse,
    RoomMessageText,
)

from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
)
from tests.integration.federation.peers import PASSWORD, Peer
from tests.integration.js_sdk_driver import run_driver
from tests.integration.test_nio import ENCRYPTION, got, send_text, sync_until, texts
from tests.support.http_client import MatrixClient

SCENARIO_DEADLINE_S = 120.0


class EncryptionScenarios(Scenarios):
    def test_messages_go_both_ways(self) -> None:
        for near, far in self.both_ways():
            run(self.talk(near, far))

    def test_a_device_that_logs_in_later_reads_what_is_said_from_then_on(self) -> None:
        for near, far in self.both_ways():
            run(self.talk_to_new_device(near, far))

    def test_what_is_said_while_they_do_not_reach_each_other_is_read_afterwards(self) -> None:
        for near, far in self.both_ways():
            run(self.talk_over_cut(near, far))

    def test_what_is_said_while_a_server_is_down_is_read_afterwards(self) -> None:
        run(self.talk_to_dead_server(self.here, self.there))

    def test_clients_of_the_sdk_talk(self) -> None:
        run_driver(self.here.base_url, "encrypted", self.there.base_url)

    async def talk(self, near: Peer, far: Peer) -> None:
        async with registered(near, "alice") as alice, registered(far, "bob") as bob:
            room_id = await in_one_room(alice, bob)
            for sender, receiver, text in (
                (alice, bob, "A secret"),
                (bob, alice, "Another"),
                (alice, bob, "A third"),
                (bob, alice, "A fourth"),
            ):
                await send_text(sender, room_id, text)
                await self.expect_decrypted(receiver, room_id, text)

    async def talk_to_new_device(self, near: Peer, far: Peer) -> None:
        async with registered(near, "alice") as alice, registered(far, "bob") as bob:
            room_id = await in_one_room(alice, bob)
            await send_text(alice, room_id, "To one device")
            await self.expect_decrypted(bob, room_id, "To one device")
            async with logged_in(far, bob) as second:
                # Another server must hear of it before it is sent a key.
                await sync_until(alice, lambda _: knows_device(alice, second))
                await send_text(alice, room_id, "To two devices")
                for receiver in (bob, second):
                    await self.expect_decrypted(receiver, room_id, "To two devices")
                await sync_until(alice, lambda _: knows_device(alice, second))
                await send_text(second, room_id, "From the new one")
                for receiver in (alice, bob):
                    await self.expect_decrypted(receiver, room_id, "From the new one")

    async def talk_over_cut(self, near: Peer, far: Peer) -> None:
        async with registered(near, "alice") as alice, registered(far, "bob") as bob:
            room_id = await in_one_room(alice, bob)
            await send_text(alice, room_id, "Before")
            await self.expect_decrypted(bob, room_id, "Before")
            # A new key goes to Bob's device during the cut, which knows Alice's.
            alice.invalidate_outbound_session(room_id)
            with self.partition():
                await send_text(alice, room_id, "Said during the cut")
            # Both have something new: nobody waits for the other to be heard of.
            await send_text(bob, room_id, "Said after it")
            await self.expect_decrypted(alice, room_id, "Said after it")
            await send_text(alice, room_id, "And again")
            await self.expect_decrypted(bob, room_id, "Said during the cut", "And again")

    async def talk_to_dead_server(self, near: Peer, far: Peer) -> None:
        async with registered(near, "alice") as alice, registered(far, "bob") as bob:
            room_id = await in_one_room(alice, bob)
            await send_text(alice, room_id, "Before")
            await self.expect_decrypted(bob, room_id, "Before")
            near.kill9()
            try:
                await send_text(bob, room_id, "Meanwhile")
            finally:
                near.start()
            alice.homeserver = near.base_url
            await send_text(alice, room_id, "Afterwards")
            await self.expect_decrypted(bob, room_id, "Afterwards")
            await self.expect_decrypted(alice, room_id, "Meanwhile")

    async def expect_decrypted(self, receiver: AsyncClient, room_id: str, *expected: str) -> None:
        """These arrive, in whatever order, and nobody on the way could read them."""
        missing = set(expected)
        found: list[RoomMessageText] = []

        def take(sync: Any) -> bool:
            found.extend(event for event in texts(sync, room_id) if event.body in missing)
            return {event.body for event in found} == missing

        await sync_until(receiver, take)
        for event in found:
            self.assertTrue(event.decrypted, event)
            with MatrixClient(receiver.homeserver, receiver.access_token) as onlooker:
                path = f"/rooms/{quote(room_id)}/event/{quote(event.event_id)}"
                stored = onlooker.get(path).expect(200)
            self.assertEqual(stored["type"], "m.room.encrypted")
            self.assertNotIn(event.body, str(stored))


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, SCENARIO_DEADLINE_S))


@asynccontextmanager
async def client_of(
    peer: Peer, name: str, begin: Callable[[AsyncClient], Coroutine[Any, Any, None]]
) -> AsyncIterator[AsyncClient]:
    """With a store of its own, and its keys uploaded."""
    with tempfile.TemporaryDirectory() as store:
        config = AsyncClientConfig(encryption_enabled=True, store_sync_tokens=False)
        client = AsyncClient(peer.base_url, name, store_path=store, config=config)
        try:
            await begin(client)
            got(KeysUploadResponse, await client.keys_upload())
            yield client
        finally:
            await client.close()


def registered(peer: Peer, name: str) -> Any:
    unique = f"{name}-{uuid.uuid4().hex[:8]}"

    async def begin(client: AsyncClient) -> None:
        got(RegisterResponse, await client.register(unique, PASSWORD, device_name="nio"))

    return client_of(peer, unique, begin)


def logged_in(peer: Peer, user: AsyncClient) -> Any:
    """The same user with another device."""

    async def begin(client: AsyncClient) -> None:
        got(LoginResponse, await client.login(PASSWORD, device_name="another"))
        await client.sync(timeout=0, full_state=True)

    return client_of(peer, user.user_id, begin)


async def in_one_room(alice: AsyncClient, bob: AsyncClient) -> str:
    """A private, encrypted room of Alice's that Bob joins; both have synced that."""
    created = await alice.room_create(name="Nio's", initial_state=(ENCRYPTION,))
    room_id = str(got(RoomCreateResponse, created).room_id)
    got(RoomInviteResponse, await alice.room_invite(room_id, bob.user_id))
    await sync_until(bob, lambda sync: room_id in sync.rooms.invite)
    got(JoinResponse, await bob.join(room_id))
    await sync_until(bob, lambda sync: room_id in sync.rooms.join)
    await sync_until(alice, lambda _: bob.user_id in alice.rooms[room_id].users and knows_device(alice, bob))
    await sync_until(bob, lambda _: knows_device(bob, alice))
    return room_id


def knows_device(client: AsyncClient, other: AsyncClient) -> bool:
    return other.device_id in {device.id for device in client.device_store.active_user_devices(other.user_id)}


class EncryptionOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, EncryptionScenarios):
    pass


class EncryptionOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, EncryptionScenarios):
    pass


class EncryptionBetweenOursTests(TwoOfOurs, EncryptionScenarios):
    pass
