"""matrix-nio, unchanged, with end-to-end encryption, while the site that it uses burns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from nio import (  # type: ignore[import-untyped]
    AsyncClient,
    AsyncClientConfig,
    JoinResponse,
    RegisterResponse,
    RoomCreateResponse,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.sites.sites import TwoSites
from tests.integration.test_nio import ENCRYPTION, PASSWORD, got, send_text, sync_until, texts
from tests.support.configuration import SqliteFile

SCENARIO_DEADLINE_S = 60.0


class EncryptedTests(SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        directory = Path(self.mktemp()).resolve()
        self.sites = TwoSites(directory, (SqliteFile(), SqliteFile()), "site")
        self.addCleanup(self.sites.kill9)
        self.sites.start()

    @asynccontextmanager
    async def registered(self, name: str) -> AsyncIterator[AsyncClient]:
        store = Path(self.mktemp())
        store.mkdir(parents=True)
        config = AsyncClientConfig(encryption_enabled=True, store_sync_tokens=False)
        client = AsyncClient(self.sites.url("anna"), name, store_path=str(store), config=config)
        try:
            got(RegisterResponse, await client.register(name, PASSWORD, device_name="nio"))
            yield client
        finally:
            await client.close()

    def test_clients_go_on_reading_and_writing_at_the_other_site(self) -> None:
        asyncio.run(asyncio.wait_for(self.talk_over_a_loss(), SCENARIO_DEADLINE_S))

    async def talk_over_a_loss(self) -> None:
        async with self.registered("alice") as alice, self.registered("bob") as bob:
            created = await alice.room_create(name="Nio's", initial_state=(ENCRYPTION,), invite=[bob.user_id])
            room_id = str(got(RoomCreateResponse, created).room_id)
            await sync_until(bob, lambda sync: room_id in sync.rooms.invite)
            got(JoinResponse, await bob.join(room_id))
            await sync_until(bob, lambda sync: room_id in sync.rooms.join)
            await sync_until(alice, lambda _: bob.user_id in alice.rooms[room_id].users)
            await self.say(alice, bob, room_id, "before")
            await asyncio.sleep(1)
            self.sites.lose("anna")
            for client in (alice, bob):
                # The same token, device and place in the sync.
                client.homeserver = self.sites.url("berta")
            await self.say(alice, bob, room_id, "after")
            await self.say(bob, alice, room_id, "I can read you")

    async def say(self, sender: AsyncClient, reader: AsyncClient, room_id: str, text: str) -> None:
        await send_text(sender, room_id, text)
        read = await sync_until(reader, lambda sync: text in [event.body for event in texts(sync, room_id)])
        event = next(event for event in texts(read, room_id) if event.body == text)
        self.assertTrue(event.decrypted)
