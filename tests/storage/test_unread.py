"""What is unread: counts and notifications over stored outcomes, against counting one event after the other."""

import random
from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from storage.change import Change
from storage.events import HIGHLIGHT, NOTIFY, ORDERING_STEP, PersonalPush, StoreEvent
from storage.memberships import MembershipChange
from storage.receipts import MAIN_THREAD, PRIVATE, PUBLIC, StoreReceipt
from storage.rooms import AddRoom
from storage.unread import Unread, UnreadRepository, UnreadRow
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin

ALICE = "@alice:one.example"
BOB = "@bob:one.example"
ROOM = "!room:one.example"
OTHER = "!other:one.example"
LOUD = NOTIFY | HIGHLIGHT
END = 2**62


@dataclass(frozen=True)
class Told:
    """An event as a test knows it."""

    event_id: str
    room_id: str
    sender: str
    thread: str | None
    push: int
    for_alice: int
    position: int


class UnreadTests(StorageMixin):
    def setUp(self) -> None:
        super().setUp()
        self.repository = UnreadRepository()
        self.told: list[Told] = []
        self.receipts: list[tuple[str, str | None, int]] = []
        self.joins: dict[str, int] = {}
        for room_id in (ROOM, OTHER):
            self.commit(AddRoom(room_id, "12"))
            self.joins[room_id] = self.member(room_id, ALICE)

    def commit(self, *changes: Change) -> int:
        return self.result(self.committer.commit(*changes)).position

    def member(
        self,
        room_id: str,
        user_id: str,
        membership: str = "join",
        sender: str | None = None,
        replaces: str | None = None,
    ) -> int:
        event_id = f"$member{self.log.position}"
        json = b'{"content":{"membership":"%b"}}' % membership.encode()
        personal = (PersonalPush(user_id, NOTIFY, b'["notify"]'),) if membership == "invite" else ()
        return self.commit(
            StoreEvent(
                room_id, event_id, "m.room.member", sender or user_id, user_id, json, None, replaces=replaces,
                memberships=(MembershipChange(user_id, membership, event_id),), personal_push=personal,
            )
        )  # fmt: skip

    def message(
        self,
        push: int = NOTIFY,
        room_id: str = ROOM,
        sender: str = BOB,
        thread: str | None = None,
        for_alice: int | None = None,
        redacts: str | None = None,
    ) -> Told:
        event_id = f"$event{self.log.position}"
        personal = () if for_alice is None else (PersonalPush(ALICE, for_alice, b'["notify"]'),)
        position = self.commit(
            StoreEvent(
                room_id, event_id, "m.room.message", sender, None, b"{}", None,
                thread=thread, push=push, personal_push=personal, redacts=redacts,
            )
        )  # fmt: skip
        told = Told(
            event_id, room_id, sender, thread, push, push if for_alice is None else for_alice, position
        )
        self.told.append(told)
        return told

    def read_up_to(self, event: Told, thread: str | None = None, receipt_type: str = PUBLIC) -> None:
        ordering = event.position * ORDERING_STEP
        self.receipts.append((event.room_id, thread, event.position))
        self.commit(StoreReceipt(event.room_id, ALICE, receipt_type, thread, event.event_id, ordering, 5))

    def counts(self, room_id: str = ROOM) -> UnreadRow:
        return self.read(lambda tx: self.repository.count(tx, ALICE, [ROOM, OTHER]))[room_id]

    def total(self) -> tuple[int, int]:
        return self.counts().main.notifications, self.counts().main.highlights

    def test_events_count_as_their_outcome_says(self) -> None:
        self.message(NOTIFY)
        self.message(0)
        self.message(LOUD)
        self.assertEqual(self.counts(), UnreadRow(Unread(2, 1), {}))
        self.assertEqual(self.counts(OTHER), UnreadRow(Unread(0, 0), {}))

    def test_personal_outcome_takes_the_place_of_the_default_one(self) -> None:
        self.message(NOTIFY, for_alice=0)
        self.message(NOTIFY, for_alice=LOUD)
        self.message(LOUD, for_alice=NOTIFY)
        self.message(0, for_alice=NOTIFY)
        self.assertEqual(self.total(), (3, 1))

    def test_receipt_clears_what_it_covers(self) -> None:
        first = self.message()
        self.message()
        self.read_up_to(first)
        self.assertEqual(self.total(), (1, 0))

    def test_more_advanced_of_public_and_private_receipt_decides(self) -> None:
        a, b, c = self.message(), self.message(), self.message()
        self.read_up_to(c, receipt_type=PRIVATE)
        self.read_up_to(a)
        self.assertEqual(self.total(), (0, 0))
        self.message()
        self.read_up_to(b)
        self.assertEqual(self.total(), (1, 0))

    def test_events_before_the_join_do_not_count(self) -> None:
        self.message()
        self.member(ROOM, ALICE, "leave")
        self.message()
        self.member(ROOM, ALICE)
        self.message()
        self.assertEqual(self.total(), (1, 0))

    def test_change_of_ones_name_is_no_new_join(self) -> None:
        self.member(ROOM, ALICE, "leave")
        self.message()
        event_id = f"$member{self.log.position}"
        self.member(ROOM, ALICE, replaces="$member4")
        for _ in range(3):
            self.message()
            previous, event_id = event_id, f"$member{self.log.position}"
            self.member(ROOM, ALICE, replaces=previous)
        self.assertEqual(self.total(), (3, 0))
        self.assertEqual(len(self.notified()), 3)

    def test_rooms_that_were_left_are_not_counted(self) -> None:
        self.member(ROOM, ALICE, "leave")
        self.assertNotIn(ROOM, self.read(lambda tx: self.repository.count(tx, ALICE, [ROOM])))
        self.assertEqual(self.read(lambda tx: self.repository.count(tx, "@nobody:one.example", [ROOM])), {})

    def test_own_events_do_not_count_and_mark_as_read(self) -> None:
        self.message()
        self.message(sender=ALICE)
        self.assertEqual(self.total(), (0, 0))
        self.message()
        self.assertEqual(self.total(), (1, 0))

    def test_threads_are_counted_by_themselves(self) -> None:
        root = self.message()
        self.message(thread=root.event_id)
        self.message(LOUD, thread=root.event_id)
        self.message(thread="$another")
        self.assertEqual(
            self.counts(), UnreadRow(Unread(1, 0), {root.event_id: Unread(2, 1), "$another": Unread(1, 0)})
        )

    def test_threaded_receipt_clears_only_its_thread(self) -> None:
        root = self.message()
        reply = self.message(thread=root.event_id)
        other = self.message(thread="$another")
        last = self.message()
        self.read_up_to(reply, root.event_id)
        self.assertEqual(self.counts(), UnreadRow(Unread(2, 0), {"$another": Unread(1, 0)}))
        self.read_up_to(last, MAIN_THREAD)
        self.assertEqual(self.counts(), UnreadRow(Unread(0, 0), {"$another": Unread(1, 0)}))
        self.read_up_to(other)
        self.assertEqual(self.counts(), UnreadRow(Unread(0, 0), {}))

    def test_own_event_in_a_thread_reads_that_thread(self) -> None:
        self.message()
        self.message(thread="$root")
        self.message(thread="$root", sender=ALICE)
        self.message(thread="$root")
        self.assertEqual(self.counts(), UnreadRow(Unread(1, 0), {"$root": Unread(1, 0)}))

    def test_redacted_events_do_not_count(self) -> None:
        shared, own = self.message(LOUD), self.message(NOTIFY, for_alice=LOUD)
        self.assertEqual(self.total(), (2, 2))
        self.message(0, redacts=shared.event_id)
        self.message(0, redacts=own.event_id)
        self.assertEqual(self.total(), (0, 0))

    def test_counts_agree_with_counting_one_by_one(self) -> None:
        chance = random.Random(11)
        threads = (None, None, "$r1", "$r2", "$r3")
        for _ in range(12):
            for _ in range(12):
                self.message(
                    chance.choice((0, NOTIFY, LOUD)),
                    chance.choice((ROOM, OTHER)),
                    chance.choice((BOB, BOB, BOB, BOB, ALICE)),
                    chance.choice(threads),
                )
                if chance.random() < 0.3:
                    self.message(
                        chance.choice((0, NOTIFY, LOUD)),
                        chance.choice((ROOM, OTHER)),
                        BOB,
                        chance.choice(threads),
                        chance.choice((0, NOTIFY, LOUD)),
                    )
            for _ in range(chance.randrange(3)):
                thread = chance.choice((None, MAIN_THREAD, "$r1", "$r2"))
                self.read_up_to(chance.choice(self.told), thread, chance.choice((PUBLIC, PRIVATE)))
            for room_id in (ROOM, OTHER):
                self.assertEqual(self.counts(room_id), self.naive(room_id))

    def naive(self, room_id: str) -> UnreadRow:
        sums: dict[str | None, tuple[int, int]] = {}
        for event in self.told:
            if event.room_id != room_id or event.sender == ALICE:
                continue
            read = [
                position
                for room, thread, position in self.receipts
                if room == room_id and (thread is None or thread == (event.thread or MAIN_THREAD))
            ]
            own = [
                each.position
                for each in self.told
                if each.room_id == room_id and each.sender == ALICE and each.thread == event.thread
            ]
            if event.position > max((self.joins[room_id], *read, *own)):
                old = sums.get(event.thread, (0, 0))
                bits = event.for_alice
                sums[event.thread] = (old[0] + (bits > 0), old[1] + (bits >= HIGHLIGHT))
        main = sums.pop(None, (0, 0))
        threads = {
            thread: Unread(*numbers) for thread, numbers in sums.items() if thread and numbers != (0, 0)
        }
        return UnreadRow(Unread(*main), threads)

    # Notifications

    def notified(
        self, before: int = END, limit: int = 10, lowest: int = NOTIFY
    ) -> list[tuple[int, int, bool]]:
        rows = self.read(lambda tx: self.repository.get_notifications(tx, ALICE, before, limit, lowest))
        return [(row.event_nid, row.push, row.is_read) for row in rows]

    def test_notifications_are_the_newest_of_all_rooms(self) -> None:
        a = self.message(NOTIFY)
        self.message(0)
        b = self.message(LOUD, OTHER)
        self.message(NOTIFY, sender=ALICE, room_id=OTHER)
        c = self.message(NOTIFY, for_alice=LOUD)
        self.message(NOTIFY, for_alice=0)
        self.assertEqual(
            self.notified(),
            [(c.position, LOUD, False), (b.position, LOUD, True), (a.position, NOTIFY, False)],
        )
        self.assertEqual(self.notified(limit=1), [(c.position, LOUD, False)])
        self.assertEqual(
            self.notified(c.position * ORDERING_STEP), [(b.position, LOUD, True), (a.position, NOTIFY, False)]
        )
        self.assertEqual(
            self.notified(lowest=HIGHLIGHT), [(c.position, LOUD, False), (b.position, LOUD, True)]
        )
        self.read_up_to(a)
        self.assertEqual(self.notified()[-1], (a.position, NOTIFY, True))

    def test_invitation_is_a_notification_and_what_is_said_meanwhile_is_not(self) -> None:
        self.commit(AddRoom("!new:one.example", "12"))
        self.message(room_id="!new:one.example")
        invite = self.member("!new:one.example", ALICE, "invite", BOB)
        self.message(room_id="!new:one.example")
        self.assertEqual(self.notified(), [(invite, NOTIFY, False)])
        self.assertEqual(self.notified(invite * ORDERING_STEP), [])

    def test_redacted_events_are_no_notifications(self) -> None:
        event = self.message(LOUD)
        self.message(0, redacts=event.event_id)
        self.assertEqual(self.notified(), [])


class SqliteUnreadTests(SqliteStorage, UnreadTests, SynchronousTestCase):
    def test_counts_use_the_indexes(self) -> None:
        plan = self.read(
            lambda tx: tx.all(
                "EXPLAIN QUERY PLAN SELECT COUNT(*) FROM events WHERE room = 1 AND ordering > 5 AND thread IS NOT NULL"
            )
        )
        self.assertIn("events_in_threads", str(plan))


class PostgresUnreadTests(PostgresStorage, UnreadTests, SynchronousTestCase):
    pass
