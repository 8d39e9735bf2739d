"""A site is lost and built again from nothing, while the other one goes on."""

from pathlib import Path
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.federation.peers import eventually
from tests.integration.sites.sites import TwoSites
from tests.support.configuration import Database, SqliteFile
from tests.support.http_client import MatrixClient
from tests.support.postgres import postgres_database


class JoinTests(SynchronousTestCase):
    """`anna` is on PostgreSQL; `berta` is first on SQLite, and rebuilt on PostgreSQL."""

    def setUp(self) -> None:
        super().setUp()
        databases: tuple[Database, Database] = (postgres_database(self), SqliteFile())
        self.sites = TwoSites(Path(self.mktemp()).resolve(), databases)
        self.addCleanup(self.sites.kill9)
        self.sites.start()
        self.alice = self.client("anna")
        self.alice.register("alice")
        self.room_id = self.alice.post("/createRoom", {"preset": "public_chat"}).expect(200)["room_id"]

    def client(self, site: str, token: str | None = None) -> MatrixClient:
        client = MatrixClient(self.sites.url(site), token)
        self.addCleanup(client.close)
        return client

    def send(self, client: MatrixClient, text: str) -> None:
        path = f"/rooms/{self.room_id}/send/m.room.message/{quote(text)}"
        client.put(path, {"msgtype": "m.text", "body": text}).expect(200)

    def texts(self, client: MatrixClient) -> list[str]:
        answer = client.get(f"/rooms/{self.room_id}/messages", {"dir": "b", "limit": 100})
        if answer.status != 200:
            return []
        events = answer.json["chunk"]
        return sorted(event["content"]["body"] for event in events if event["type"] == "m.room.message")

    def test_a_lost_site_is_rebuilt_from_the_other(self) -> None:
        self.send(self.alice, "before")
        there = self.client("berta", self.alice.access_token)
        eventually(lambda: self.texts(there) == ["before"], "the message is at berta")
        self.sites.lose("berta")
        self.send(self.alice, "meanwhile")
        self.sites.rebuild("berta", "anna", postgres_database(self))
        self.send(self.alice, "after the copy")
        self.sites.processes["berta"].start()
        there = self.client("berta", self.alice.access_token)
        wanted = ["after the copy", "before", "meanwhile"]
        eventually(lambda: self.texts(there) == wanted, "everything is at berta again")
        self.send(there, "from the new site")
        wanted = sorted([*wanted, "from the new site"])
        eventually(lambda: self.texts(self.alice) == wanted, "the new site is heard")
        self.assertIn("site berta: log berta-2", self.sites.command("berta", "status"))
        # What concerns only one site is told a moment later than what concerns both.
        eventually(
            lambda: "anna: idle, backlog 0" in self.sites.command("berta", "status"),
            "nothing is left to tell",
        )

    def test_a_database_in_use_is_not_touched(self) -> None:
        self.send(self.alice, "precious")
        self.sites.processes["anna"].terminate()
        with self.assertRaises(AssertionError) as failure:
            self.sites.command("anna", "join", "--from", "berta")
        self.assertIn("nothing was changed", str(failure.exception))
        self.sites.processes["anna"].start()
        self.assertEqual(self.texts(self.client("anna", self.alice.access_token)), ["precious"])

    def test_a_site_with_other_secrets_is_not_filled(self) -> None:
        self.sites.lose("berta")
        with self.assertRaises(AssertionError) as failure:
            self.sites.rebuild("berta", "anna", postgres_database(self), {"macaroon_secret_key": "another"})
        self.assertIn("macaroon_secret_key", str(failure.exception))

    def test_init_prints_what_the_configurations_need(self) -> None:
        printed = self.sites.command("anna", "init", "--name", "nice", "--url", "https://nice.example:8449")
        self.assertIn("- name: nice", printed)
        self.assertIn('verify_key: "ed25519:anna ', printed)
        self.assertIn("-----BEGIN CERTIFICATE-----", printed)
        again = self.sites.command("anna", "init", "--name", "nice", "--url", "https://nice.example:8449")
        self.assertEqual(again, printed)
