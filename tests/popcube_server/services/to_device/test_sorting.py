"""The inbox where messages are sorted later: nobody misses one, nothing stays behind, and who is there costs no row."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.keys.device_cleanup import DeviceCleanup
from popcube_server.services.platform import Platform
from popcube_server.services.to_device.inbox import (
    FLUSH_AFTER_S,
    MAX_UNSORTED_BYTES,
    RETRY_AFTER_S,
    SORT_AFTER_S,
    ToDeviceInbox,
)
from storage.engines.engine import StorageError
from storage.to_device import SendToDevice, ToDeviceMessage
from storage.to_device_sorting import SendUnsorted, sort_leftover
from tests.storage.keys_case import ALICE, BOB, KeysMixin
from tests.storage.storage_case import SqliteStorage, synchronous

A1, B1 = (ALICE, "A1"), (BOB, "B1")
Device = tuple[str, str]


class SortingTests(SqliteStorage, KeysMixin, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.inbox = self.make_inbox()

    def make_inbox(self, held_bytes: int = 1000) -> ToDeviceInbox:
        platform = Platform(self.clock, bytes, synchronous)
        return ToDeviceInbox(self.database, self.committer, self.log, platform, 10, held_bytes)

    def send(self, text: str, *devices: Device) -> int:
        message = ToDeviceMessage(text.encode(), devices or (A1,))
        return self.result(self.committer.commit(SendUnsorted((message,)))).position

    def after(self, since: int = 0, device: Device = A1) -> list[str]:
        rows = self.result(self.inbox.after(*device, since, self.log.position))
        return [event.decode() for _, event in rows]

    def delivered(self, upto: int, device: Device = A1) -> None:
        self.result(self.inbox.delivered(*device, upto))

    def left(self) -> tuple[int, int]:
        return self.count("to_device_unsorted"), self.count("to_device_inbox")

    def test_who_is_there_has_no_row_in_the_inbox(self) -> None:
        self.after()
        self.after(0, B1)
        position = self.send("1", A1, B1)
        self.assertEqual([self.after(), self.after(0, B1)], [["1"], ["1"]])
        log_position = self.log.position
        self.delivered(position)
        self.delivered(position, B1)
        self.clock.advance(FLUSH_AFTER_S)
        self.assertEqual(self.left(), (1, 0))
        self.clock.advance(SORT_AFTER_S)
        self.assertEqual(self.left(), (0, 0))
        self.assertEqual(self.log.position, log_position)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_is_away_finds_it_in_the_inbox(self) -> None:
        self.after()
        self.send("1", A1, B1)
        position = self.send("2", A1, B1)
        self.delivered(position)
        self.clock.advance(SORT_AFTER_S)
        self.assertEqual(self.left(), (0, 2))
        self.assertEqual(self.after(0, B1), ["1", "2"])
        self.delivered(position, B1)
        self.clock.advance(FLUSH_AFTER_S)
        self.assertEqual(self.left(), (0, 0))

    def test_unknown_device_is_sorted_for_at_once(self) -> None:
        self.send("1")
        self.assertEqual(self.after(), ["1"])
        self.assertEqual(self.left(), (0, 1))
        self.send("2")
        self.assertEqual(self.after(), ["1", "2"])
        self.assertEqual(self.left(), (0, 2))

    def test_message_that_comes_with_the_commit_of_a_sort_is_not_passed_over(self) -> None:
        position = self.send("1")
        with self.committer.together():
            reading = Deferred.fromCoroutine(self.inbox.after(*A1, 0, position))
            self.committer.submit([SendUnsorted((ToDeviceMessage(b"2", (A1,)),))])
        self.assertEqual(self.successResultOf(reading), [(position, b"1")])
        self.assertEqual(self.after(position), ["2"])

    def test_more_than_there_is_room_for_is_sorted_and_read(self) -> None:
        self.after()
        first = self.send("a" * 600)
        last = self.send("b" * 600)
        self.assertEqual(self.after(), ["a" * 600, "b" * 600])
        self.delivered(first)
        self.assertEqual(self.after(), ["b" * 600])
        self.delivered(last)
        self.clock.advance(FLUSH_AFTER_S)
        self.assertEqual(self.left(), (0, 0))

    def test_what_a_device_has_does_not_come_again_when_its_range_is_forgotten(self) -> None:
        self.after()
        self.send("0", B1)
        first = self.send("1")
        self.send("2")
        self.delivered(first)
        self.inbox.ranges.clear()
        self.assertEqual(self.after(), ["2"])
        self.assertEqual(self.left(), (0, 2))

    def test_message_that_is_delivered_while_it_is_sorted_is_deleted(self) -> None:
        self.after()
        position = self.send("1")
        real_write = self.database._run_write

        def deliver_then_write(work):  # type: ignore[no-untyped-def]
            self.database._run_write = real_write
            self.delivered(position)
            return real_write(work)

        self.database._run_write = deliver_then_write
        self.clock.advance(SORT_AFTER_S)
        self.assertEqual(self.left(), (0, 1))
        self.clock.advance(FLUSH_AFTER_S)
        self.assertEqual(self.left(), (0, 0))

    def test_message_that_went_straight_to_the_inbox_is_deleted_from_there(self) -> None:
        self.after()
        self.send("1")
        self.result(self.committer.commit(SendToDevice((ToDeviceMessage(b"2", (A1,)),))))
        self.assertEqual(self.after(), ["1", "2"])
        self.delivered(self.log.position)
        self.clock.advance(SORT_AFTER_S)
        self.assertEqual(self.left(), (0, 0))

    def test_much_is_sorted_at_once(self) -> None:
        self.after()
        self.send("x" * MAX_UNSORTED_BYTES)
        self.clock.advance(0)
        self.assertEqual(self.left(), (0, 1))
        self.send("1")
        self.clock.advance(0)
        self.assertEqual(self.left(), (1, 1))
        self.send("x" * MAX_UNSORTED_BYTES)
        self.clock.advance(0)
        self.assertEqual(self.left(), (0, 3))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_sorting_that_fails_is_tried_again(self) -> None:
        self.after()
        self.send("1")
        real_write = self.database._run_write

        def fail(work: object) -> object:
            raise StorageError("no disk")

        self.database._run_write = fail  # type: ignore[assignment]
        self.clock.advance(SORT_AFTER_S)
        self.database._run_write = real_write
        self.assertEqual(self.left(), (1, 0))
        self.clock.advance(RETRY_AFTER_S)
        self.assertEqual(self.left(), (0, 1))

    def test_stop_sorts(self) -> None:
        self.after()
        self.delivered(self.send("1", A1, B1))
        self.result(self.inbox.stop())
        self.assertEqual(self.left(), (0, 1))
        self.send("2")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_messages_are_there_after_a_crash_and_go_once_delivered(self) -> None:
        self.after()
        position = self.send("1")
        self.open()
        sort_leftover(self.database)
        self.inbox = self.make_inbox()
        self.assertEqual(self.after(), ["1"])
        self.assertEqual(self.after(position), [])
        self.delivered(position)
        self.clock.advance(SORT_AFTER_S)
        self.assertEqual(self.left(), (0, 0))

    def test_removed_device_has_no_messages(self) -> None:
        self.after()
        self.send("1", A1, B1)
        self.result(self.committer.commit(*DeviceCleanup().changes_for(ALICE, ["A1"])))
        self.assertEqual(self.after(), [])
        self.clock.advance(SORT_AFTER_S)
        self.assertEqual([self.after(), self.after(0, B1)], [[], ["1"]])
        self.assertEqual(self.left(), (0, 1))
