"""Rooms with more heads than an event may name, and rooms whose decisions take long."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.room_dag.event_format import MAX_PREV_EVENTS
from federation.room_dag.room_versions import ROOM_VERSIONS
from federation.rooms.accept_event import AcceptEvent, Verdict
from federation.rooms.draft import Draft
from federation.rooms.outcomes import NoPushOutcomes
from federation.rooms.policy.ask_policy_server import NoPolicyServers
from federation.rooms.slow_rooms import SLOW_S, SlowRooms
from federation.rooms.take_room import TakeRoom
from storage.database import Database, Transaction
from storage.names import Names
from tests.federation.room_dag.builders import ALICE, BOB, RoomBuilder, given_room
from tests.federation.rooms.engine_case import EngineMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin, synchronous
from tests.support.gated_runner import GatedRunner

FORKS = 47


class ManyHeadsTests(EngineMixin):
    def open(self) -> None:
        super().open()
        self.accept_event = AcceptEvent(
            self.rooms, self.events, self.database, self.committer, NoPushOutcomes(), NoPolicyServers()
        )
        self.take_room = TakeRoom(self.rooms, self.events, self.committer)

    def given_forked(self, version: str) -> RoomBuilder:
        """Forks with a new member in each, on all of which Bob is in the room."""
        room = given_room(version)
        base = room.join(BOB)
        for number in range(FORKS):
            room.join(f"@user{number}:three.example", prev=[base])
        self.deliver(room)
        return room

    def deliver(self, room: RoomBuilder) -> None:
        self.result(self.take_room.take(room.rules, room.create, {}, ()))
        for event in list(room.events.by_id.values())[1:]:
            self.assertIs(self.result(self.accept_event.accept(event)), Verdict.ACCEPTED)

    def sent(self, room_id: str, text: str) -> Event:
        stored = self.result(self.events.find(self.send(room_id, ALICE, text)))
        assert stored is not None
        return stored.event

    def test_own_events_bring_heads_together(self) -> None:
        for version in ROOM_VERSIONS:
            self.setUp()
            room = self.given_forked(version)
            room_id = str(room.room_id)
            self.assertEqual(len(self.room(room_id).heads), FORKS)
            for heads in (FORKS - 19, FORKS - 38, 1):
                event = self.sent(room_id, "x")
                self.assertLessEqual(len(event.prev_events), MAX_PREV_EVENTS)
                self.assertEqual(len(self.room(room_id).heads), heads)
                # What some of the heads say is said by the room all the same.
                self.assertEqual(dict(self.room(room_id).state.entries), dict(room.state))
                # Another server comes to the same decision about it.
                room.add(event)
                self.assertNotIn(event.event_id, room.rejected)
                room.heads = (
                    *(each for each in room.heads if each not in event.prev_events),
                    event.event_id,
                )
                self.open()
                # Room versions 1 and 2 have event IDs of the server's choice, which must not repeat after a restart.
                self.random.seed(heads)
            self.assertEqual(self.room(room_id).state.joined_count, FORKS + 2)

    def test_own_state_over_some_heads_is_in_force(self) -> None:
        room = self.given_forked("12")
        room_id = str(room.room_id)
        topic = self.set_state(room_id, ALICE, "m.room.topic", "", {"topic": "t"})
        self.assertEqual(self.room(room_id).state.find("m.room.topic"), topic)
        # The same again is no new event, also here.
        self.assertEqual(self.set_state(room_id, ALICE, "m.room.topic", "", {"topic": "t"}), topic)
        draft = Draft(room_id, "m.room.topic", "@user1:three.example", "", {"topic": "mine"})
        self.failure(self.send_event.send(draft), NotAllowed)

    def test_sender_who_is_only_on_one_head_can_send(self) -> None:
        room = self.given_forked("12")
        room_id = str(room.room_id)
        last = f"@user{FORKS - 1}:three.example"
        event_id = self.send(room_id, last, "x")
        stored = self.result(self.events.find(event_id))
        assert stored is not None
        self.assertIn(self.room(room_id).state.find("m.room.member", last), stored.event.auth_events)
        room.add(stored.event)
        self.assertNotIn(event_id, room.rejected)

    def test_template_names_no_more_heads_than_may_be(self) -> None:
        room = self.given_forked("12")
        draft = Draft(
            str(room.room_id), "m.room.member", "@new:x.example", "@new:x.example", {"membership": "join"}
        )
        template = self.result(self.send_event.make_template(draft))
        self.assertEqual(len(template.prev_events), MAX_PREV_EVENTS)


class SlowRoomsTests(StorageMixin):
    """Rooms are decided about on database threads: here each piece of work waits until it is let through."""

    def open(self) -> None:
        super().open()
        self.runner = GatedRunner()
        database = Database(self.engine, self.runner, synchronous, Names(10))
        self.addCleanup(database.close)
        self.used_s = 0.0
        self.slow = SlowRooms(database, lambda: self.used_s)
        self.done: list[str] = []

    def begin(self, room_id: str, takes_s: float) -> "Deferred[str]":
        def work(tx: Transaction) -> str:
            self.used_s += takes_s
            self.done.append(room_id)
            return room_id

        return Deferred.fromCoroutine(self.slow.decide(room_id, work))

    def given_slow(self, *room_ids: str) -> None:
        for room_id in room_ids:
            self.begin(room_id, 2 * SLOW_S)
        self.done.clear()

    def test_slow_rooms_leave_threads_to_others(self) -> None:
        self.given_slow("slow 1", "slow 2", "slow 3")
        self.runner.close()
        slow = [self.begin(room_id, 2 * SLOW_S) for room_id in ("slow 1", "slow 2", "slow 3")]
        quick = self.begin("quick", 0)
        # Only one of the slow ones has a thread: the next one is free.
        self.runner.step()
        self.assertEqual(self.done, ["slow 1"])
        self.runner.step()
        self.assertEqual(self.successResultOf(quick), "quick")
        self.assertEqual(self.done, ["slow 1", "quick"])
        self.runner.open()
        self.assertEqual([self.successResultOf(each) for each in slow], ["slow 1", "slow 2", "slow 3"])

    def test_room_that_is_quick_again_waits_no_more(self) -> None:
        self.given_slow("room", "slow")
        self.begin("room", 0)
        self.runner.close()
        self.begin("slow", 2 * SLOW_S)
        self.begin("room", 0)
        self.runner.step()
        self.runner.step()
        self.assertEqual(self.done, ["room", "slow", "room"])
        self.runner.open()

    def test_failure_lets_the_next_one_go_on(self) -> None:
        self.given_slow("one", "two")

        def fail(tx: Transaction) -> str:
            raise NotAllowed("no")

        self.runner.close()
        failing = Deferred.fromCoroutine(self.slow.decide("one", fail))
        waiting = self.begin("two", 0)
        self.runner.open()
        self.failureResultOf(failing, NotAllowed)
        self.assertEqual(self.successResultOf(waiting), "two")


class SqliteManyHeadsTests(SqliteStorage, ManyHeadsTests, SynchronousTestCase):
    pass


class PostgresManyHeadsTests(PostgresStorage, ManyHeadsTests, SynchronousTestCase):
    def test_own_events_bring_heads_together(self) -> None:
        """All versions on one engine are enough."""


class SqliteSlowRoomsTests(SqliteStorage, SlowRoomsTests, SynchronousTestCase):
    pass
