"""Clients write all the time while a third site is taken in, out and in again, and a witness after it: nobody stops."""

import asyncio
from collections import Counter
from pathlib import Path
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.federation.peers import eventually
from tests.integration.sites.changing import ChangingSites
from tests.integration.sites.load import Ledger, Load, Writer
from tests.integration.sites.reading import metric, see_room, texts
from tests.support.configuration import SqliteFile
from tests.support.http_client import MatrixClient
from tests.support.postgres import postgres_database

WRITERS = 4
PAUSE_S = 0.3
STRETCH_S = 2.0
DEADLINE_S = 180.0
TWO = ("anna", "berta")
THREE = (*TWO, "dora")
ALL = (*THREE, "carla")


class ChangingSitesTests(SynchronousTestCase):
    """`anna` is on PostgreSQL, `berta` and `dora` are on SQLite; `carla` is a witness."""

    def setUp(self) -> None:
        super().setUp()
        self.sites = ChangingSites(
            Path(self.mktemp()).resolve(), (postgres_database(self), SqliteFile()), duties_term="2s"
        )
        self.addCleanup(self.sites.kill9)
        self.sites.start()
        self.alice = self.client("anna").register("alice")
        self.room_id = self.alice.create_room(preset="public_chat")
        users = [self.client("anna").register(f"user{number}") for number in range(WRITERS)]
        for user in users:
            user.post(f"/rooms/{quote(self.room_id)}/join").expect(200)
        self.writers = [Writer(user.user_id, user.access_token or "") for user in users]
        self.ledger = Ledger()
        self.open_sites: tuple[str, ...] = TWO

    def client(self, site: str, token: str | None = None) -> MatrixClient:
        client = MatrixClient(self.sites.url(site), token)
        self.addCleanup(client.close)
        return client

    def at(self, site: str) -> MatrixClient:
        return self.client(site, self.alice.access_token)

    def test_nothing_is_lost_and_nobody_is_stopped(self) -> None:
        eventually(lambda: self.members("berta") == WRITERS + 1, "the room is at berta")
        before = [self.sites.processes[name].pid for name in TWO]
        asyncio.run(asyncio.wait_for(self.write_and_change(), DEADLINE_S))
        self.assertEqual([self.sites.processes[name].pid for name in TWO], before)
        self.check_agreement()

    async def write_and_change(self) -> None:
        load = Load(
            self.sites.url,
            lambda chance: chance.choice(self.open_sites),
            [self.room_id],
            self.ledger,
            pause_s=PAUSE_S,
        )
        writing = asyncio.ensure_future(load.run(self.writers))
        try:
            for change in (self.take_in, self.take_out, self.take_in_again, self.add_witness):
                await asyncio.sleep(STRETCH_S)
                await asyncio.to_thread(change)
            await asyncio.sleep(STRETCH_S)
        finally:
            load.stop()
            await writing

    def take_in(self) -> None:
        self.sites.plan("dora", SqliteFile())
        self.sites.write_peers("anna", *THREE)
        self.assertIn("New sites: dora", self.sites.command("anna", "reload"))
        self.sites.write_peers("berta", *THREE)
        self.sites.hang_up("berta")
        self.sites.command("dora", "join", "--from", "anna")
        self.sites.processes["dora"].start()
        eventually(lambda: self.members("dora") == WRITERS + 1, "the room is at dora")
        self.open_sites = THREE

    def take_out(self) -> None:
        self.open_sites = TWO
        for name in TWO:
            self.sites.write_peers(name, *TWO)
            self.assertIn("none any more: dora", self.sites.command(name, "reload"))
        # Who is still there has no peers any more, and goes on by itself.
        path = f"/rooms/{quote(self.room_id)}/send/m.room.message/alone"
        self.at("dora").put(path, {"msgtype": "m.text", "body": "alone"}).expect(200)
        status = self.sites.command("anna", "status")
        self.assertNotIn("  dora:", status)

    def take_in_again(self) -> None:
        self.assertNotIn("alone", [text for text, _ in texts(self.at("anna"), self.room_id)])
        for name in TWO:
            self.sites.write_peers(name, *THREE)
            self.sites.hang_up(name)
        eventually(
            lambda: "alone" in [text for text, _ in texts(self.at("berta"), self.room_id)], "it is back"
        )
        self.open_sites = THREE

    def add_witness(self) -> None:
        self.sites.plan("carla", SqliteFile(), is_witness=True)
        self.sites.processes["carla"].start()
        for name in THREE:
            self.sites.write_peers(name, *ALL)
            self.assertIn("New sites: carla", self.sites.command(name, "reload"))
        eventually(lambda: self.senders() == 1, "one of them sends to other servers")

    def senders(self) -> float:
        return sum(metric(self.client(name), 'popcube_site_duty_held{duty="federation"}') for name in THREE)

    def members(self, site: str) -> int:
        answer = self.at(site).get(f"/rooms/{quote(self.room_id)}/joined_members")
        return len(answer.json["joined"]) if answer.status == 200 else 0

    def check_agreement(self) -> None:
        def is_same() -> bool:
            seen = [see_room(self.at(name), self.room_id) for name in THREE]
            return all(one == seen[0] for one in seen)

        eventually(is_same, "all three show the same")
        self.assertGreater(len(self.ledger.answered), 20)
        self.assertEqual(self.ledger.refused, set())
        self.assertTrue({"anna", "berta", "dora"} <= {each.site for each in self.ledger.answered.values()})
        found = Counter(text for text, _ in texts(self.at("dora"), self.room_id))
        self.assertEqual(found, Counter([*self.ledger.answered, "alone"]))

    def test_a_wrong_file_is_refused_with_its_line_and_nothing_changes(self) -> None:
        path = self.sites.plans["anna"].directory / "homeserver.yaml"
        path.write_text(path.read_text().replace("verify_key: ed25519:berta", "verify_key: ed25519berta"))
        self.sites.hang_up("anna")
        eventually(
            lambda: "was not reloaded" in self.sites.processes["anna"].log_text(), "the log tells of it"
        )
        self.assertIn("sites.peers[0].verify_key", self.sites.processes["anna"].log_text())
        eventually(lambda: self.members("berta") == WRITERS + 1, "the link is there")
