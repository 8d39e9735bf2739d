"""Files of media between processes: over the link, over a cut, and to a site that is built from nothing."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.federation.peers import eventually
from tests.integration.sites.sites import TwoSites
from tests.support.configuration import Database, SqliteFile
from tests.support.http_client import MatrixClient
from tests.support.postgres import postgres_database

LARGE = bytes(range(256)) * 12_000
"""3 MB: many pieces, and more than is held in memory."""


class MediaCase(SynchronousTestCase):
    """`anna` is on PostgreSQL; `berta` is first on SQLite, and rebuilt on PostgreSQL."""

    durability = "local"

    def setUp(self) -> None:
        super().setUp()
        databases: tuple[Database, Database] = (postgres_database(self), SqliteFile())
        self.sites = TwoSites(Path(self.mktemp()).resolve(), databases, self.durability)
        self.addCleanup(self.sites.kill9)
        self.sites.start()
        self.alice = self.client("anna")
        self.alice.register("alice")

    def client(self, site: str, token: str | None = None) -> MatrixClient:
        client = MatrixClient(self.sites.url(site), token)
        self.addCleanup(client.close)
        return client

    def upload(self, client: MatrixClient, data: bytes) -> str:
        """`server/media_id`."""
        answer = client.request_bytes("POST", "/_matrix/media/v3/upload", data, "application/octet-stream")
        uri: str = answer.expect(200)["content_uri"]
        return uri.removeprefix("mxc://")

    def has(self, client: MatrixClient, media: str, data: bytes) -> bool:
        answer = client.request("GET", f"/_matrix/client/v1/media/download/{media}")
        return answer.status == 200 and answer.body == data

    def files(self, site: str) -> int:
        folder = self.sites.plans[site].directory
        return sum(path.is_file() for path in folder.rglob("files/??/*"))


class MediaTests(MediaCase):
    def test_files_are_at_both_sites_also_those_of_a_cut(self) -> None:
        there = self.client("berta", self.alice.access_token)
        media = self.upload(self.alice, LARGE)
        eventually(lambda: self.files("berta") == 1, "the file is at berta")
        self.sites.cut()
        self.assertTrue(self.has(there, media, LARGE))
        at_anna, at_berta = self.upload(self.alice, b"anna's"), self.upload(there, b"berta's")
        self.sites.heal()
        eventually(lambda: (self.files("anna"), self.files("berta")) == (3, 3), "all files are at both sites")
        self.assertTrue(self.has(there, at_anna, b"anna's"))
        self.assertTrue(self.has(self.alice, at_berta, b"berta's"))

    def test_a_site_that_joins_has_all_files_before_it_starts(self) -> None:
        media = [self.upload(self.alice, b"%d" % number) for number in range(20)]
        large = self.upload(self.alice, LARGE)
        eventually(lambda: self.files("berta") == 21, "all files are at berta")
        self.sites.lose("berta")
        self.sites.rebuild("berta", "anna", postgres_database(self))
        self.assertEqual(self.files("berta"), 21)
        self.sites.processes["berta"].start()
        # What was copied outlives the site where it was uploaded.
        self.sites.lose("anna")
        there = self.client("berta", self.alice.access_token)
        self.assertTrue(self.has(there, large, LARGE))
        self.assertTrue(self.has(there, media[7], b"7"))

    def test_files_can_be_left_for_later(self) -> None:
        for number in range(3):
            self.upload(self.alice, b"%d" % number)
        self.sites.lose("berta")
        self.sites.rebuild("berta", "anna", postgres_database(self), options=("--media", "later"))
        self.assertEqual(self.files("berta"), 0)
        # Given again, the command goes on where it was.
        self.sites.command("berta", "join", "--from", "anna")
        self.assertEqual(self.files("berta"), 3)
        with self.assertRaises(AssertionError) as failure:
            self.sites.command("berta", "join", "--from", "anna")
        self.assertIn("nothing was changed", str(failure.exception))

    def test_the_server_fetches_what_was_left_for_later(self) -> None:
        for number in range(3):
            self.upload(self.alice, b"%d" % number)
        self.sites.lose("berta")
        self.sites.rebuild("berta", "anna", postgres_database(self), options=("--media", "later"))
        self.sites.processes["berta"].start()
        eventually(lambda: self.files("berta") == 3, "all files are at berta")


class DurableMediaTests(MediaCase):
    durability = "site"

    def test_what_was_answered_survives_the_loss_of_its_site_at_once(self) -> None:
        there = self.client("berta", self.alice.access_token)
        eventually(lambda: self._is_safe(), "anna waits for berta")
        uploads = [self.upload(self.alice, LARGE + b"%d" % number) for number in range(5)]
        self.sites.lose("anna")
        for number, media in enumerate(uploads):
            self.assertTrue(self.has(there, media, LARGE + b"%d" % number))

    def _is_safe(self) -> bool:
        return "durability safe" in self.sites.command("anna", "status")
