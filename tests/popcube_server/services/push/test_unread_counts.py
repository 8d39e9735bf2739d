"""Unread counts in memory: carried on without the database, and never untrue."""

import random
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.push.room_tails import TAIL_LENGTH
from popcube_server.services.push.unread_counts import UnreadCounter, UnreadCounts
from storage.change import Change
from storage.database import Transaction
from storage.events import HIGHLIGHT, NOTIFY, ORDERING_STEP, PersonalPush, StoreEvent
from storage.memberships import MembershipChange
from storage.receipts import PUBLIC, StoreReceipt
from storage.rooms import AddRoom
from storage.unread import Unread, UnreadRepository
from tests.storage.storage_case import SqliteStorage, StorageMixin

T = TypeVar("T")
ALICE = "@alice:one.example"
BOB = "@bob:one.example"
CAROL = "@carol:one.example"
ROOM = "!room:one.example"
LOUD = NOTIFY | HIGHLIGHT


class UnreadCounterTests(SqliteStorage, StorageMixin, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reads = 0
        self.counter = UnreadCounter(self.database, UnreadRepository(), self.log, 100)
        self.commit(AddRoom(ROOM, "12"))
        for user_id in (ALICE, CAROL):
            self.member(user_id)
        real_read = self.database.read

        async def counted(work: Callable[[Transaction], T]) -> T:
            self.reads += 1
            return await real_read(work)

        self.database.read = counted  # type: ignore[method-assign, assignment]

    def commit(self, *changes: Change) -> int:
        return self.result(self.committer.commit(*changes)).position

    def member(self, user_id: str, membership: str = "join") -> None:
        event_id = f"$member{self.log.position}"
        json = b'{"content":{"membership":"%b"}}' % membership.encode()
        change = MembershipChange(user_id, membership, event_id)
        self.commit(
            StoreEvent(ROOM, event_id, "m.room.member", user_id, user_id, json, None, memberships=(change,))
        )

    def message(self, push: int = NOTIFY, sender: str = BOB, **options: Any) -> str:
        event_id = f"$event{self.log.position}"
        self.commit(
            StoreEvent(ROOM, event_id, "m.room.message", sender, None, b"{}", None, push=push, **options)
        )
        return event_id

    def counts(self, user_id: str = ALICE) -> UnreadCounts:
        return self.result(self.counter.counts(user_id, [ROOM]))[ROOM]

    def fresh(self, user_id: str = ALICE) -> UnreadCounts:
        """What a counter without any memory says."""
        counter = UnreadCounter(self.database, UnreadRepository(), self.log, 100)
        counts = self.result(counter.counts(user_id, [ROOM]))[ROOM]
        self.log.unfollow(counter._follow)
        return counts

    def test_message_costs_no_read(self) -> None:
        self.counts()
        self.assertEqual(self.reads, 1)
        for number in range(1, 2 * TAIL_LENGTH):
            self.message()
            self.assertEqual(self.counts().notification_count, number)
        self.assertEqual(self.reads, 1)

    def test_who_was_away_too_long_is_read_again(self) -> None:
        self.counts()
        for _ in range(TAIL_LENGTH + 1):
            self.message()
        self.assertEqual(self.counts().notification_count, TAIL_LENGTH + 1)
        self.assertEqual(self.reads, 2)

    def test_personal_outcomes_threads_and_own_events_are_carried_on(self) -> None:
        self.counts()
        self.message(personal_push=(PersonalPush(ALICE, LOUD, b"[]"), PersonalPush(CAROL, 0, b"[]")))
        self.message(thread="$root")
        self.assertEqual(self.counts(), UnreadCounts(Unread(1, 1), {"$root": Unread(1, 0)}))
        self.message(sender=ALICE)
        self.assertEqual(self.counts(), UnreadCounts(Unread(0, 0), {"$root": Unread(1, 0)}))
        self.message(sender=ALICE, thread="$root")
        self.assertEqual(self.counts(), UnreadCounts(Unread(0, 0), {}))
        self.assertEqual(self.reads, 1)
        self.assertEqual(self.counts(CAROL).notification_count, 3)

    def test_receipt_has_only_its_owner_read_again(self) -> None:
        event_id = self.message()
        self.counts()
        self.counts(CAROL)
        self.commit(StoreReceipt(ROOM, ALICE, PUBLIC, None, event_id, self.log.position * ORDERING_STEP, 5))
        self.assertEqual(self.counts().notification_count, 0)
        self.assertEqual(self.counts(CAROL).notification_count, 1)
        self.assertEqual(self.reads, 3)

    def test_redaction_has_everybody_read_again(self) -> None:
        event_id = self.message(LOUD)
        self.counts()
        self.message(0, redacts=event_id)
        self.assertEqual(self.counts(), UnreadCounts(Unread(0, 0), {}))

    def test_who_left_is_not_counted_and_who_came_back_starts_anew(self) -> None:
        self.message()
        self.counts()
        self.member(ALICE, "leave")
        self.assertEqual(self.result(self.counter.counts(ALICE, [ROOM])), {})
        self.member(ALICE)
        self.message()
        self.assertEqual(self.counts().notification_count, 1)

    def test_counts_are_those_that_a_fresh_counter_reads(self) -> None:
        chance = random.Random(3)
        sent = [(self.message(), self.log.position)]
        for _ in range(150):
            step = chance.random()
            if step < 0.75:
                personal = (
                    (PersonalPush(ALICE, chance.choice((0, NOTIFY, LOUD)), b"[]"),) if step < 0.2 else ()
                )
                sender = BOB if personal else chance.choice((BOB, BOB, BOB, ALICE))
                thread = chance.choice((None, "$r1", "$r2"))
                event_id = self.message(
                    chance.choice((0, NOTIFY, LOUD)), sender, thread=thread, personal_push=personal
                )
                sent.append((event_id, self.log.position))
            elif step < 0.85:
                event_id, position = chance.choice(sent)
                thread = chance.choice((None, "main", "$r1"))
                self.commit(StoreReceipt(ROOM, ALICE, PUBLIC, thread, event_id, position * ORDERING_STEP, 5))
            elif step < 0.9:
                self.message(0, redacts=chance.choice(sent)[0])
            if chance.random() < 0.5:
                self.assertEqual(self.counts(), self.fresh())
        self.assertEqual(self.counts(), self.fresh())
