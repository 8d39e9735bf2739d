"""Rooms while commits are on their way, fail, or are waited for by nobody: memory never differs from the disk."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from federation.rooms.accept_event import AcceptEvent
from federation.rooms.draft import Draft
from federation.rooms.outcomes import NoPushOutcomes
from federation.rooms.policy.ask_policy_server import NoPolicyServers
from federation.rooms.send_event import Sent
from federation.rooms.take_room import TakeRoom
from storage.committer import CommitFailed, CommitLimits, CommitterBusy
from tests.federation.room_dag.builders import ALICE as BUILDER
from tests.federation.room_dag.builders import RoomBuilder
from tests.federation.room_dag.builders import given_room as build_room
from tests.federation.rooms.engine_case import ALICE, EngineMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage
from tests.support.gated_runner import GatedRunner, LateRunner

TOPIC = "m.room.topic"


class FailingCommitTests(EngineMixin):
    live_rooms = 2

    def open(self) -> None:
        super().open()
        self.writing = GatedRunner()
        self.reading = LateRunner()
        self.database._run_write = self.writing
        self.database._run_read = self.reading

    def begin(self, room_id: str, topic: str) -> "Deferred[Sent]":
        draft = Draft(room_id, TOPIC, ALICE, "", {"topic": topic})
        return Deferred.fromCoroutine(self.send_event.send(draft))

    def break_database(self) -> None:
        self.database.write_now(lambda tx: tx.run("ALTER TABLE events RENAME TO events_away"))

    def mend_database(self) -> None:
        self.database.write_now(lambda tx: tx.run("ALTER TABLE events_away RENAME TO events"))

    def assert_memory_is_what_the_disk_holds(self, room_id: str) -> None:
        live = self.room(room_id)
        heads = {head.event_id for head in live.heads}
        entries = dict(live.state.entries)
        self.assertEqual(entries, dict(live.committed.entries))
        self.open()
        again = self.room(room_id)
        self.assertEqual(
            ({head.event_id for head in again.heads}, dict(again.state.entries)), (heads, entries)
        )

    def test_state_that_is_there_already_is_answered_once_it_is_on_disk(self) -> None:
        room_id = self.given_room()
        self.writing.close()
        first, again = self.begin(room_id, "same"), self.begin(room_id, "same")
        self.assertNoResult(again)
        self.writing.open()
        self.assertEqual(self.successResultOf(first).event_id, self.successResultOf(again).event_id)

    def test_state_that_was_not_written_is_not_answered_as_there_already(self) -> None:
        room_id = self.given_room()
        self.writing.close()
        first, again = self.begin(room_id, "same"), self.begin(room_id, "same")
        self.break_database()
        self.writing.open()
        self.mend_database()
        self.failureResultOf(first, CommitFailed)
        self.failureResultOf(again, CommitFailed)
        self.assert_memory_is_what_the_disk_holds(room_id)

    def test_full_queue_does_not_make_the_room_forget_what_is_being_written(self) -> None:
        room_id = self.given_room()
        self.committer._limits = CommitLimits(max_waiting=1)
        self.writing.close()
        under_way, waiting = self.begin(room_id, "first"), self.begin(room_id, "second")
        refused = self.begin(room_id, "third")
        self.failureResultOf(refused, CommitterBusy)
        # A reader comes before the first two are on disk.
        self.room(room_id)
        self.writing.open()
        self.successResultOf(under_way)
        second = self.successResultOf(waiting)
        fourth = self.successResultOf(self.begin(room_id, "fourth"))
        stored = self.result(self.events.find(fourth.event_id))
        assert stored is not None
        self.assertEqual(list(stored.event.prev_events), [second.event_id])
        self.assert_memory_is_what_the_disk_holds(room_id)

    def test_sender_who_goes_away_does_not_make_the_room_forget_what_is_being_written(self) -> None:
        room_id = self.given_room()
        self.writing.close()
        gone = self.begin(room_id, "first")
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        second = self.begin(room_id, "second")
        self.writing.open()
        entry = self.room(room_id).state.find(TOPIC)
        self.assertEqual(entry, self.successResultOf(second).event_id)
        self.assert_memory_is_what_the_disk_holds(room_id)

    def test_room_that_was_read_before_it_moved_is_read_again(self) -> None:
        room_id = self.given_room()
        for _ in range(3):
            self.given_room()
        self.assertIsNone(self.rooms.find(room_id))
        self.reading.close()
        slow = Deferred.fromCoroutine(self.rooms.get(room_id))
        late = self.reading.take()
        self.reading.open()
        # Meanwhile the room moves on, and leaves the memory for others.
        moved = self.successResultOf(self.begin(room_id, "moved")).event_id
        for _ in range(3):
            self.given_room()
        self.assertIsNone(self.rooms.find(room_id))
        late()
        self.assertEqual(self.successResultOf(slow).state.find(TOPIC), moved)
        self.assertEqual(self.room(room_id).state.find(TOPIC), moved)

    def test_rooms_that_are_being_read_are_not_read_twice(self) -> None:
        room_ids = [self.given_room(), self.given_room()]
        self.open()
        self.reading.close()
        first = Deferred.fromCoroutine(self.rooms.get_many(room_ids))
        second = Deferred.fromCoroutine(self.rooms.get_many(room_ids[::-1]))
        self.assertEqual(self.rooms.loads, 2)
        self.reading.open()
        found, again = self.successResultOf(first), self.successResultOf(second)
        self.assertEqual((set(found), self.rooms.loads), (set(room_ids), 2))
        for room_id in room_ids:
            self.assertIs(found[room_id], again[room_id])

    def test_who_waits_for_rooms_gets_them_though_their_reader_goes_away(self) -> None:
        room_ids = [self.given_room(), self.given_room()]
        self.open()
        self.reading.close()
        first = Deferred.fromCoroutine(self.rooms.get_many(room_ids))
        second = Deferred.fromCoroutine(self.rooms.get_many(room_ids[:1]))
        gone = Deferred.fromCoroutine(self.rooms.get_many(room_ids[1:]))
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertNoResult(second)
        self.reading.open()
        self.assertEqual(list(self.successResultOf(second)), room_ids[:1])
        # Nobody waits any more for what was not read.
        self.assertEqual(list(self.result(self.rooms.get_many(room_ids[1:]))), room_ids[1:])

    def test_nobody_holds_a_room_for_a_request_that_is_gone(self) -> None:
        room_id = self.given_room()

        async def hold_and_wait(gate: "Deferred[None]") -> None:
            async with self.rooms.hold(room_id):
                await gate

        first = Deferred.fromCoroutine(hold_and_wait(Deferred()))
        second = Deferred.fromCoroutine(hold_and_wait(Deferred()))
        sender = self.begin(room_id, "third in line")
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertNoResult(sender)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.successResultOf(sender)
        self.assertIsNone(self.room(room_id).held)


class AcceptTests(FailingCommitTests):
    """Events from elsewhere."""

    def open(self) -> None:
        super().open()
        self.accept_event = AcceptEvent(
            self.rooms, self.events, self.database, self.committer, NoPushOutcomes(), NoPolicyServers()
        )

    def given_taken(self) -> RoomBuilder:
        room = build_room("12")
        take = TakeRoom(self.rooms, self.events, self.committer)
        create, *others = sorted(room.events.by_id.values(), key=lambda event: event.depth)
        self.result(take.take(room.rules, create, {}, ()))
        for event in others:
            self.result(self.accept_event.accept(event))
        return room

    def test_event_that_comes_twice_is_known_only_once_it_is_on_disk(self) -> None:
        room = self.given_taken()
        event = room.say(BUILDER)
        self.writing.close()
        first = Deferred.fromCoroutine(self.accept_event.accept(event))
        again = Deferred.fromCoroutine(self.accept_event.accept(event))
        self.assertNoResult(again)
        self.writing.open()
        self.successResultOf(first)
        self.successResultOf(again)

    def test_event_is_accepted_while_other_rooms_never_stop_writing(self) -> None:
        room = self.given_taken()
        first, second = room.say(BUILDER), room.say(BUILDER)
        other = self.given_room()
        self.writing.close()
        Deferred.fromCoroutine(self.accept_event.accept(first))
        accepted = Deferred.fromCoroutine(self.accept_event.accept(second))
        for number in range(5):
            self.begin(other, f"topic {number}")
            self.writing.step()
        self.successResultOf(accepted)
        self.writing.open()


class SqliteFailingCommitTests(SqliteStorage, FailingCommitTests, SynchronousTestCase):
    pass


class PostgresFailingCommitTests(PostgresStorage, FailingCommitTests, SynchronousTestCase):
    pass


class SqliteAcceptTests(SqliteStorage, AcceptTests, SynchronousTestCase):
    pass
