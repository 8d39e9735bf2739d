"""Messages that follow each other are taken together; everything else is left, and undecided."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import Event
from federation.room_dag.room_versions import ROOM_VERSIONS
from federation.rooms.accept_event import AcceptEvent, Verdict
from federation.rooms.accept_run import AcceptRun
from federation.rooms.outcomes import NoPushOutcomes
from federation.rooms.policy.ask_policy_server import NoPolicyServers
from federation.rooms.take_room import TakeRoom
from storage.committer import CommitFailed
from tests.federation.room_dag.builders import ALICE, BOB, RoomBuilder, given_room
from tests.federation.rooms.engine_case import EngineMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage
from tests.support.gated_runner import GatedRunner


class AcceptRunTests(EngineMixin):
    def open(self) -> None:
        super().open()
        outcomes = NoPushOutcomes()
        self.run_of = AcceptRun(self.rooms, self.events, self.committer, outcomes)
        self.accept_event = AcceptEvent(
            self.rooms, self.events, self.database, self.committer, outcomes, NoPolicyServers()
        )

    def given_taken(self, version: str = "12") -> RoomBuilder:
        """A room with Alice and Bob, which this server takes part in."""
        room = given_room(version)
        room.join(BOB)
        self.result(TakeRoom(self.rooms, self.events, self.committer).take(room.rules, room.create, {}, ()))
        for event in [*room.events.by_id.values()][1:]:
            self.assertIs(self.result(self.accept_event.accept(event)), Verdict.ACCEPTED)
        return room

    def accept(self, room: RoomBuilder, events: Sequence[Event]) -> int:
        assert room.room_id is not None
        return self.result(self.run_of.accept(room.room_id, events))

    def heads(self, room: RoomBuilder) -> list[str]:
        assert room.room_id is not None
        return [head.event_id for head in self.room(room.room_id).heads]

    def test_messages_are_taken_together_in_one_commit(self) -> None:
        for version in ROOM_VERSIONS:
            self.setUp()
            room = self.given_taken(version)
            events = [room.say(sender) for sender in (ALICE, BOB, ALICE, BOB)]
            commits: list[int] = []
            submit = self.committer.submit

            def watch(changes: Any, *others: Any, submit: Any = submit, commits: Any = commits) -> Any:
                commits.append(len(changes))
                return submit(changes, *others)

            self.committer.submit = watch  # type: ignore[assignment]
            self.assertEqual(self.accept(room, events), 4)
            self.assertEqual(commits, [4])
            self.assertEqual(self.heads(room), [events[-1].event_id])
            # The same after a restart, and as the long way has it.
            self.open()
            self.assertEqual(self.heads(room), [events[-1].event_id])
            self.assertIs(self.result(self.accept_event.accept(events[2])), Verdict.KNOWN)
            self.assertIs(self.result(self.accept_event.accept(room.say(BOB))), Verdict.ACCEPTED)

    def test_event_that_is_here_already_ends_the_run(self) -> None:
        room = self.given_taken()
        first, second = room.say(BOB), room.say(BOB)
        self.assertEqual(self.accept(room, [first]), 1)
        self.assertEqual(self.accept(room, [first, second]), 0)
        self.assertEqual(self.accept(room, [second, second]), 1)

    def test_event_that_was_soft_failed_is_not_taken_later(self) -> None:
        room = self.given_taken()
        before = [room.events.get(each) for each in room.heads]
        room.append("m.room.member", ALICE, {"membership": "ban"}, BOB)
        self.assertIs(
            self.result(self.accept_event.accept([*room.events.by_id.values()][-1])), Verdict.ACCEPTED
        )
        late = room.build("m.room.message", BOB, {"body": "late"}, prev=before)
        self.assertIs(self.result(self.accept_event.accept(late)), Verdict.SOFT_FAILED)
        self.assertEqual(self.accept(room, [late]), 0)

    def test_what_is_not_plain_ends_the_run(self) -> None:
        room = self.given_taken()
        plain = room.say(BOB)
        self.assertEqual(self.accept(room, [plain]), 1)
        reply = {"m.relates_to": {"rel_type": "m.annotation", "event_id": plain.event_id, "key": "+"}}
        for event in (
            room.build("m.room.topic", ALICE, {"topic": "state"}, ""),
            room.build("m.reaction", BOB, reply),
            room.build("m.room.redaction", BOB, {"redacts": plain.event_id}),
            room.build("m.room.message", BOB, {}, prev=[room.create]),
        ):
            self.assertEqual(self.accept(room, [event, plain]), 0, event.type)
        self.assertEqual(self.heads(room), [plain.event_id])

    def test_message_that_is_not_allowed_ends_the_run_and_changes_nothing(self) -> None:
        room = self.given_taken()
        good = room.say(BOB)
        stranger = room.build("m.room.message", "@stranger:far.example", {"body": "spam"})
        self.assertEqual(self.accept(room, [good, stranger]), 1)
        self.assertEqual(self.heads(room), [good.event_id])
        self.assertIs(self.result(self.accept_event.accept(stranger)), Verdict.REJECTED)

    def test_message_that_names_other_auth_events_than_the_state_has_is_left(self) -> None:
        room = self.given_taken()
        state = room.state_before(room.heads)
        old = room.events.get(state["m.room.member", BOB])
        later = room.append("m.room.member", BOB, {"membership": "join", "displayname": "B"}, BOB)
        self.assertIs(self.result(self.accept_event.accept(later)), Verdict.ACCEPTED)
        event = room.build("m.room.message", BOB, {"body": "hello"})
        self.assertIn(later.event_id, event.auth_events)
        self.assertNotIn(old.event_id, event.auth_events)
        self.assertEqual(self.accept(room, [event]), 1)
        fork = room.build("m.room.message", BOB, {"body": "hello"}, prev=[old])
        self.assertEqual(self.accept(room, [fork]), 0)

    def test_policy_server_is_asked_the_long_way(self) -> None:
        room = self.given_taken()
        policy = room.append("m.room.policy", ALICE, {"via": "far.example"}, "")
        self.assertIs(self.result(self.accept_event.accept(policy)), Verdict.ACCEPTED)
        self.assertEqual(self.accept(room, [room.say(BOB)]), 0)

    def test_failed_commit_takes_none_and_the_room_goes_on(self) -> None:
        room = self.given_taken()
        events = [room.say(BOB) for _ in range(3)]
        before = self.heads(room)
        assert room.room_id is not None
        writing = GatedRunner()
        self.database._run_write = writing
        writing.close()
        run = Deferred.fromCoroutine(self.run_of.accept(room.room_id, events))
        self.assertNoResult(run)
        self.assertEqual(self.heads(room), [events[-1].event_id])
        self.database.write_now(lambda tx: tx.run("ALTER TABLE events RENAME TO events_away"))
        writing.open()
        self.database.write_now(lambda tx: tx.run("ALTER TABLE events_away RENAME TO events"))
        self.failureResultOf(run, CommitFailed)
        self.assertEqual(self.heads(room), before)
        self.assertEqual(self.accept(room, events), 3)


class SqliteAcceptRunTests(SqliteStorage, AcceptRunTests, SynchronousTestCase): ...


class PostgresAcceptRunTests(PostgresStorage, AcceptRunTests, SynchronousTestCase): ...
