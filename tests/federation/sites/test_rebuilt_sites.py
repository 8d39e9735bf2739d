"""A site that was built anew from the copy of one site gets what only another one still has of it."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from federation.sites.batch import LogName
from federation.sites.link import EMPTY_AFTER_S, SiteLink
from federation.sites.read_batch import ReadBatch
from storage.account_data import NO_ROOM, AccountDataRepository, SetAccountData
from storage.devices import AddDevice
from storage.one_time_keys import AddOneTimeKeys, OneTimeKey, OneTimeKeysRepository
from tests.federation.sites.test_link import Wire
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"
PHONE = "PHONE"


class RebuiltSiteTests(SitesMixin):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.anna.become("anna")
        self.berta.become("berta")
        self.link(self.berta, self.anna, "anna")
        self.berta.commit(AddDevice(ALICE, PHONE, None, 1), SetAccountData(ALICE, NO_ROOM, "theme", b"{}"))
        self.berta.commit(AddOneTimeKeys(ALICE, PHONE, (OneTimeKey("signed_curve25519", "1", b'"k"'),)))
        self.settle()
        # Carla has heard of nothing yet; berta is lost, and begins again as a copy of her.
        self.rebuilt = self.given_site("berta")
        self.rebuilt.become("berta-2")

    def link(self, origin: StoredSite, target: StoredSite, log: str) -> Wire:
        wire = Wire(origin, target, self.sleep)
        wire._target = log
        link = SiteLink(
            target.name,
            wire,
            ReadBatch(LogName(origin.name, origin.name), origin.database, origin.exports),
            origin.log,
            origin.committer,
            self.sleep,
            lambda: int(self.clock.seconds() * 1000),
            lambda peer, position: None,
        )
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(link.stop())))  # type: ignore[attr-defined]
        link.start()
        return wire

    def settle(self) -> None:
        for _ in range(4):
            self.clock.advance(EMPTY_AFTER_S)

    async def sleep(self, delay_s: float) -> None:
        await deferLater(self.clock, delay_s)  # type: ignore[arg-type]

    def has_theme(self, site: StoredSite) -> bool:
        found = site.read(lambda tx: AccountDataRepository().find(tx, ALICE, NO_ROOM, "theme"))
        return found is not None

    def count_keys(self, site: StoredSite) -> int:
        counts = site.read(lambda tx: OneTimeKeysRepository().get_counts(tx, ALICE, PHONE))
        return sum(counts.one_time.values())

    def test_what_it_had_told_one_site_alone_comes_back(self) -> None:
        self.assertTrue(self.has_theme(self.anna))  # type: ignore[attr-defined]
        self.link(self.anna, self.rebuilt, "berta-2")
        self.settle()
        self.assertTrue(self.has_theme(self.rebuilt))  # type: ignore[attr-defined]

    def test_it_does_not_count_keys_that_it_cannot_give_out_any_more(self) -> None:
        self.assertEqual(self.count_keys(self.anna), 1)  # type: ignore[attr-defined]
        self.link(self.anna, self.rebuilt, "berta-2")
        self.settle()
        self.assertEqual(self.count_keys(self.rebuilt), 0)  # type: ignore[attr-defined]

    def test_what_comes_of_its_new_log_is_not_sent_back(self) -> None:
        wire = self.link(self.anna, self.rebuilt, "berta-2")
        back = Wire(self.rebuilt, self.anna, self.sleep)
        link = SiteLink(
            "anna",
            back,
            ReadBatch(LogName("berta", "berta-2"), self.rebuilt.database, self.rebuilt.exports),
            self.rebuilt.log,
            self.rebuilt.committer,
            self.sleep,
            lambda: int(self.clock.seconds() * 1000),
            lambda peer, position: None,
        )
        back._origin = "berta-2"
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(link.stop())))  # type: ignore[attr-defined]
        link.start()
        for number in range(3):
            self.rebuilt.commit(SetAccountData(ALICE, NO_ROOM, f"new{number}", b"{}"))
            self.settle()
        sent = [record["key"] for batch in wire.batches for record in batch["records"]]
        self.assertNotIn([ALICE, NO_ROOM, "new1"], sent)  # type: ignore[attr-defined]
        self.assertNotIn([ALICE, NO_ROOM, "new2"], sent)  # type: ignore[attr-defined]


class SqliteRebuiltSiteTests(SqliteStorage, RebuiltSiteTests, SynchronousTestCase): ...


class PostgresRebuiltSiteTests(PostgresStorage, RebuiltSiteTests, SynchronousTestCase): ...
