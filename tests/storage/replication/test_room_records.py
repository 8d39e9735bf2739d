"""Receipts and requests of clients on two sites."""

import random

from twisted.trial.unittest import SynchronousTestCase

from storage.change import Conflict
from storage.database import WriteTransaction
from storage.receipts import PUBLIC, ReceiptRow, ReceiptsRepository, StoreReceipt
from storage.transactions import DropTransactions, RecordTransaction, SupersededSend, TransactionsRepository
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"
ROOM = "!room:one.example"
SCOPE = f"{ALICE} PHONE"
REQUEST = b"request"


class RoomRecordsTests(SitesMixin):
    def given_events(self, orderings: dict[StoredSite, list[int]]) -> None:
        """Events $0, $1, ... with these depths; each site has them in an order of its own."""
        for site, order in orderings.items():

            def write(tx: WriteTransaction, order: list[int] = order) -> None:
                for place, depth in enumerate(order):
                    tx.run(
                        "INSERT INTO events (nid, event_id, room, ordering, type, sender, flags, push, json)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (
                            900_000 + place,
                            f"${depth}",
                            tx.intern_one(ROOM),
                            place + 1,
                            tx.intern_one("m.room.message"),
                            tx.intern_one(ALICE),
                            0,
                            0,
                            b'{"depth":%d,"origin_server_ts":1}' % depth,
                        ),
                    )

            site.database.write_now(write)

    def read_up_to(self, site: StoredSite, depth: int, order: list[int]) -> None:
        site.commit(StoreReceipt(ROOM, ALICE, PUBLIC, None, f"${depth}", order.index(depth) + 1, site.now_ms))

    def receipt(self, site: StoredSite) -> ReceiptRow:
        (row,) = site.read(lambda tx: ReceiptsRepository().get_of_user(tx, ALICE, (ROOM,)))
        return row

    def test_the_receipt_that_is_further_in_the_room_stays_whatever_the_order_at_a_site(self) -> None:
        here, there = [1, 2, 3, 4], [3, 4, 1, 2]
        self.given_events({self.anna: here, self.berta: there})
        self.read_up_to(self.anna, 3, here)
        self.berta.now_ms += 10
        self.read_up_to(self.berta, 2, there)
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.receipt(site).event_id for site in (self.anna, self.berta)], ["$3"] * 2)
        # What was read there stays read, though it lies behind in that site's order.
        self.assertEqual(self.receipt(self.berta).ordering, 4)

    def test_receipts_in_any_order_end_the_same(self) -> None:
        choice = random.Random(1)
        here, there = list(range(1, 30)), list(range(1, 30))
        choice.shuffle(there)
        self.given_events({self.anna: here, self.berta: there})
        sites = {self.anna: here, self.berta: there}
        for _ in range(60):
            site = choice.choice(list(sites))
            site.now_ms += choice.choice((0, 1, 3))
            if choice.random() < 0.5:
                self.read_up_to(site, choice.randrange(1, 30), sites[site])
            else:
                other = self.berta if site is self.anna else self.anna
                site.take_in(other.name, [placed.record for placed in other.export(site.name)])
        self.exchange(*sites)
        self.exchange(*sites)
        self.assertEqual(self.anna.all_values(), self.berta.all_values())  # type: ignore[attr-defined]

    def made(self, site: StoredSite) -> str | None:
        return site.read(lambda tx: TransactionsRepository().find_event_id(tx, SCOPE, REQUEST))

    def test_a_request_that_was_done_is_known_at_the_other_site(self) -> None:
        self.anna.commit(RecordTransaction(SCOPE, REQUEST, "$a", 1))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.made(self.berta), "$a")
        with self.assertRaises(Conflict):  # type: ignore[attr-defined]
            self.berta.commit(RecordTransaction(SCOPE, REQUEST, "$b", 2))

    def test_of_two_done_in_a_cut_the_earlier_stays_and_its_maker_alone_takes_back_the_other(self) -> None:
        superseded: dict[str, list[str]] = {}
        for site in (self.anna, self.berta):
            told = superseded.setdefault(site.name, [])
            site.log.follow(
                lambda entries, told=told: told.extend(  # type: ignore[misc]
                    entry.key[1] for entry in entries if entry.kind == SupersededSend.kind
                )
            )
        self.anna.commit(RecordTransaction(SCOPE, REQUEST, "$a", 1))
        self.berta.now_ms += 10
        self.berta.commit(RecordTransaction(SCOPE, REQUEST, "$b", 2))
        self.exchange(self.anna, self.berta)
        self.exchange(self.berta, self.anna)
        self.assertEqual([self.made(self.anna), self.made(self.berta)], ["$a", "$a"])
        self.assertEqual(superseded, {"anna": [], "berta": ["$b"]})

    def test_what_takes_no_place_in_the_log_is_told_all_the_same(self) -> None:
        self.anna.commit(RecordTransaction(SCOPE, b"one", "$1", 1))
        heard = self.anna.log.position
        self.anna.commit(RecordTransaction(SCOPE, REQUEST, "$a", 1))
        (placed,) = self.anna.export("berta", after=heard)
        self.assertEqual(placed.record.value, {"event_id": "$a", "at_ms": 1})

    def test_that_the_other_sites_receipt_is_behind_is_told_after_all_that_it_had_heard(self) -> None:
        order = [1, 2, 3]
        self.given_events({self.anna: order, self.berta: order})
        self.read_up_to(self.anna, 3, order)
        heard = self.anna.log.position
        self.berta.now_ms += 10
        self.read_up_to(self.berta, 2, order)
        self.anna.hear(self.berta)
        self.berta.take_in("anna", [each.record for each in self.anna.export("berta", after=heard)])
        self.assertEqual(self.receipt(self.berta).event_id, "$3")

    def test_a_request_that_was_forgotten_is_not_told_again(self) -> None:
        self.anna.commit(RecordTransaction(SCOPE, REQUEST, "$a", 1))
        self.anna.commit(DropTransactions(5))
        self.assertEqual(self.anna.export("berta"), [])


class SqliteRoomRecordsTests(SqliteStorage, RoomRecordsTests, SynchronousTestCase): ...


class PostgresRoomRecordsTests(PostgresStorage, RoomRecordsTests, SynchronousTestCase): ...
