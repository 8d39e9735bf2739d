"""Durable cursors into the log, and who follows it with one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.followers.durable_follower import (
    FIRST_RETRY_S,
    SAVE_AFTER_S,
    DurableFollower,
    FollowedLog,
)
from popcube_server.services.platform import Platform
from storage.change import Change, LogEntry
from storage.committer import CommitFailed
from storage.database import WriteTransaction
from storage.followers import FollowersRepository, MoveCursor
from storage.log import LogRepository
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin, synchronous


@dataclass(frozen=True, slots=True)
class Note(Change):
    """A change that stores nothing but its entry in the log."""

    kind: ClassVar[str] = "note"
    area: ClassVar[str] = "notes"

    text: str

    def key(self) -> tuple[str, ...]:
        return (self.text,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, "Note"]]) -> None:
        return


class Reader:
    """Reads the notes that are not dull."""

    name = "reader"

    def __init__(self) -> None:
        self.read: list[str] = []
        self.batches: list[int] = []
        self.raises: list[Exception] = []

    def concerns(self, entry: LogEntry) -> bool:
        return entry.kind == "note" and not entry.key[0].startswith("dull")

    async def handle(self, entries: Sequence[LogEntry]) -> None:
        if self.raises:
            raise self.raises.pop(0)
        self.read += [entry.key[0] for entry in entries]
        self.batches.append(len(entries))


class DurableFollowerTests(StorageMixin):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.reader = Reader()

    def follow(self, collect_s: float = 0.0) -> DurableFollower:
        platform = Platform(self.clock, bytes, synchronous)
        source = FollowedLog(
            self.log, self.database, self.committer, platform, LogRepository(), FollowersRepository()
        )
        follower = DurableFollower(source, self.reader, collect_s)
        follower.start()
        self.clock.advance(0)
        return follower

    def note(self, *texts: str) -> None:
        for text in texts:
            self.result(self.committer.commit(Note(text)))

    def cursor(self) -> int | None:
        return self.read(lambda tx: FollowersRepository().find_position(tx, "reader"))

    def test_cursor_that_was_never_moved_is_none_and_the_newest_move_holds(self) -> None:
        self.assertIsNone(self.cursor())
        self.result(
            self.committer.commit(MoveCursor("reader", 3), MoveCursor("other", 9), MoveCursor("reader", 5))
        )
        self.assertEqual(self.cursor(), 5)

    def test_first_start_begins_at_the_end_and_is_written_down(self) -> None:
        self.note("before")
        self.follow()
        self.assertEqual((self.reader.read, self.cursor()), ([], 1))
        self.note("after")
        self.clock.advance(0)
        self.assertEqual((self.reader.read, self.cursor()), (["after"], 1))
        self.clock.advance(SAVE_AFTER_S)
        self.assertEqual(self.cursor(), 2)

    def test_work_of_a_moment_moves_the_stored_cursor_once(self) -> None:
        self.follow()
        self.clock.advance(SAVE_AFTER_S)
        with patch.object(self.committer, "commit", wraps=self.committer.commit) as commit:
            for text in ("one", "two", "three"):
                self.note(text)
                self.clock.advance(0)
            self.assertEqual((self.reader.read, self.cursor()), (["one", "two", "three"], 0))
            self.clock.advance(SAVE_AFTER_S)
            self.assertEqual(self.cursor(), 3)
            self.assertEqual(
                [call.args for call in commit.call_args_list if isinstance(call.args[0], MoveCursor)],
                [(MoveCursor("reader", 3),)],
            )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_work_that_is_collected_begins_at_once_and_then_for_all_that_came_meanwhile(self) -> None:
        follower = self.follow(collect_s=1.0)
        self.clock.advance(5)
        for text in ("one", "two", "three"):
            self.note(text)
            self.clock.advance(0)
        self.assertEqual(self.reader.read, ["one"])
        self.clock.advance(1.0)
        self.assertEqual((self.reader.read, self.reader.batches), (["one", "two", "three"], [1, 2]))
        self.note("four")
        self.result(follower.stop())
        self.assertEqual((self.reader.read, self.cursor()), (["one", "two", "three"], 3))
        self.follow(collect_s=1.0)
        self.assertEqual(self.reader.read[3:], ["four"])
        self.clock.advance(SAVE_AFTER_S)

    def test_what_is_written_during_collected_work_is_collected_too(self) -> None:
        handle = self.reader.handle

        async def writing(entries: Sequence[LogEntry]) -> None:
            await handle(entries)
            if self.reader.read == ["one"]:
                self.note("two", "three")

        with patch.object(self.reader, "handle", writing):
            self.follow(collect_s=1.0)
            self.clock.advance(5)
            self.note("one")
            self.clock.advance(0)
            self.assertEqual(self.reader.batches, [1])
            self.clock.advance(1.0)
            self.assertEqual(self.reader.batches, [1, 2])
        self.clock.advance(SAVE_AFTER_S)

    def test_cursor_that_was_not_saved_is_saved_later(self) -> None:
        follower = self.follow()
        self.note("one")
        self.clock.advance(0)
        with (
            patch.object(self.committer, "commit", side_effect=CommitFailed("disk full")),
            self.assertLogs("popcube_server"),
        ):
            self.clock.advance(SAVE_AFTER_S)
        self.assertEqual(self.cursor(), 0)
        self.clock.advance(FIRST_RETRY_S)
        self.assertEqual((self.cursor(), self.reader.read), (1, ["one"]))
        self.result(follower.stop())

    def test_writer_is_not_held_up(self) -> None:
        self.follow()
        self.note("one", "dull", "two")
        self.assertEqual(self.reader.read, [])
        self.clock.advance(0)
        self.assertEqual(self.reader.read, ["one", "two"])

    def test_what_happened_while_nobody_followed_is_read_from_the_database(self) -> None:
        self.result(self.follow().stop())
        self.note(*(f"{number}" for number in range(1200)), "dull")
        self.open()
        self.assertIsNone(self.log.since(0))
        self.follow()
        self.assertEqual(self.reader.read, [f"{number}" for number in range(1200)])
        self.note("new")
        self.clock.advance(0)
        self.assertEqual(self.reader.read[-1], "new")

    def test_crash_after_the_work_repeats_at_most_that_work(self) -> None:
        self.follow()
        self.note("one")
        self.clock.advance(0)
        self.clock.advance(SAVE_AFTER_S)
        # No stop: the process is gone.
        self.clock = Clock()
        self.note("two")
        self.open()
        self.follow()
        self.assertEqual(self.reader.read, ["one", "two"])

    def test_dull_entries_move_the_stored_cursor_at_the_stop(self) -> None:
        follower = self.follow()
        self.note("dull 1", "dull 2")
        self.assertEqual((self.cursor(), follower.position), (0, 2))
        self.result(follower.stop())
        self.assertEqual(self.cursor(), 2)

    def test_failed_commit_is_tried_again_later_and_ever_more_slowly(self) -> None:
        self.follow()
        self.reader.raises = [CommitFailed("disk full"), CommitFailed("disk full")]
        self.note("one")
        with self.assertLogs("popcube_server"):
            self.clock.advance(0)
        self.note("two")
        self.clock.advance(0.9)
        self.assertEqual(len(self.reader.raises), 1)
        with self.assertLogs("popcube_server"):
            self.clock.advance(0.1)
        self.assertEqual((len(self.reader.raises), self.reader.read), (0, []))
        self.clock.advance(1.9)
        self.assertEqual((self.reader.read, self.cursor()), ([], 0))
        self.clock.advance(0.1)
        self.clock.advance(SAVE_AFTER_S)
        self.assertEqual((self.reader.read, self.cursor()), (["one", "two"], 2))

    def test_entry_that_cannot_be_handled_does_not_hold_up_the_others(self) -> None:
        self.follow()
        self.reader.raises = [ValueError("bad")]
        self.note("bad")
        with self.assertLogs("popcube_server"):
            self.clock.advance(0)
        self.note("good")
        self.clock.advance(0)
        self.clock.advance(SAVE_AFTER_S)
        self.assertEqual((self.reader.read, self.cursor()), (["good"], 2))

    def test_stop_leaves_no_timer_and_hears_nothing_more(self) -> None:
        follower = self.follow()
        self.note("one")
        self.result(follower.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.note("two")
        self.clock.advance(1)
        self.assertEqual((self.reader.read, self.cursor()), ([], 0))
        self.follow()
        self.assertEqual(self.reader.read, ["one", "two"])


class SqliteDurableFollowerTests(SqliteStorage, DurableFollowerTests, SynchronousTestCase):
    """On SQLite."""


class PostgresDurableFollowerTests(PostgresStorage, DurableFollowerTests, SynchronousTestCase):
    """On PostgreSQL."""
