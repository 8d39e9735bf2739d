"""The engine: what is appended is in the room, in memory and after a restart alike."""

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.room_versions import ROOM_VERSIONS
from federation.rooms.draft import Draft
from federation.rooms.live_rooms import UnknownRoom
from storage.event_rows import EventsRepository
from tests.federation.rooms.engine_case import ALICE, BOB, EVE, EngineMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage


class SendEventTests(EngineMixin):
    def test_room_of_every_version_takes_messages(self) -> None:
        for version in ROOM_VERSIONS:
            room_id = self.given_room(version)
            self.join(room_id, BOB)
            event_id = self.send(room_id, BOB, f"hello version {version}")
            stored = self.result(self.events.find(event_id))
            assert stored is not None
            self.assertEqual(stored.event.content, {"body": f"hello version {version}"})

    def test_state_is_the_same_after_a_restart(self) -> None:
        room_id = self.given_room()
        for number in range(20):
            self.join(room_id, f"@user{number}:one.example")
            self.send(room_id, ALICE, "between")
        self.set_state(room_id, ALICE, "m.room.name", "", {"name": "one"})
        self.set_state(room_id, ALICE, "m.room.name", "", {"name": "two"})
        last = self.send(room_id, ALICE, "last")
        before = self.room(room_id)
        self.assertEqual(before.committed, before.state)
        self.open()
        after = self.room(room_id)
        self.assertIsNot(after, before)
        self.assertEqual(dict(after.state.entries), dict(before.state.entries))
        self.assertEqual(dict(after.state.memberships), dict(before.state.memberships))
        self.assertEqual(after.state.joined_count, 21)
        self.assertEqual([head.event_id for head in after.heads], [last])
        self.assertEqual(after.depth, before.depth)
        self.assertEqual(after.snapshot.name, before.snapshot.name)

    def test_room_goes_on_after_a_restart(self) -> None:
        room_id = self.given_room()
        first = self.send(room_id, ALICE, "first")
        self.open()
        second = self.send(room_id, ALICE, "second")
        stored = self.result(self.events.find(second))
        assert stored is not None
        self.assertEqual(stored.event.prev_events, (first,))

    def test_stranger_is_refused_and_member_is_not(self) -> None:
        room_id = self.given_room()
        draft = Draft(room_id, "m.room.message", EVE, None, {"body": "x"})
        self.failure(self.send_event.send(draft), NotAllowed)
        self.join(room_id, EVE)
        self.result(self.send_event.send(draft))

    def test_unknown_room_is_refused(self) -> None:
        draft = Draft("!nowhere:one.example", "m.room.message", EVE, None, {"body": "x"})
        self.failure(self.send_event.send(draft), UnknownRoom)

    def test_same_state_in_another_order_is_not_sent_again(self) -> None:
        room_id = self.given_room()
        first = self.set_state(room_id, ALICE, "m.thing", "", {"b": 1, "a": {"d": 2, "c": 3}})
        self.open()
        self.assertEqual(
            self.set_state(room_id, ALICE, "m.thing", "", {"b": 1, "a": {"d": 2, "c": 3}}), first
        )

    def test_same_state_is_not_sent_again(self) -> None:
        room_id = self.given_room()
        first = self.set_state(room_id, ALICE, "m.room.name", "", {"name": "one"})
        self.assertEqual(self.set_state(room_id, ALICE, "m.room.name", "", {"name": "one"}), first)
        self.assertNotEqual(self.set_state(room_id, ALICE, "m.room.name", "", {"name": "two"}), first)

    def test_redaction_takes_the_content_away(self) -> None:
        room_id = self.given_room()
        event_id = self.send(room_id, ALICE, "secret")
        redaction = self.result(
            self.send_event.send(Draft(room_id, "m.room.redaction", ALICE, None, {}, event_id))
        )
        for _ in range(2):
            stored = self.result(self.events.find(event_id))
            assert stored is not None
            self.assertEqual(stored.event.content, {})
            self.assertEqual(stored.redacted_by, redaction.event_id)
            self.open()

    def test_event_that_is_redacted_while_it_is_read_is_kept_redacted(self) -> None:
        room_id = self.given_room()
        secret = self.send(room_id, ALICE, "secret")
        self.open()
        self.room(room_id)
        real_read = self.database._run_read

        def read_then_redact(work):  # type: ignore[no-untyped-def]
            outcome = real_read(work)
            self.database._run_read = real_read
            self.result(self.send_event.send(Draft(room_id, "m.room.redaction", ALICE, None, {}, secret)))
            # Pushed out by others meanwhile.
            self.events._events.clear()
            return outcome

        self.database._run_read = read_then_redact  # type: ignore[method-assign]
        for _ in range(2):
            stored = self.result(self.events.find(secret))
            assert stored is not None
            self.assertEqual(stored.event.content, {})

    def test_redaction_by_a_stranger_to_the_event_is_not_applied(self) -> None:
        room_id = self.given_room()
        self.join(room_id, BOB)
        # The domains are the same, so only an event of another room is out of reach.
        elsewhere = self.send(self.given_room(), ALICE, "kept")
        self.result(self.send_event.send(Draft(room_id, "m.room.redaction", BOB, None, {}, elsewhere)))
        stored = self.result(self.events.find(elsewhere))
        assert stored is not None
        self.assertEqual(stored.event.content, {"body": "kept"})

    def test_failed_commit_leaves_no_trace_in_memory(self) -> None:
        room_id = self.given_room()
        first = self.send(room_id, ALICE, "first")
        self.database.write_now(lambda tx: tx.run("ALTER TABLE events RENAME TO hidden"))
        self.failure(
            self.send_event.send(Draft(room_id, "m.room.message", ALICE, None, {"body": "lost"})), Exception
        )
        self.database.write_now(lambda tx: tx.run("ALTER TABLE hidden RENAME TO events"))
        event_id = self.send(room_id, ALICE, "second")
        stored = self.result(self.events.find(event_id))
        assert stored is not None
        self.assertEqual(stored.event.prev_events, (first,))

    def test_timeline_is_in_order_of_sending(self) -> None:
        room_id = self.given_room()
        sent = [self.send(room_id, ALICE, str(number)) for number in range(5)]
        rows = self.read(lambda tx: EventsRepository().get_backward(tx, room_id, 0, 1 << 62, 3))
        self.assertEqual([row.event_id for row in rows], sent[:1:-1])


class SqliteSendEventTests(SqliteStorage, SendEventTests, SynchronousTestCase):
    pass


class PostgresSendEventTests(PostgresStorage, SendEventTests, SynchronousTestCase):
    pass


class SmallCacheSendEventTests(SqliteStorage, SendEventTests, SynchronousTestCase):
    """Nothing stays in memory: everything is read again each time."""

    live_rooms = 1
    cached_events = 1
