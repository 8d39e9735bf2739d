"""The committer and the log: what was answered is there, in order, once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from storage.change import Change, Conflict, LogEntry
from storage.committer import CommitFailed, Committed, Committer, Fence
from storage.database import Database, Waiter, WriteTransaction
from storage.log import Log, LogRepository
from storage.names import Names
from storage.write_batch import Arrival, Arrived
from tests.storage.storage_case import (
    PostgresStorage,
    SilentObserver,
    SqliteStorage,
    StorageMixin,
    synchronous,
)


@dataclass(frozen=True, slots=True)
class Note(Change):
    """Writes a name; refuses 'bad'; breaks the database's rules for 'broken'."""

    kind: ClassVar[str] = "note"
    area: ClassVar[str] = "notes"

    text: str

    def key(self) -> tuple[str, ...]:
        return (self.text,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[object]:
        for _, change in changes:
            if change.text == "bad":
                raise Conflict("bad")
            if change.text == "broken":
                tx.run("INSERT INTO no_such_table VALUES (1)")
        numbers = tx.intern(change.text for _, change in changes)
        return [numbers[change.text] for _, change in changes]


@dataclass(frozen=True, slots=True)
class Bookkeeping(Note):
    logged: ClassVar[bool] = False


class LargeNote(Note):
    is_remembered: ClassVar[bool] = False


class CommitterTests(StorageMixin):
    def test_results_come_back_per_change(self) -> None:
        committed = self.result(self.committer.commit(Note("a"), Note("b"), Note("a")))
        self.assertEqual(committed.position, 3)
        first, second, third = committed.results
        self.assertEqual(first, third)
        self.assertNotEqual(first, second)

    def test_positions_go_on_after_a_restart(self) -> None:
        self.result(self.committer.commit(Note("a")))
        self.open()
        self.assertEqual(self.log.position, 1)
        self.assertEqual(self.result(self.committer.commit(Note("b"))).position, 2)
        entries = self.read(lambda tx: LogRepository().read_after(tx, 0, 10))
        self.assertEqual(
            [(entry.position, entry.kind, entry.key) for entry in entries],
            [(1, "note", ("a",)), (2, "note", ("b",))],
        )

    def test_followers_see_each_commit_in_order(self) -> None:
        seen: list[tuple[str, ...]] = []
        self.log.follow(lambda entries: seen.extend(entry.key for entry in entries))
        for text in ("a", "b", "c"):
            self.result(self.committer.commit(Note(text)))
        self.assertEqual(seen, [("a",), ("b",), ("c",)])
        tail = self.log.since(1)
        assert tail is not None
        self.assertEqual([entry.position for entry in tail], [2, 3])

    def test_what_is_large_is_told_to_followers_and_not_remembered(self) -> None:
        seen: list[Change | None] = []
        self.log.follow(lambda entries: seen.extend(entry.change for entry in entries))
        changes = (Note("a"), LargeNote("b"))
        self.result(self.committer.commit(*changes))
        self.assertEqual(seen, [*changes])
        tail = self.log.since(0)
        assert tail is not None
        self.assertEqual(
            [(entry.position, entry.kind, entry.key, entry.change) for entry in tail],
            [(1, Note.kind, ("a",), changes[0]), (2, Note.kind, ("b",), None)],
        )

    def test_follower_that_fails_stops_neither_the_others_nor_the_writing(self) -> None:
        seen: list[int] = []

        def fail(entries: Sequence[LogEntry]) -> None:
            raise ValueError("a mistake")

        self.log.follow(fail)
        self.log.follow(lambda entries: seen.extend(entry.position for entry in entries))
        with self.assertLogs("storage.log", "CRITICAL"):  # type: ignore[attr-defined]
            self.result(self.committer.commit(Note("a")))
        self.log.unfollow(fail)
        self.result(self.committer.commit(Note("b")))
        self.assertEqual(seen, [1, 2])

    def test_refused_submission_writes_nothing_and_its_neighbours_are_written(self) -> None:
        held: list[Deferred[None]] = []
        outcomes = self._submit_together(held, [(Note("a"), Note("bad")), (Note("b"),), (Note("c"),)])
        self.failureResultOf(outcomes[0], Conflict)
        self.successResultOf(outcomes[1])
        self.successResultOf(outcomes[2])
        entries = self.read(lambda tx: LogRepository().read_after(tx, 0, 10))
        self.assertEqual([entry.key for entry in entries], [("b",), ("c",)])
        self.assertEqual([entry.position for entry in entries], [1, 2])
        self.assertIsNone(self.read(lambda tx: tx.name_id("a")))

    def test_failure_breaks_the_fence_for_what_was_built_on_it(self) -> None:
        fence = Fence()
        self.failure(self.committer.commit(Note("broken"), fence=fence), CommitFailed)
        self.failure(self.committer.commit(Note("a"), fence=fence), CommitFailed)
        self.result(self.committer.commit(Note("b")))
        self.assertEqual(self.log.position, 1)

    def test_what_is_submitted_together_is_one_transaction_and_an_arrival_sees_it(self) -> None:
        seen: list[object] = []
        published: list[list[int]] = []
        self.log.follow(lambda entries: published.append([entry.position for entry in entries]))
        with self.committer.together():
            first = self.committer.submit((Note("a"),))
            arriving = self.committer.submit_arrival(Arrival("peer", self._deciding(seen, Note("b"))))
            later = self.committer.submit((Note("c"),))
            self.assertEqual(self.log.position, 0)
        # The arrival ends its transaction: how much it is shows only there.
        self.assertEqual(published, [[1, 2], [3]])
        self.assertNotEqual(seen, [None])
        for waiter, position in ((first, 1), (arriving, 2), (later, 3)):
            self.assertEqual(self.result(_until(waiter)).position, position)

    def test_a_refused_arrival_takes_nothing_of_its_neighbours_along(self) -> None:
        def refuse(tx: WriteTransaction) -> Arrived:
            raise Conflict("not this one")

        with self.committer.together():
            first = self.committer.submit((Note("a"),))
            arriving = self.committer.submit_arrival(Arrival("peer", refuse))
        self.assertEqual(self.result(_until(first)).position, 1)
        self.failure(_until(arriving), Conflict)
        self.assertEqual(self.read(LogRepository().get_position), 1)

    def _deciding(self, seen: list[object], change: Change) -> Callable[[WriteTransaction], Arrived]:
        def decide(tx: WriteTransaction) -> Arrived:
            seen.append(tx.value("SELECT name FROM names WHERE name = ?", (b"a",)))
            return Arrived((change,), ())

        return decide

    def test_bookkeeping_takes_no_position(self) -> None:
        committed = self.result(self.committer.commit(Bookkeeping("a")))
        self.assertEqual(committed.position, 0)
        self.assertEqual(self.log.position, 0)

    def test_processes_that_write_in_turn_and_one_after_the_other_all_take_the_next_position(self) -> None:
        names = Names(1000)
        database = Database(self.engine, synchronous, synchronous, names)
        self.addCleanup(database.close)
        other = Committer(database, Log(1000), SilentObserver(), lambda: 1_000_000, lambda: 0.0)
        wanted = []
        for position in range(1, 61):
            # In turn at first, then each alone for so long that it knows where the log's head is.
            committer = other if (position % 2 if position < 20 else position // 20 % 2) else self.committer
            change = Note(f"{position}") if position % 5 else Note("again")
            committed = self.result(committer.commit(change, Bookkeeping(f"beside {position}")))
            self.assertEqual(committed.position, position)
            self.failure(committer.commit(Note("bad")), Conflict)
            wanted.append((position, change.key()))
        entries = self.read(lambda tx: LogRepository().read_after(tx, 0, 100))
        self.assertEqual([(entry.position, entry.key) for entry in entries], wanted)
        self.assertEqual(self.read(LogRepository().get_position), 60)

    def test_list_parameters_are_expanded(self) -> None:
        self.result(self.committer.commit(Note("a"), Note("b")))
        self.assertEqual(
            self.read(lambda tx: tx.value("SELECT COUNT(*) FROM names WHERE name IN (??)", ([b"a", b"b"],))),
            2,
        )
        self.assertEqual(
            self.read(lambda tx: tx.value("SELECT COUNT(*) FROM names WHERE name IN (??)", ([],))), 0
        )

    def _submit_together(
        self, held: list["Deferred[None]"], submissions: list[tuple[Change, ...]]
    ) -> list["Deferred[Committed]"]:
        """Submit so that all go into one transaction: the first commit is kept waiting while they queue."""
        gate: Deferred[None] = Deferred()
        real_write = self.database._run_write

        def wait_for_gate(function):  # type: ignore[no-untyped-def]
            return (
                gate.addCallback(lambda _: real_write(function)) if not gate.called else real_write(function)
            )

        self.database._run_write = wait_for_gate  # type: ignore[method-assign, assignment]
        first = Deferred.fromCoroutine(self.committer.commit(Bookkeeping("first")))
        outcomes = [Deferred.fromCoroutine(self.committer.commit(*submission)) for submission in submissions]
        gate.callback(None)
        self.successResultOf(first)
        return outcomes


async def _until(waiter: Waiter[Committed]) -> Committed:
    return await waiter


class SqliteCommitterTests(SqliteStorage, CommitterTests, SynchronousTestCase):
    pass


class PostgresCommitterTests(PostgresStorage, CommitterTests, SynchronousTestCase):
    pass
