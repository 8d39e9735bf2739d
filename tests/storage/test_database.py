"""What the database does to us: restarts, locks, damage, rolled back transactions."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import psycopg2
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from storage.committer import CommitFailed, Committer
from storage.database import Database, Transaction, WriteTransaction
from storage.engines.engine import Answer, ConnectionLost, Move, Row, StorageError, UniqueViolation
from storage.engines.postgres import PostgresConnection, PostgresEngine
from storage.engines.sqlite import SqliteEngine
from storage.event_rows import EventsRepository
from storage.log import LogRepository
from storage.migrate import SchemaTooNew, migrate
from storage.names import Names
from storage.one_time_keys import ClaimOneTimeKeys, GivenKeys
from tests.storage.keys_case import ALICE
from tests.storage.storage_case import (
    PostgresStorage,
    SilentObserver,
    SqliteStorage,
    StorageMixin,
    synchronous,
)
from tests.storage.test_committer import Bookkeeping, Note
from tests.support.gated_runner import GatedRunner
from tests.support.postgres import postgres_database

T = TypeVar("T")
SIGNED = "signed_curve25519"


class DatabaseTests(StorageMixin):
    def test_name_that_was_rolled_back_is_not_remembered(self) -> None:
        def intern_read_and_fail(tx: WriteTransaction) -> None:
            number = tx.intern_one("gone")
            # A later change of the same transaction reads what an earlier one wrote.
            self.assertEqual(tx.name_id("gone"), number)
            self.assertEqual(tx.names_of((number,)), {number: "gone"})
            raise ValueError("roll back")

        self.assertRaises(ValueError, self.database.write_now, intern_read_and_fail)
        other = self.database.write_now(lambda tx: tx.intern_one("other"))
        self.assertIsNone(self.read(lambda tx: tx.name_id("gone")))
        self.assertEqual(self.read(lambda tx: tx.names_of((other,))), {other: "other"})

    def test_newer_schema_is_refused_and_left_alone(self) -> None:
        self.database.write_now(lambda tx: tx.run("INSERT INTO schema_changes (number) VALUES (?)", (9999,)))
        self.assertRaises(SchemaTooNew, migrate, self.engine, self.database, lambda number: None)

    def test_question_is_one_statement_and_leaves_no_transaction_open(self) -> None:
        def ask_twice(tx: Transaction) -> None:
            tx.value("SELECT position FROM log_head")
            tx.value("SELECT position FROM log_head")

        def ask_for_each(tx: Transaction) -> None:
            tx.each("SELECT nid FROM names WHERE nid = ?", [(1,), (2,)])

        self.assertEqual(
            self.ask(lambda tx: tx.all("SELECT position FROM log_head WHERE 1 IN (??)", ([1, 2],))), [(0,)]
        )
        for work in (ask_twice, ask_for_each):
            self.failureResultOf(Deferred.fromCoroutine(self.database.ask(work)), StorageError)
        self.failureResultOf(
            Deferred.fromCoroutine(self.database.ask(lambda tx: tx.value("SELECT nonsense"))), StorageError
        )
        # It sees what was committed meanwhile: no snapshot is left over.
        self.result(self.committer.commit(Note("one")))
        self.assertEqual(self.ask(LogRepository().get_position), 1)
        self.assertEqual(self.read(LogRepository().get_position), 1)

    def ask(self, work: Callable[[Transaction], T]) -> T:
        return self.result(self.database.ask(work))

    def test_no_event_has_an_id_with_nul(self) -> None:
        self.assertEqual(self.read(lambda tx: EventsRepository().get_by_id(tx, ["$a\x00b"])), [])

    def test_select_is_run_for_each_of_several_sets_of_integers(self) -> None:
        self.database.write_now(
            lambda tx: tx.many(
                "INSERT INTO names (nid, name) VALUES (?, ?)",
                [(900 + number, b"%d" % number) for number in range(9)],
            )
        )
        # Each with bounds and with a limit of its own; what stands in it twice is given twice.
        select = "SELECT nid, nid + ? FROM names WHERE nid >= ? AND nid < ? ORDER BY nid DESC LIMIT ?"
        given = [(1, 900, 903, 2), (2, 904, 906, 9), (3, 990, 999, 9), (4, 908, 909, 1)]
        rows = self.read(lambda tx: tx.each(select, given))
        self.assertEqual(sorted(rows), [(901, 902), (902, 903), (904, 906), (905, 907), (908, 912)])
        self.assertEqual(self.read(lambda tx: tx.each(select, [])), [])

    def test_statement_of_many_requests_sees_what_was_written_before_it(self) -> None:
        values = [b"it's \\ 100 % $1 ?", b"\0\xff", "Zoë".encode()]

        def work(tx: WriteTransaction) -> list[list[tuple[object, ...]]]:
            rows = [(900 + number, value) for number, value in enumerate(values)]
            tx.later("INSERT INTO names (nid, name) VALUES (?, ?)", rows)
            select = "SELECT nid FROM names WHERE name = ? AND nid >= ?"
            return [tx.often(select, (value, 900)) for value in (*values, b"none")]

        for _ in range(2):
            self.assertEqual(self.database.write_now(work), [[(900,)], [(901,)], [(902,)], []])
            self.database.write_now(lambda tx: tx.run("DELETE FROM names WHERE nid >= 900"))
        self.assertRaises(
            StorageError, self.database.write_now, lambda tx: tx.often("SELECT nonsense WHERE 1 = ?", (1,))
        )
        self.assertEqual(self.database.write_now(work)[0], [(900,)])

    def test_rows_are_moved_and_what_follows_or_the_commit_brings_the_answer(self) -> None:
        move = Move(
            "SELECT n.nid FROM names n WHERE n.nid >= ? AND n.name = ? ORDER BY n.nid LIMIT 1",
            "DELETE FROM names WHERE nid IN (??) RETURNING nid, name",
            "INSERT INTO names (nid, name) SELECT nid + ?, sha256(CAST(name || ? || name AS BYTEA)) FROM taken"
            " WHERE true ON CONFLICT DO NOTHING",
        )
        hostile = [b"a'b", b'c"d', b"e\\f", b"\0\xff", b"", b"100%s?"]
        rows = [(1000 + number, name) for number, name in enumerate(hostile)]

        def insert(tx: WriteTransaction) -> None:
            tx.later("INSERT INTO names (nid, name) VALUES (?, ?)", rows)

        def all_names(tx: Transaction) -> list[tuple[int, bytes]]:
            return [(nid, name) for nid, name in tx.all("SELECT nid, name FROM names WHERE nid >= 1000")]

        def digest(name: bytes) -> bytes:
            return sha256(name + b"\0'" + name).digest()

        # What is not there, or not as wanted, is not found.
        sets = [*((1000, name) for name in hostile), (1000, b"absent"), (2000, hostile[0])]
        values = (1000, b"\0'")
        self.database.write_now(insert)
        answer = self.database.write_now(lambda tx: tx.move(move, sets, values))
        self.assertEqual(sorted(answer.rows), rows)
        moved = [(2000 + number, digest(name)) for number, name in enumerate(hostile)]
        self.assertEqual(sorted(self.read(all_names)), moved)

        def move_twice(tx: WriteTransaction) -> list[Answer]:
            insert(tx)
            return [tx.move(move, sets, values), tx.move(move, sets, values)]

        # The statements happen one after the other: the second one finds nothing any more.
        first, second = self.database.write_now(move_twice)
        self.assertEqual((sorted(first.rows), list(second.rows)), (rows, []))
        for see in (
            all_names,
            lambda tx: tx.many("UPDATE names SET name = ? WHERE nid = ?", [(b"x", 1000)]) or all_names(tx),
            lambda tx: tx.later("DELETE FROM names WHERE nid = ?", [(1000,)]) or all_names(tx),
        ):

            def see_after(tx: WriteTransaction, see: Any = see) -> tuple[Any, Answer]:
                insert(tx)
                answer = tx.move(move, sets, values)
                return see(tx), answer

            seen, answer = self.database.write_now(see_after)
            self.assertEqual(sorted(seen), moved)
            self.assertEqual(sorted(answer.rows), rows)

    def test_answer_of_a_transaction_that_failed_is_not_there(self) -> None:
        move = Move(
            "SELECT n.nid FROM names n WHERE n.nid = ?",
            "DELETE FROM names WHERE nid IN (??) RETURNING nid",
            "INSERT INTO names (nid, name) SELECT nid + ?, CAST(? || ? AS BYTEA) FROM taken",
        )
        insert = "INSERT INTO names (nid, name) VALUES (?, ?)"
        self.database.write_now(lambda tx: tx.many(insert, [(901, b"a"), (902, b"b"), (903, b"c")]))
        answers: list[Answer] = []

        def move_onto_another(tx: WriteTransaction) -> None:
            answers.append(tx.move(move, [(901,)], (1, b"n", b"n")))

        self.assertRaises(UniqueViolation, self.database.write_now, move_onto_another)
        self.assertEqual(self.names(), [b"a", b"b", b"c"])
        for lost in answers:
            self.assertRaises(StorageError, lambda lost=lost: lost.rows)
        answer = self.database.write_now(lambda tx: tx.move(move, [(901,)], (9, b"", b"n")))
        self.assertEqual((answer.rows, self.names()), ([(901,)], [b"b", b"c", b"n"]))

    def names(self) -> list[bytes]:
        rows = self.read(lambda tx: tx.all("SELECT name FROM names WHERE nid >= 900 ORDER BY nid"))
        return [name for (name,) in rows]

    def test_what_is_written_later_is_there_for_what_follows_and_after_the_commit(self) -> None:
        def write(tx: WriteTransaction) -> list[tuple[Any, ...]]:
            tx.later("INSERT INTO names (nid, name) VALUES (?, ?)", [(901, b"1"), (902, b"2")])
            seen = tx.all("SELECT nid FROM names WHERE nid >= ? ORDER BY nid", (900,))
            tx.later("UPDATE names SET name = ? WHERE nid = ?", [(b"one", 901), (b"two", 902)])
            tx.later("DELETE FROM names WHERE nid = ?", [])
            return seen

        self.assertEqual(self.database.write_now(write), [(901,), (902,)])
        self.assertEqual(self.names(), [b"one", b"two"])

    def test_many_rows_are_written_after_what_was_left_for_later(self) -> None:
        def write(tx: WriteTransaction) -> None:
            tx.later("INSERT INTO names (nid, name) VALUES (?, ?)", [(901, b"1")])
            tx.many("UPDATE names SET name = ? WHERE nid = ?", [(b"one", 901)])

        self.database.write_now(write)
        self.assertEqual(self.names(), [b"one"])

    def test_values_written_later_are_what_they_were(self) -> None:
        texts = ["it's", "100%", "a\\'b", "?", "\U0001f600", "-- ;", "%s"]
        self.database.write_now(
            lambda tx: tx.later(
                "INSERT INTO transactions (scope, request, event_id, at_ms) VALUES (?, ?, ?, ?)",
                [(text, bytes(range(256)), text[::-1], -number) for number, text in enumerate(texts)],
            )
        )
        rows = self.read(lambda tx: tx.all("SELECT scope, request, event_id, at_ms FROM transactions"))
        expected = [(text, bytes(range(256)), text[::-1], -number) for number, text in enumerate(texts)]
        self.assertEqual(sorted(rows), sorted(expected))
        insert = "INSERT INTO log (position, kind, at_ms, entry_key, origin) VALUES (?, ?, ?, ?, ?)"
        self.database.write_now(lambda tx: tx.later(insert, [(2**40, 1, 0, b"", 0)]))

    def test_many_values_written_later_are_what_they_were(self) -> None:
        """So many that PostgreSQL takes whole columns."""
        texts = [
            "it's",
            "100%",
            "a\\'b",
            "?",
            "\U0001f600",
            "-- ;",
            "%s",
            '{"a": "b\\\\"}',
            "{,}",
            "NULL",
            "",
            " ",
            "\n\x01",
        ]
        bytes_ = [*(text.encode() for text in texts), b"\\x41", b"\0", bytes(range(256))]
        rows = [
            (f"@{number}", "A", None if number % 3 == 0 else value, number - 5, None, 2**40)
            for number, value in enumerate(bytes_)
        ]
        insert = (
            "INSERT INTO devices (user_id, device_id, display_name, created_ms, last_seen_address, position)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, device_id) DO UPDATE SET position = excluded.position + 1"
        )
        select = (
            "SELECT user_id, device_id, display_name, created_ms, last_seen_address, position FROM devices"
            " ORDER BY created_ms"
        )
        for number in range(2):
            self.database.write_now(lambda tx: tx.later(insert, rows))
            expected = [(*row[:5], 2**40 + number) for row in rows]
            self.assertEqual(self.read(lambda tx: tx.all(select)), expected)
        changes = [(text + "!", bytes(range(256)), text[::-1], -number) for number, text in enumerate(texts)]
        self.database.write_now(
            lambda tx: tx.later(
                "INSERT INTO transactions (scope, request, event_id, at_ms) VALUES (?, ?, ?, ?)", changes
            )
        )
        found = self.read(lambda tx: tx.all("SELECT scope, request, event_id, at_ms FROM transactions"))
        self.assertEqual(sorted(found), sorted(changes))

    def test_many_plain_values_written_later_are_what_they_were(self) -> None:
        plain = ["it's", '"quoted"', "{,}", "NULL", "", " ", "100%", "?", "-- ;", "%s", "a, b"]
        insert = "INSERT INTO transactions (scope, request, event_id, at_ms) VALUES (?, ?, ?, ?)"
        rows: list[tuple[str, bytes, str, int]] = []
        for number, more in enumerate(([], ["\x01"], ["a\x01b", "\x01"], ["\\"], ["\u00e9"])):
            values = [*plain, *more]
            changes = [(f"{text}{number}", text.encode(), text, number) for text in values]
            self.database.write_now(partial(WriteTransaction.later, sql=insert, rows=changes))
            rows += changes
        found = self.read(lambda tx: tx.all("SELECT scope, request, event_id, at_ms FROM transactions"))
        self.assertEqual(sorted(found), sorted(rows))

    def test_many_values_of_several_kinds_are_written_one_by_one(self) -> None:
        rows = [
            (901 + number, memoryview(b"%d" % number) if number % 2 else b"x%d" % number)
            for number in range(20)
        ]
        self.database.write_now(lambda tx: tx.later("INSERT INTO names (nid, name) VALUES (?, ?)", rows))
        self.assertEqual(self.names(), [bytes(name) for _, name in rows])

    def test_what_is_left_for_later_goes_with_a_rollback(self) -> None:
        def write(tx: WriteTransaction) -> None:
            tx.later("INSERT INTO names (nid, name) VALUES (?, ?)", [(901, b"1")])
            raise ValueError("roll back")

        self.assertRaises(ValueError, self.database.write_now, write)
        self.database.write_now(lambda tx: tx.all("SELECT 1"))
        self.assertEqual(self.names(), [])

    def test_row_that_is_there_already_is_told_as_the_change_said(self) -> None:
        insert = "INSERT INTO names (nid, name) VALUES (?, ?)"
        self.database.write_now(lambda tx: tx.later(insert, [(901, b"1")]))
        taken = ValueError("taken")
        for follow in (
            lambda tx: None,
            lambda tx: tx.all("SELECT 1"),
            lambda tx: tx.many(insert, [(902, b"2")]),
        ):

            def write(tx: WriteTransaction, follow: Any = follow) -> None:
                tx.later(insert, [(901, b"1")], taken)
                follow(tx)

            self.assertIs(self.assertRaises(ValueError, self.database.write_now, write), taken)
        self.assertRaises(
            UniqueViolation, self.database.write_now, lambda tx: tx.later(insert, [(901, b"1")])
        )
        # One that is foreseen is not mistaken for one that is not.
        self.assertRaises(
            UniqueViolation,
            self.database.write_now,
            lambda tx: (tx.later(insert, [(903, b"3")], taken), tx.many(insert, [(901, b"1")])),
        )
        self.assertEqual(self.names(), [b"1"])

    def test_each_row_that_is_there_already_is_told_as_what_it_is(self) -> None:
        def write(tx: WriteTransaction, name: int, event: int) -> None:
            tx.later(
                "INSERT INTO names (nid, name) VALUES (?, ?)", [(name, b"%d" % name)], ValueError("name")
            )
            insert = "INSERT INTO transactions (scope, request, event_id, at_ms) VALUES (?, ?, ?, ?)"
            tx.later(insert, [("scope", b"%d" % event, "", 0)], ValueError("event"))
            # Of which nothing was said.
            insert = "INSERT INTO to_device_shared (position, number, event, waiting) VALUES (?, ?, ?, ?)"
            tx.later(insert, [(1, 1, b"{}", 1)])

        self.database.write_now(lambda tx: write(tx, 901, 1))
        for name, event, told in ((901, 2, "name"), (902, 1, "event"), (901, 1, "name")):
            error = self.assertRaises(
                ValueError, self.database.write_now, partial(write, name=name, event=event)
            )
            self.assertEqual(str(error), told)
        self.assertRaises(UniqueViolation, self.database.write_now, lambda tx: write(tx, 902, 2))


class SqliteDatabaseTests(SqliteStorage, DatabaseTests, SynchronousTestCase):
    def test_file_that_is_no_database_is_a_storage_error(self) -> None:
        path = Path(self.mktemp())
        path.write_bytes(b"not a database" * 1000)
        database = Database(SqliteEngine(path, 1), synchronous, synchronous, Names(10))
        self.assertRaises(StorageError, migrate, SqliteEngine(path, 1), database, lambda number: None)

    def test_folder_that_is_missing_is_a_storage_error(self) -> None:
        engine = SqliteEngine(Path(self.mktemp()) / "missing" / "a.db", 1)
        self.assertRaises(StorageError, engine.connect)

    def test_batch_waits_once_for_a_database_that_somebody_else_locked(self) -> None:
        path = Path(self.mktemp())
        engine = SqliteEngine(path, 1, synchronous="OFF", busy_timeout_s=0.0)
        gate = GatedRunner()
        database = Database(engine, synchronous, gate, Names(10))
        self.addCleanup(database.close)
        migrate(engine, database, lambda number: None)
        committer = Committer(database, self.log, SilentObserver(), lambda: 1, lambda: 0.0)
        gate.close()
        outcomes = [Deferred.fromCoroutine(committer.commit(Note(str(number)))) for number in range(5)]
        gate.step()
        self.successResultOf(outcomes[0])
        other = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        # The four others are one batch, and one try.
        gate.step()
        for outcome in outcomes[1:]:
            self.failureResultOf(outcome, CommitFailed)
        other.execute("ROLLBACK")
        gate.open()
        self.successResultOf(Deferred.fromCoroutine(committer.commit(Note("after"))))


class PostgresDatabaseTests(PostgresStorage, DatabaseTests, SynchronousTestCase):
    def test_idle_connections_that_were_cut_cost_no_request(self) -> None:
        self.result(self.committer.commit(Note("before")))
        self._cut_connections()
        self.assertEqual(self.result(self.committer.commit(Note("after"))).position, 2)
        self._cut_connections()
        self.assertEqual(self.read(LogRepository().get_position), 2)
        self._cut_connections()
        self.assertEqual(self.ask(LogRepository().get_position), 2)

    def test_statements_that_were_prepared_are_on_the_next_connection_too(self) -> None:
        nid = self.database.write_now(lambda tx: tx.intern_one("name"))
        select = "SELECT n.name FROM names n WHERE n.nid = ?"
        for _ in range(3):
            self.assertEqual(self.ask(lambda tx: tx.all(select, (nid,))), [(b"name",)])
            self.assertEqual(self.read(lambda tx: tx.each(select, [(nid,), (nid + 1,)])), [(b"name",)])
            self._cut_connections()

    def test_connection_on_which_not_all_could_be_prepared_again_is_not_used(self) -> None:
        self.database.write_now(lambda tx: tx.run("CREATE TABLE passing (number BIGINT)"))
        statements = ("SELECT number FROM passing WHERE number = ?", "SELECT nid FROM names WHERE nid = ?")
        for select in statements:
            self.assertEqual(self.ask(partial(Transaction.all, sql=select, parameters=(1,))), [])
        self.database.write_now(lambda tx: tx.run("ALTER TABLE passing RENAME TO away"))
        self._cut_connections()
        self.failure(self.database.ask(LogRepository().get_position), StorageError)
        assert isinstance(self.engine, PostgresEngine)
        restoring = psycopg2.connect(**self.engine._arguments)
        self.addCleanup(restoring.close)
        restoring.cursor().execute("ALTER TABLE away RENAME TO passing")
        restoring.commit()
        for select in statements:
            self.assertEqual(self.ask(partial(Transaction.all, sql=select, parameters=(1,))), [])

    def test_no_processes_are_started_and_nothing_is_compiled_for_a_statement(self) -> None:
        def ask(tx: Transaction) -> list[object]:
            return [tx.value(f"SHOW {name}") for name in ("max_parallel_workers_per_gather", "jit")]

        self.assertEqual(self.read(ask), ["0", "off"])
        self._cut_connections()
        self.assertEqual(self.read(ask), ["0", "off"])

    def test_transaction_begins_whatever_its_first_statement_is(self) -> None:
        def insert_many(tx: WriteTransaction) -> None:
            tx.many("INSERT INTO names (nid, name) VALUES (?, ?)", [(901, b"a"), (902, b"b")])
            raise StorageError("never mind")

        def ask(tx: WriteTransaction) -> None:
            tx.run("INSERT INTO names (nid, name) VALUES (?, ?) RETURNING nid", (903, b"c"))
            raise StorageError("never mind")

        for work in (insert_many, ask):
            self.assertRaises(StorageError, self.database.write_now, work)
        self.assertEqual(self.read(lambda tx: tx.all("SELECT nid FROM names WHERE nid > 900")), [])

    def test_connection_that_is_cut_within_a_transaction_fails_it_and_the_next_goes_on(self) -> None:
        def cut(tx: WriteTransaction) -> None:
            tx.intern_one("lost")
            self._cut_connections()
            tx.intern_one("more")

        self.assertRaises(StorageError, self.database.write_now, cut)
        self.assertIsNone(self.read(lambda tx: tx.name_id("lost")))
        self.result(self.committer.commit(Note("after")))

    def test_commit_of_which_the_answer_was_lost_is_not_written_again(self) -> None:
        cutting: list[bool] = []

        class CutAtCommit(PostgresConnection):
            def commit(self) -> None:
                super().commit()
                if cutting:
                    cutting.clear()
                    self._connection.close()
                    raise ConnectionLost("server closed the connection unexpectedly")

        committer, database, gate = self._committer_over(CutAtCommit)
        seen: list[tuple[str, ...]] = []
        self.log.follow(lambda entries: seen.extend(entry.key for entry in entries))
        gate.close()
        outcomes = [Deferred.fromCoroutine(committer.commit(Note(text))) for text in "abc"]
        gate.step()
        cutting.append(True)
        gate.open()
        positions = [self.successResultOf(outcome).position for outcome in outcomes]
        self.assertEqual(positions, [1, 2, 3])
        self.assertEqual(database.read_now(LogRepository().get_position), 3)
        self.assertEqual(seen, [("a",), ("b",), ("c",)])

    def test_commit_that_waits_for_no_answer_is_one_message(self) -> None:
        messages: list[str] = []

        class Counting(PostgresConnection):
            def _execute(self, statement: str, parameters: Sequence[Any] | None) -> list[Row]:
                messages.append(statement)
                return super()._execute(statement, parameters)

        committer, database, _ = self._committer_over(Counting)
        self.result(committer.commit(Note("a")))
        messages.clear()
        self.assertEqual(self.result(committer.commit(Note("a"), Note("a"))).position, 3)
        (message,) = messages
        self.assertIn("INSERT INTO log ", message)
        self.assertEqual(database.read_now(LogRepository().get_position), 3)

    def test_claim_is_one_message_and_if_its_answer_is_lost_the_keys_are_gone(self) -> None:
        messages: list[str] = []
        cutting: list[bool] = []

        class CutAfterClaim(PostgresConnection):
            def _execute(self, statement: str, parameters: Sequence[Any] | None) -> list[Row]:
                messages.append(statement)
                rows = super()._execute(statement, parameters)
                if cutting and "EXECUTE statement" in statement:
                    cutting.clear()
                    self._connection.close()
                    raise ConnectionLost("server closed the connection unexpectedly")
                return rows

        committer, database, _ = self._committer_over(CutAfterClaim)
        claim = ClaimOneTimeKeys(((ALICE, "A1", SIGNED),))

        def upload(tx: WriteTransaction) -> None:
            alice = tx.intern_one(ALICE)
            tx.many(
                "INSERT INTO one_time_keys (place, user_nid, device, algorithm, key_id, json)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [(number, alice, b"A1", SIGNED.encode(), b"%d" % number, b"{}") for number in range(4)],
            )

        def claimed() -> list[str]:
            (given,) = self.result(committer.commit(claim)).results
            assert isinstance(given, GivenKeys)
            return [key.key_id for key in given.keys if key is not None]

        database.write_now(upload)
        self.assertEqual(claimed(), ["0"])
        messages.clear()
        self.assertEqual(claimed(), ["1"])
        self.assertEqual(len(messages), 1)
        cutting.append(True)
        self.assertRaises(StorageError, claimed)
        self.assertEqual(cutting, [])
        self.assertEqual(claimed(), ["3"])
        self.assertEqual(self.log.position, 4)

    def test_commit_in_one_message_of_which_the_answer_was_lost_is_not_written_again(self) -> None:
        cutting: list[bool] = []

        class CutAfterAll(PostgresConnection):
            def _execute(self, statement: str, parameters: Sequence[Any] | None) -> list[Row]:
                rows = super()._execute(statement, parameters)
                if cutting and "INSERT INTO log " in statement:
                    cutting.clear()
                    self._connection.close()
                    raise ConnectionLost("server closed the connection unexpectedly")
                return rows

        committer, database, _ = self._committer_over(CutAfterAll)
        self.result(committer.commit(Note("a")))
        cutting.append(True)
        self.assertEqual(self.result(committer.commit(Note("a"))).position, 2)
        self.assertEqual(cutting, [])
        self.assertEqual(self.result(committer.commit(Note("a"))).position, 3)
        self.assertEqual(self.log.position, 3)
        entries = database.read_now(lambda tx: LogRepository().read_after(tx, 0, 10))
        self.assertEqual([entry.position for entry in entries], [1, 2, 3])

    def test_commit_whose_answer_was_lost_is_not_called_lost_where_another_process_writes_too(self) -> None:
        cutting: list[bool] = []

        class CutAfterCommit(PostgresConnection):
            def _execute(self, statement: str, parameters: Sequence[Any] | None) -> list[Row]:
                rows = super()._execute(statement, parameters)
                if cutting and statement.endswith("COMMIT"):
                    cutting.clear()
                    self._connection.close()
                    raise ConnectionLost("server closed the connection unexpectedly")
                return rows

        committer, database, _ = self._committer_over(CutAfterCommit)
        self.result(committer.commit(Note("a")))
        database.write_now(lambda tx: tx.run("UPDATE log_head SET position = position + 1"))
        cutting.append(True)
        self.assertEqual(self.result(committer.commit(Note("b"))).position, 3)
        self.assertEqual(cutting, [])
        self.assertEqual(database.read_now(LogRepository().get_position), 3)

    def test_commit_whose_connection_is_cut_before_its_end_is_done_again(self) -> None:
        committer, database, cut_before = self._committer_that_is_cut()
        self.result(committer.commit(Note("a")))
        cut_before.append("UPDATE log_head SET names")
        self.assertEqual(self.result(committer.commit(Note("b"), Note("c"))).position, 3)
        self.assertEqual(cut_before, [])
        self.assertEqual(database.read_now(LogRepository().get_position), 3)

    def test_commit_of_which_nobody_can_tell_whether_it_was_done_fails(self) -> None:
        committer, _, cut_before = self._committer_that_is_cut()
        self.result(committer.commit(Note("a")))
        cut_before.append("COMMIT")
        self.failure(committer.commit(Bookkeeping("a")), CommitFailed)
        self.assertEqual(cut_before, [])
        self.assertEqual(self.result(committer.commit(Note("c"))).position, 2)

    def _committer_that_is_cut(self) -> tuple[Committer, Database, list[str]]:
        """With a list: before the statement that begins so the connection is cut, once."""
        cut_before: list[str] = []

        class Cut(PostgresConnection):
            def _execute(self, statement: str, parameters: Sequence[Any] | None) -> list[Row]:
                if cut_before and statement.startswith(cut_before[0]):
                    cut_before.clear()
                    self._connection.close()
                return super()._execute(statement, parameters)

        committer, database, _ = self._committer_over(Cut)
        return committer, database, cut_before

    def _committer_over(
        self, connection: Callable[[Mapping[str, Any], str | None], PostgresConnection]
    ) -> tuple[Committer, Database, GatedRunner]:
        """A committer over an empty database of its own, whose connections are made so."""
        arguments = postgres_database(self).as_connect_arguments()

        class Engine(PostgresEngine):
            def connect(self) -> PostgresConnection:
                return connection(arguments, None)

        engine, gate = Engine(arguments, 1), GatedRunner()
        database = Database(engine, synchronous, gate, Names(10))
        self.addCleanup(database.close)
        migrate(engine, database, lambda number: None)
        self.log.start_at(0)
        return Committer(database, self.log, SilentObserver(), lambda: 1, lambda: 0.0), database, gate

    def _cut_connections(self) -> None:
        assert isinstance(self.engine, PostgresEngine)
        other = psycopg2.connect(**self.engine._arguments)
        try:
            other.autocommit = True
            with other.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        finally:
            other.close()
