"""What users keep here: account data, receipts, filters, push rules, pushers, presence."""

from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from storage.account_data import NO_ROOM, AccountDataRepository, SetAccountData
from storage.change import Conflict
from storage.filters import MAX_FILTERS, FiltersRepository, StoreFilter
from storage.presence import PresenceRepository, SetPresence
from storage.push_rules import PushRulesRepository, SetPushRules
from storage.pushers import DeletePusher, DeletePushersOfDevices, PushersRepository, SetPusher
from storage.receipts import MAIN_THREAD, PRIVATE, PUBLIC, ReceiptsRepository, StoreReceipt
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin

ALICE = "@alice:one.example"
BOB = "@bob:one.example"
ROOM = "!room:one.example"
OTHER = "!other:one.example"


class UserDataTests(StorageMixin):
    def commit(self, *changes: object) -> int:
        return self.result(self.committer.commit(*changes)).position  # type: ignore[arg-type]

    # Account data

    def test_account_data_is_replaced_and_read_by_position(self) -> None:
        repository = AccountDataRepository()
        first = self.commit(SetAccountData(ALICE, NO_ROOM, "a", b'{"n":1}'))
        self.commit(SetAccountData(ALICE, ROOM, "a", b"{}"), SetAccountData(BOB, NO_ROOM, "a", b'{"n":9}'))
        last = self.commit(SetAccountData(ALICE, NO_ROOM, "a", b'{"n":2}'))
        found = self.read(lambda tx: repository.find(tx, ALICE, NO_ROOM, "a"))
        assert found is not None
        self.assertEqual((found.content, found.position), (b'{"n":2}', last))
        changed = self.read(lambda tx: repository.get_changed(tx, ALICE, first, last))
        self.assertEqual(
            [(row.room_id, row.content) for row in changed], [(ROOM, b"{}"), (NO_ROOM, b'{"n":2}')]
        )
        self.assertEqual(self.read(lambda tx: repository.get_changed(tx, ALICE, last, last + 9)), [])
        self.assertEqual(len(self.read(lambda tx: repository.get_all(tx, ALICE))), 2)
        in_room = self.read(lambda tx: repository.get_of_room(tx, ALICE, ROOM))
        self.assertEqual([row.type for row in in_room], ["a"])
        self.assertEqual(len(self.read(lambda tx: repository.get_of_room(tx, ALICE, NO_ROOM))), 1)

    def test_unknown_account_data_is_none(self) -> None:
        repository = AccountDataRepository()
        self.assertIsNone(self.read(lambda tx: repository.find(tx, ALICE, ROOM, "a")))
        self.assertEqual(self.read(lambda tx: repository.get_all(tx, ALICE)), [])

    def test_account_data_made_from_an_old_content_is_refused(self) -> None:
        first = self.commit(SetAccountData(ALICE, ROOM, "m.tag", b"{}", 0))
        self.failure(self.committer.commit(SetAccountData(ALICE, ROOM, "m.tag", b'{"x":1}', 0)), Conflict)
        self.commit(SetAccountData(ALICE, ROOM, "m.tag", b'{"y":1}', first))
        found = self.read(lambda tx: AccountDataRepository().find(tx, ALICE, ROOM, "m.tag"))
        assert found is not None
        self.assertEqual(found.content, b'{"y":1}')

    def test_account_data_written_twice_in_one_commit_keeps_the_newer(self) -> None:
        self.commit(SetAccountData(ALICE, ROOM, "a", b"{}"), SetAccountData(ALICE, ROOM, "a", b'{"n":2}'))
        found = self.read(lambda tx: AccountDataRepository().find(tx, ALICE, ROOM, "a"))
        assert found is not None
        self.assertEqual((found.content, found.position), (b'{"n":2}', 2))

    # Receipts

    def test_receipts_move_only_forward(self) -> None:
        repository = ReceiptsRepository()
        self.commit(StoreReceipt(ROOM, ALICE, PUBLIC, None, "$b", 20, 5))
        self.commit(StoreReceipt(ROOM, ALICE, PUBLIC, None, "$a", 10, 6))
        (row,) = self.read(lambda tx: repository.get_of_user(tx, ALICE, [ROOM]))
        self.assertEqual((row.event_id, row.ordering, row.ts, row.position), ("$b", 20, 5, 1))
        self.commit(
            StoreReceipt(ROOM, ALICE, PUBLIC, None, "$d", 40, 8),
            StoreReceipt(ROOM, ALICE, PUBLIC, None, "$c", 30, 7),
        )
        (row,) = self.read(lambda tx: repository.get_of_user(tx, ALICE, [ROOM]))
        self.assertEqual((row.event_id, row.position), ("$d", 3))

    def test_receipts_are_kept_apart_by_type_and_thread(self) -> None:
        for receipt_type in (PUBLIC, PRIVATE):
            for thread in (None, MAIN_THREAD, "$root"):
                self.commit(StoreReceipt(ROOM, ALICE, receipt_type, thread, "$a", 10, 5))
        rows = self.read(lambda tx: ReceiptsRepository().get_of_user(tx, ALICE, [ROOM, OTHER]))
        self.assertEqual(len({(row.type, row.thread_id) for row in rows}), 6)

    def test_private_receipts_are_seen_only_by_their_owner(self) -> None:
        repository = ReceiptsRepository()
        self.commit(StoreReceipt(ROOM, ALICE, PRIVATE, None, "$a", 10, 5))
        self.commit(StoreReceipt(ROOM, BOB, PUBLIC, None, "$a", 10, 5))
        self.commit(StoreReceipt(OTHER, BOB, PUBLIC, None, "$x", 10, 5))

        def seen(user_id: str, after: int, upto: int) -> list[tuple[str, str]]:
            rows = self.read(lambda tx: repository.get_visible(tx, user_id, [ROOM], after, upto))
            return [(row.user_id, row.type) for row in rows]

        self.assertEqual(seen(ALICE, 0, 9), [(ALICE, PRIVATE), (BOB, PUBLIC)])
        self.assertEqual(seen(BOB, 0, 9), [(BOB, PUBLIC)])
        self.assertEqual(seen(ALICE, 1, 9), [(BOB, PUBLIC)])
        self.assertEqual(seen(ALICE, 0, 1), [(ALICE, PRIVATE)])
        self.assertEqual(seen("@stranger:one.example", 0, 9), [(BOB, PUBLIC)])

    # Filters

    def test_filters_are_the_users_own(self) -> None:
        self.commit(StoreFilter(ALICE, "f", b"{}"), StoreFilter(ALICE, "f", b"{}"))
        self.assertEqual(self.read(lambda tx: FiltersRepository().find(tx, ALICE, "f")), b"{}")
        self.assertIsNone(self.read(lambda tx: FiltersRepository().find(tx, BOB, "f")))

    def test_oldest_filters_go_when_there_are_too_many(self) -> None:
        self.commit(*(StoreFilter(ALICE, f"f{number}", b"{}") for number in range(MAX_FILTERS)))
        self.commit(StoreFilter(ALICE, "f0", b"{}"))
        self.commit(StoreFilter(ALICE, "one more", b"{}"))
        repository = FiltersRepository()
        for filter_id, expected in (("f0", b"{}"), ("f1", None), ("f2", b"{}"), ("one more", b"{}")):
            self.assertEqual(
                self.read(partial(repository.find, user_id=ALICE, filter_id=filter_id)), expected
            )

    # Push rules

    def test_push_rules_made_from_old_ones_are_refused(self) -> None:
        first = self.commit(SetPushRules(ALICE, b"{}", 0))
        self.failure(self.committer.commit(SetPushRules(ALICE, b"[]", 0)), Conflict)
        second = self.commit(SetPushRules(ALICE, b'{"n":2}', first))
        row = self.read(lambda tx: PushRulesRepository().find(tx, ALICE))
        assert row is not None
        self.assertEqual((row.rules, row.position), (b'{"n":2}', second))
        self.assertIsNone(self.read(lambda tx: PushRulesRepository().find(tx, BOB)))

    def test_rules_and_ignored_users_come_together(self) -> None:
        repository = PushRulesRepository()
        self.commit(
            SetPushRules(ALICE, b"{}", 0), SetAccountData(BOB, NO_ROOM, "m.ignored_user_list", b'{"x":1}')
        )
        self.commit(SetAccountData(ALICE, ROOM, "m.ignored_user_list", b"no"))
        rows = self.read(lambda tx: repository.get_of_users(tx, [ALICE, BOB, "@nobody:one.example"]))
        self.assertEqual(
            {(row.user_id, row.rules, row.ignored_users) for row in rows},
            {(ALICE, b"{}", None), (BOB, None, b'{"x":1}')},
        )
        self.assertEqual(self.read(lambda tx: repository.get_of_members(tx, ROOM)), [])

    # Pushers

    def test_pusher_replaces_those_of_other_users_unless_it_is_one_more(self) -> None:
        def pushers(user_id: str) -> list[bytes]:
            return self.read(lambda tx: PushersRepository().get_of_user(tx, user_id))

        self.commit(SetPusher(ALICE, "app", "key", "DEVICE", b"1", True))
        self.commit(SetPusher(BOB, "app", "key", "DEVICE", b"2", False))
        self.assertEqual((pushers(ALICE), pushers(BOB)), ([b"1"], [b"2"]))
        self.commit(SetPusher(ALICE, "app", "key", "DEVICE", b"3", True))
        self.assertEqual((pushers(ALICE), pushers(BOB)), ([b"3"], []))
        self.commit(DeletePusher(ALICE, "app", "other key"))
        self.assertEqual(pushers(ALICE), [b"3"])
        self.commit(DeletePusher(ALICE, "app", "key"))
        self.assertEqual(pushers(ALICE), [])

    def test_pushers_go_with_their_devices(self) -> None:
        for user_id, device_id in ((ALICE, "A"), (ALICE, "B"), (BOB, "A")):
            self.commit(SetPusher(user_id, "app", device_id, device_id, device_id.encode(), False))
        self.commit(DeletePushersOfDevices(ALICE, ("A", "C")))
        self.assertEqual(self.read(lambda tx: PushersRepository().get_of_user(tx, ALICE)), [b"B"])
        self.assertEqual(self.read(lambda tx: PushersRepository().get_of_user(tx, BOB)), [b"A"])

    # Presence

    def test_presence_is_the_newest(self) -> None:
        repository = PresenceRepository()
        self.commit(
            SetPresence(ALICE, "online", "a\0b", 5, True), SetPresence(BOB, "offline", None, 1, False)
        )
        self.commit(SetPresence(ALICE, "unavailable", None, 6, False))
        row = self.read(lambda tx: repository.find(tx, ALICE))
        assert row is not None
        self.assertEqual((row.state, row.status_msg, row.last_active_ms), ("unavailable", None, 6))
        self.assertEqual(
            [row.user_id for row in self.read(lambda tx: repository.get_changed(tx, 0, 9))], [BOB, ALICE]
        )
        self.assertEqual(
            [row.user_id for row in self.read(lambda tx: repository.get_changed(tx, 2, 3))], [ALICE]
        )
        self.assertEqual([row.user_id for row in self.read(repository.get_not_offline)], [ALICE])
        self.assertIsNone(self.read(lambda tx: repository.find(tx, ROOM)))


class SqliteUserDataTests(SqliteStorage, UserDataTests, SynchronousTestCase):
    pass


class PostgresUserDataTests(PostgresStorage, UserDataTests, SynchronousTestCase):
    pass
