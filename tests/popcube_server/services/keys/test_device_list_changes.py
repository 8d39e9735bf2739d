"""Whose keys a user's clients must look at again."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import orjson
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.keys.device_list_changes import DeviceListChanges
from storage.database import Database, Transaction
from storage.device_lists import DeviceListChanged
from storage.engines.engine import Row
from storage.events import StoreEvent
from storage.memberships import MembershipChange
from tests.storage.keys_case import ALICE, BOB, KeysMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage

T = TypeVar("T")

CAROL = "@carol:one.example"
DAVE = "@dave:one.example"
ROOM = "!room"
OTHER = "!other"


class CountingTransaction(Transaction):
    """Counts the rows that come out of the database."""

    rows = 0

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        found = super().all(sql, parameters)
        self.rows += len(found)
        return found


class CountingDatabase:
    """A database that counts what is read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reads = 0
        self.rows = 0

    async def read(self, work: Callable[[Transaction], T]) -> T:
        self.reads += 1
        return await self._database.read(lambda tx: self._work(tx, work))

    def _work(self, tx: Transaction, work: Callable[[Transaction], T]) -> T:
        counting = CountingTransaction(tx._connection, tx.names)
        result = work(counting)
        self.rows += counting.rows
        return result


class DeviceListChangesTests(KeysMixin):
    def setUp(self) -> None:
        super().setUp()
        self.counting = CountingDatabase(self.database)
        self.changes = DeviceListChanges(cast(Database, self.counting), self.log)
        self.members: dict[tuple[str, str], str] = {}
        self.events = 0

    def member(self, room_id: str, user_id: str, membership: str = "join") -> int:
        """A membership event; the position at which it came."""
        self.events += 1
        event_id = f"$event{self.events}"
        event = StoreEvent(
            room_id,
            event_id,
            "m.room.member",
            user_id,
            user_id,
            orjson.dumps({"content": {"membership": membership}}),
            None,
            replaces=self.members.get((room_id, user_id)),
            memberships=(MembershipChange(user_id, membership, event_id),),
        )
        self.members[room_id, user_id] = event_id
        return self.result(self.committer.commit(event)).position

    def keys(self, user_id: str, viewer_id: str | None = None) -> int:
        return self.result(self.committer.commit(DeviceListChanged(user_id, viewer_id))).position

    def assert_lists(self, user_id: str, since: int, changed: set[str], left: set[str] | None = None) -> None:
        lists = self.result(self.changes.between(user_id, since, self.log.position))
        self.assertEqual((lists.changed, lists.left), (changed, left or set()))

    def test_keys_of_those_who_share_a_room(self) -> None:
        for user_id in (ALICE, BOB):
            self.member(ROOM, user_id)
        self.member(OTHER, CAROL)
        since = self.log.position
        self.assert_lists(ALICE, since, set())
        self.keys(CAROL)
        middle = self.keys(BOB)
        self.assert_lists(ALICE, since, {BOB})
        self.assert_lists(ALICE, middle, set())
        self.assert_lists(CAROL, since, {CAROL})
        self.assert_lists(DAVE, since, set())

    def test_own_keys_are_told_without_any_room(self) -> None:
        since = self.log.position
        self.keys(ALICE)
        self.assert_lists(ALICE, since, {ALICE})

    def test_change_that_one_viewer_sees_is_told_to_that_one(self) -> None:
        for user_id in (ALICE, BOB, CAROL):
            self.member(ROOM, user_id)
        since = self.log.position
        self.keys(BOB, ALICE)
        self.assert_lists(ALICE, since, {BOB})
        self.assert_lists(BOB, since, set())
        self.assert_lists(CAROL, since, set())

    def test_newcomer_and_the_room_learn_of_each_other(self) -> None:
        for user_id in (ALICE, BOB):
            self.member(ROOM, user_id)
        since = self.log.position
        self.member(ROOM, CAROL)
        self.assert_lists(ALICE, since, {CAROL})
        self.assert_lists(CAROL, since, {ALICE, BOB})
        self.assert_lists(CAROL, self.log.position, set())

    def test_invited_user_learns_nothing_and_is_not_told_of(self) -> None:
        self.member(ROOM, ALICE)
        since = self.log.position
        self.member(ROOM, BOB, "invite")
        self.keys(ALICE)
        self.assert_lists(ALICE, since, {ALICE})
        self.assert_lists(BOB, since, set())
        self.member(ROOM, BOB, "leave")
        self.assert_lists(ALICE, since, {ALICE})
        self.assert_lists(BOB, since, set())

    def test_profile_change_in_a_room_is_no_news(self) -> None:
        for user_id in (ALICE, BOB):
            self.member(ROOM, user_id)
        since = self.log.position
        for _ in range(3):
            self.member(ROOM, BOB)
        self.assert_lists(ALICE, since, set())
        self.assert_lists(BOB, since, set())

    def test_those_who_part_forget_each_other(self) -> None:
        for user_id in (ALICE, BOB, CAROL):
            self.member(ROOM, user_id)
        since = self.log.position
        self.member(ROOM, BOB, "leave")
        self.assert_lists(ALICE, since, set(), {BOB})
        self.assert_lists(BOB, since, set(), {ALICE, CAROL})
        self.assert_lists(BOB, self.log.position, set())

    def test_those_who_still_share_a_room_do_not(self) -> None:
        for user_id in (ALICE, BOB):
            self.member(ROOM, user_id)
            self.member(OTHER, user_id)
        since = self.log.position
        self.member(ROOM, BOB, "ban")
        self.assert_lists(ALICE, since, set())
        self.assert_lists(BOB, since, set())

    def test_both_leave(self) -> None:
        for user_id in (ALICE, BOB, CAROL):
            self.member(ROOM, user_id)
        since = self.log.position
        self.member(ROOM, BOB, "leave")
        self.member(ROOM, ALICE, "leave")
        self.assert_lists(ALICE, since, set(), {BOB, CAROL})
        self.assert_lists(BOB, since, set(), {ALICE, CAROL})

    def test_who_left_does_not_learn_who_came_later(self) -> None:
        for user_id in (ALICE, BOB):
            self.member(ROOM, user_id)
        since = self.log.position
        self.member(ROOM, BOB, "leave")
        self.member(ROOM, CAROL)
        self.assert_lists(BOB, since, set(), {ALICE})

    def test_coming_and_going_between_two_syncs_is_nothing(self) -> None:
        self.member(ROOM, ALICE)
        since = self.log.position
        self.member(ROOM, BOB)
        self.member(ROOM, BOB, "leave")
        self.assert_lists(ALICE, since, set())
        self.assert_lists(BOB, since, set())

    def test_leaving_and_coming_back_is_told_if_keys_changed(self) -> None:
        for user_id in (ALICE, BOB):
            self.member(ROOM, user_id)
        since = self.log.position
        self.member(ROOM, ALICE, "leave")
        self.keys(ALICE)
        self.member(ROOM, ALICE)
        self.assert_lists(BOB, since, {ALICE})

    def test_moving_to_another_common_room(self) -> None:
        for user_id in (ALICE, BOB):
            self.member(ROOM, user_id)
        self.member(OTHER, ALICE)
        since = self.log.position
        self.member(ROOM, BOB, "leave")
        self.member(OTHER, BOB)
        self.assert_lists(ALICE, since, {BOB})
        self.assert_lists(BOB, since, {ALICE})

    def test_nothing_is_read_while_nothing_happens(self) -> None:
        for user_id in (ALICE, BOB):
            self.member(ROOM, user_id)
        since = self.log.position
        message = StoreEvent(ROOM, "$message", "m.room.message", BOB, None, b"{}", None)
        self.result(self.committer.commit(message))
        self.assert_lists(ALICE, since, set())
        self.assertEqual(self.counting.reads, 0)
        self.keys(BOB)
        self.assert_lists(ALICE, since, {BOB})
        self.assertEqual(self.counting.reads, 1)

    def test_big_room_is_not_read_for_one_change(self) -> None:
        for number in range(300):
            self.member(ROOM, f"@user{number}:one.example")
        self.member(ROOM, ALICE)
        since = self.log.position
        self.keys("@user7:one.example")
        self.assert_lists(ALICE, since, {"@user7:one.example"})
        self.assertLess(self.counting.rows, 10)

    def test_after_a_restart_the_database_is_asked(self) -> None:
        for user_id in (ALICE, BOB):
            self.member(ROOM, user_id)
        since = self.log.position
        self.keys(BOB)
        self.open()
        self.changes = DeviceListChanges(self.database, self.log)
        self.assert_lists(ALICE, since, {BOB})


class SqliteDeviceListChangesTests(SqliteStorage, DeviceListChangesTests, SynchronousTestCase):
    pass


class PostgresDeviceListChangesTests(PostgresStorage, DeviceListChangesTests, SynchronousTestCase):
    pass
