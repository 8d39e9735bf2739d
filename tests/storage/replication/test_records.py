"""Records that several sites write apart become one, whatever the order in which the sites hear of them."""

import random

from twisted.trial.unittest import SynchronousTestCase

from storage.account_data import NO_ROOM, AccountDataRepository, SetAccountData
from storage.change import Change
from storage.held_back import HeldBackRepository
from storage.profiles import ClearProfile, DeleteProfileField, ProfilesRepository, SetProfileField
from storage.replication.record import Record, Version
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"


def theme(content: bytes) -> SetAccountData:
    return SetAccountData(ALICE, NO_ROOM, "theme", content)


class RecordsTests(SitesMixin):
    def theme_of(self, site: StoredSite) -> bytes | None:
        row = site.read(lambda tx: AccountDataRepository().find(tx, ALICE, NO_ROOM, "theme"))
        return None if row is None else bytes(row.content)

    def test_what_one_site_wrote_is_at_the_other(self) -> None:
        self.anna.commit(theme(b'{"dark":true}'))
        self.berta.hear(self.anna)
        self.assertEqual(self.theme_of(self.berta), b'{"dark":true}')

    def test_the_later_write_wins_on_both(self) -> None:
        self.anna.commit(theme(b'{"n":1}'))
        self.berta.now_ms += 1
        self.berta.commit(theme(b'{"n":2}'))
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.theme_of(site) for site in (self.anna, self.berta)], [b'{"n":2}'] * 2)

    def test_writes_at_the_same_instant_end_the_same(self) -> None:
        self.anna.commit(theme(b'{"n":1}'))
        self.berta.commit(theme(b'{"n":2}'))
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.theme_of(site) for site in (self.anna, self.berta)], [b'{"n":2}'] * 2)

    def test_a_write_after_hearing_wins_although_the_clock_is_behind(self) -> None:
        self.anna.now_ms += 60_000
        self.anna.commit(theme(b'{"n":1}'))
        self.berta.hear(self.anna)
        self.berta.commit(theme(b'{"n":2}'))
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.theme_of(site) for site in (self.anna, self.berta)], [b'{"n":2}'] * 2)

    def test_a_clock_that_was_set_back_does_not_undo_later_writes(self) -> None:
        self.anna.commit(theme(b'{"n":1}'))
        again = StoredSite("anna", self.anna.engine)
        self.addCleanup(again.database.close)  # type: ignore[attr-defined]
        again.now_ms -= 500_000
        again.commit(theme(b'{"n":2}'))
        self.berta.hear(again)
        self.assertEqual(self.theme_of(self.berta), b'{"n":2}')

    def test_a_deletion_is_at_the_other(self) -> None:
        self.anna.commit(SetProfileField(ALICE, "displayname", b'"Alice"'))
        self.berta.hear(self.anna)
        self.berta.commit(DeleteProfileField(ALICE, "displayname"))
        self.anna.hear(self.berta)
        self.assertEqual(self.anna.read(lambda tx: ProfilesRepository().get(tx, ALICE)), {})

    def test_a_late_old_write_does_not_bring_back_what_was_deleted(self) -> None:
        self.anna.commit(SetProfileField(ALICE, "displayname", b'"Alice"'))
        old = [placed.record for placed in self.anna.export("berta")]
        self.berta.take_in("anna", old)
        self.berta.commit(ClearProfile(ALICE))
        self.berta.take_in("anna", old)
        self.assertEqual(self.berta.read(lambda tx: ProfilesRepository().get(tx, ALICE)), {})

    def test_what_a_peer_wrote_is_not_sent_back_to_it(self) -> None:
        self.anna.commit(theme(b"{}"))
        self.berta.hear(self.anna)
        self.assertEqual(self.berta.export("anna"), [])
        self.assertEqual(len(self.berta.export("carla")), 1)

    def test_what_arrives_is_in_the_log_like_any_change(self) -> None:
        self.anna.commit(theme(b"{}"))
        seen: list[Change | None] = []
        self.berta.log.follow(lambda entries: seen.extend(entry.change for entry in entries))
        self.berta.hear(self.anna)
        self.berta.hear(self.anna)
        self.assertEqual(seen, [theme(b"{}")])

    def test_a_record_of_an_unknown_kind_waits_and_nothing_else_does(self) -> None:
        self.anna.commit(theme(b"{}"))
        records = [placed.record for placed in self.anna.export("berta")]
        unknown = Record("no.such", ("x",), 1, Version(1, "anna"))
        self.berta.take_in("anna", [unknown, *records])
        self.assertEqual(self.theme_of(self.berta), b"{}")
        self.assertEqual(self.berta.read(HeldBackRepository().count).records, 1)

    def test_a_batch_never_parts_what_was_written_at_one_position(self) -> None:
        self.anna.commit(SetProfileField(ALICE, "a", b"1"), SetProfileField(ALICE, "b", b"1"))
        self.anna.commit(ClearProfile(ALICE))
        self.assertEqual(len(self.anna.export("berta", limit=1)), 2)

    def test_any_order_of_hearing_ends_the_same(self) -> None:
        for seed in range(20):
            self.check_random_exchange(random.Random(seed))

    def check_random_exchange(self, choice: random.Random) -> None:
        sites = [self.anna, self.berta]
        for _ in range(30):
            site = choice.choice(sites)
            site.now_ms += choice.choice((0, 0, 1, 5, -3))
            if choice.random() < 0.6:
                site.commit(self.random_change(choice))
            else:
                other = choice.choice(sites)
                records = [placed.record for placed in other.export(site.name, limit=choice.randrange(1, 5))]
                if other is not site:
                    site.take_in(other.name, records)
        self.exchange(*sites)
        values = [site.all_values() for site in sites]
        self.assertEqual(values[0], values[1])  # type: ignore[attr-defined]

    def random_change(self, choice: random.Random) -> Change:
        value = str(choice.randrange(100)).encode()
        return choice.choice(
            (
                SetAccountData(ALICE, NO_ROOM, choice.choice("ab"), b'{"n":%s}' % value),
                SetProfileField(ALICE, choice.choice("ab"), value),
                DeleteProfileField(ALICE, choice.choice("ab")),
                ClearProfile(ALICE),
            )
        )


class SqliteRecordsTests(SqliteStorage, RecordsTests, SynchronousTestCase): ...


class PostgresRecordsTests(PostgresStorage, RecordsTests, SynchronousTestCase): ...
