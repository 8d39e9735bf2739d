"""Sites of different versions: what a newer one sends waits at the older one, until that is newer too."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from storage.account_data import NO_ROOM, AccountDataRepository, SetAccountData
from storage.held_back import HeldBackRepository, HeldEvent, HoldEvent, PostponeEvent, ReleaseEvent
from storage.replication.apply_records import ApplyRecords
from storage.replication.hybrid_clock import HybridClock
from storage.replication.kinds.all_kinds import ALL_KINDS
from storage.replication.record import Record, Version
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"
KIND = "account_data"
EVENT = HeldEvent("anna", "!room:one.example", "99", False, b'{"type":"m.room.message"}')


def set_theme(number: int, name: str = "theme") -> SetAccountData:
    return SetAccountData(ALICE, NO_ROOM, name, b'{"n":%d}' % number)


class HeldRecordsTests(SitesMixin):
    def setUp(self) -> None:
        super().setUp()
        self.use_kinds(self.berta, [kind for kind in ALL_KINDS if kind.name != KIND])

    def use_kinds(self, site: StoredSite, kinds: Any) -> None:
        """Another version of the server, on the same database."""
        site.apply = ApplyRecords(site.name, kinds, HybridClock(lambda: site.now_ms))

    def upgrade(self, site: StoredSite) -> None:
        self.use_kinds(site, ALL_KINDS)
        self.take_again(site)

    def take_again(self, site: StoredSite) -> None:
        kinds = site.apply.known_kinds
        for record in site.read(lambda tx: HeldBackRepository().get_records(tx, kinds, -1, 100)):
            site.take_again(record)

    def theme_at(self, site: StoredSite, name: str = "theme") -> bytes | None:
        row = site.read(lambda tx: AccountDataRepository().find(tx, ALICE, NO_ROOM, name))
        return None if row is None else bytes(row.content)

    def waiting(self, site: StoredSite) -> int:
        return site.read(HeldBackRepository().count).records

    def test_what_waited_is_taken_after_an_upgrade(self) -> None:
        self.anna.commit(set_theme(1))
        self.berta.hear(self.anna)
        self.assertEqual((self.theme_at(self.berta), self.waiting(self.berta)), (None, 1))  # type: ignore[attr-defined]
        self.upgrade(self.berta)
        self.assertEqual((self.theme_at(self.berta), self.waiting(self.berta)), (b'{"n":1}', 0))  # type: ignore[attr-defined]
        # It is as if it had come now: others are told.
        self.assertEqual(len(self.berta.export("carla")), 1)  # type: ignore[attr-defined]

    def test_of_several_versions_the_latest_waits_whatever_the_order(self) -> None:
        self.anna.commit(set_theme(1))
        old = [placed.record for placed in self.anna.export("berta")]
        self.anna.commit(set_theme(2))
        self.berta.hear(self.anna)
        self.berta.take_in("anna", old)
        self.assertEqual(self.waiting(self.berta), 1)  # type: ignore[attr-defined]
        self.upgrade(self.berta)
        self.assertEqual(self.theme_at(self.berta), b'{"n":2}')  # type: ignore[attr-defined]

    def test_what_waited_does_not_undo_what_came_later(self) -> None:
        self.anna.commit(set_theme(1))
        self.berta.hear(self.anna)
        self.use_kinds(self.berta, ALL_KINDS)
        self.anna.now_ms += 1
        self.anna.commit(set_theme(2))
        self.berta.hear(self.anna)
        self.take_again(self.berta)
        self.assertEqual((self.theme_at(self.berta), self.waiting(self.berta)), (b'{"n":2}', 0))  # type: ignore[attr-defined]

    def test_a_record_that_is_not_understood_waits_and_what_is_beside_it_does_not(self) -> None:
        self.use_kinds(self.berta, ALL_KINDS)
        self.anna.commit(set_theme(1), set_theme(2, "other"))
        records = [placed.record for placed in self.anna.export("berta")]
        later = Version(records[0].version.clock + 1, "anna")
        wrong = [
            Record("session", (ALICE, "s"), [], later),
            Record("one_time_key", (ALICE, "DEVICE", "not hexadecimal"), {}, later),
            Record("login_ban", ("192.0.2.1",), {"level": None, "until_ms": 1}, later),
            Record("session", (), {}, later),
            Record(KIND, (ALICE,), {}, later),
        ]
        self.berta.take_in("anna", [*wrong, *records])
        self.assertEqual(self.theme_at(self.berta), b'{"n":1}')  # type: ignore[attr-defined]
        self.assertEqual(self.theme_at(self.berta, "other"), b'{"n":2}')  # type: ignore[attr-defined]
        self.assertEqual(self.waiting(self.berta), len(wrong))  # type: ignore[attr-defined]
        self.take_again(self.berta)
        self.assertEqual(self.waiting(self.berta), len(wrong))  # type: ignore[attr-defined]

    def test_numbers_of_any_size_wait_unchanged(self) -> None:
        value = {"large": 10**30, "nested": [None, True, "ü\ud800".encode("utf-8", "replace").decode()]}
        self.berta.take_in("anna", [Record("no.such", ("x",), value, Version(5, "anna"), "owner")])
        (record,) = self.berta.read(lambda tx: HeldBackRepository().get_records(tx, ["no.such"], -1, 10))
        self.assertEqual(record, Record("no.such", ("x",), value, Version(5, "anna"), "owner"))  # type: ignore[attr-defined]

    def test_events_wait_until_they_are_tried_again(self) -> None:
        repository = HeldBackRepository()
        self.berta.commit(HoldEvent(EVENT, "why", 1_000, 2_000), HoldEvent(EVENT, "again", 1_500, 1_500))
        self.assertEqual(self.berta.read(lambda tx: repository.get_events(tx, 1_999, 10)), [])  # type: ignore[attr-defined]
        (tried,) = self.berta.read(lambda tx: repository.get_events(tx, 2_000, 10))
        self.assertEqual((tried.event, tried.tries), (EVENT, 0))  # type: ignore[attr-defined]
        self.berta.commit(PostponeEvent(EVENT.digest, "still", 9_000))
        self.assertEqual(self.berta.read(lambda tx: repository.get_events(tx, 2_000, 10)), [])  # type: ignore[attr-defined]
        (tried,) = self.berta.read(lambda tx: repository.get_events_of(tx, EVENT.room_id, 10))
        self.assertEqual(tried.tries, 1)  # type: ignore[attr-defined]
        self.berta.commit(ReleaseEvent(EVENT.digest))
        self.assertEqual(self.berta.read(repository.count).events, 0)  # type: ignore[attr-defined]
        self.assertEqual(self.berta.read(repository.get_rooms), set())  # type: ignore[attr-defined]


class SqliteHeldRecordsTests(SqliteStorage, HeldRecordsTests, SynchronousTestCase): ...


class PostgresHeldRecordsTests(PostgresStorage, HeldRecordsTests, SynchronousTestCase): ...
