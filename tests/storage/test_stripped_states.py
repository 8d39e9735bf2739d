"""What a room of another server showed of itself is kept as long as the invite or the knock stands."""

from twisted.trial.unittest import SynchronousTestCase

from storage.events import OUTLIER, StoreEvent
from storage.memberships import MembershipChange
from storage.rooms import AddRoom
from storage.stripped_states import KeepStripped, StrippedRow, StrippedStatesRepository
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin

ROOM = "!room:two.example"
ALICE = "@alice:one.example"
BOB = "@bob:one.example"


class StrippedStatesTests(StorageMixin):
    def open(self) -> None:
        super().open()
        self.result(self.committer.commit(AddRoom(ROOM, "11")))

    def given_membership(self, user_id: str, membership: str, number: int) -> None:
        change = StoreEvent(
            room_id=ROOM,
            event_id=f"${user_id}{number}",
            type="m.room.member",
            sender=user_id,
            state_key=user_id,
            json=b'{"auth_events":[]}',
            snapshot=None,
            flags=OUTLIER,
            memberships=(MembershipChange(user_id, membership, f"${user_id}{number}"),),
        )
        self.result(self.committer.commit(change))

    def find(self, user_id: str) -> StrippedRow | None:
        return self.read(lambda tx: StrippedStatesRepository().find(tx, user_id, ROOM))

    def test_it_goes_with_the_invite(self) -> None:
        for number, (before, after) in enumerate(
            [("invite", "leave"), ("knock", "leave"), ("invite", "join"), ("knock", "ban")]
        ):
            for user_id in (ALICE, BOB):
                self.given_membership(user_id, before, 2 * number)
                keep = KeepStripped(user_id, ROOM, (b"{}",), ("two.example",))
                self.result(self.committer.commit(keep))
            self.assertIsNotNone(self.find(ALICE))
            self.given_membership(ALICE, after, 2 * number + 1)
            self.assertIsNone(self.find(ALICE))
            self.assertIsNotNone(self.find(BOB))

    def test_it_stays_when_an_invite_follows_a_knock(self) -> None:
        self.given_membership(ALICE, "knock", 0)
        self.result(self.committer.commit(KeepStripped(ALICE, ROOM, (b"{}",), ("two.example",))))
        self.given_membership(ALICE, "invite", 1)
        self.assertIsNotNone(self.find(ALICE))


class SqliteStrippedStatesTests(SqliteStorage, StrippedStatesTests, SynchronousTestCase):
    pass


class PostgresStrippedStatesTests(PostgresStorage, StrippedStatesTests, SynchronousTestCase):
    pass
