"""The inbox of a device: in order, at most so many at a time, gone once delivered, and silent while empty."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.keys.device_cleanup import DeviceCleanup
from popcube_server.services.platform import Platform
from popcube_server.services.to_device.inbox import FLUSH_AFTER_S, NOTHING, RETRY_AFTER_S, ToDeviceInbox
from storage.device_keys import DeviceGone, SetDeviceKeys
from storage.devices import DeleteDevice
from storage.engines.engine import StorageError
from storage.to_device import MergeToDevice, PendingRange, SendToDevice, ToDeviceDelivered, ToDeviceMessage
from storage.write_batch import Arrival, Arrived
from tests.storage.keys_case import ALICE, BOB, KeysMixin
from tests.storage.storage_case import SqliteStorage, synchronous


class ToDeviceInboxTests(SqliteStorage, KeysMixin, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.inbox = self.make_inbox()

    def make_inbox(self, held_bytes: int = 1000) -> ToDeviceInbox:
        platform = Platform(self.clock, bytes, synchronous)
        return ToDeviceInbox(self.database, self.committer, self.log, platform, 10, held_bytes)

    def send(self, text: str, device_id: str = "A1", user_id: str = ALICE) -> int:
        message = ToDeviceMessage(text.encode(), ((user_id, device_id),))
        return self.result(self.committer.commit(SendToDevice((message,)))).position

    def after(self, since: int, limit: int = 100, device_id: str = "A1") -> list[str]:
        rows = self.result(self.inbox.after(ALICE, device_id, since, self.log.position, limit))
        return [event.decode() for _, event in rows]

    def delivered(self, upto: int) -> None:
        self.result(self.inbox.delivered(ALICE, "A1", upto))

    def flush(self) -> None:
        self.clock.advance(FLUSH_AFTER_S)

    def no_reads(self) -> None:
        """From here on the test fails if the database is read."""

        def fail(work: object) -> None:
            raise AssertionError("the database was read")

        self.database._run_read = fail  # type: ignore[assignment]

    def test_messages_come_in_parts_until_all_are_delivered(self) -> None:
        start = self.log.position
        positions = [self.send(str(number)) for number in range(5)]
        self.assertEqual(self.after(start, 2), ["0", "1"])
        self.assertEqual(self.after(positions[1], 2), ["2", "3"])
        self.delivered(positions[3])
        self.assertEqual(self.after(start), ["4"])
        self.delivered(positions[4])
        self.assertEqual(self.after(start), [])
        self.assertEqual(self.count("to_device_inbox"), 5)
        self.flush()
        self.assertEqual(self.count("to_device_inbox"), 0)

    def test_messages_behind_the_end_wait(self) -> None:
        first = self.send("1")
        self.send("2")
        rows = self.result(self.inbox.after(ALICE, "A1", 0, first))
        self.assertEqual([event for _, event in rows], [b"1"])

    def test_token_that_was_not_used_gets_the_same_again(self) -> None:
        self.send("1")
        self.assertEqual([self.after(0), self.after(0)], [["1"], ["1"]])

    def test_device_without_messages_costs_nothing(self) -> None:
        self.after(0)
        self.no_reads()
        self.send("for another", "B1", BOB)
        position = self.log.position
        self.assertEqual(self.after(0), [])
        self.assertEqual(self.inbox.ranges.peek((ALICE, "A1")), NOTHING)
        self.delivered(position)
        self.assertEqual(self.log.position, position)

    def test_new_message_is_seen_by_a_warm_cache(self) -> None:
        self.after(0)
        position = self.send("1")
        self.assertEqual(self.inbox.ranges.peek((ALICE, "A1")), PendingRange(position, position))
        self.assertIsNone(self.inbox.ranges.peek((ALICE, "A2")))
        self.assertEqual(self.after(0), ["1"])

    def test_first_of_two_messages_goes_once_delivered(self) -> None:
        self.after(0)
        first = self.send("1")
        self.send("2")
        self.delivered(first)
        self.assertEqual(self.after(0), ["2"])
        self.flush()
        self.assertEqual(self.count("to_device_inbox"), 1)
        self.assertEqual(self.after(0), ["2"])

    def test_what_was_delivered_elsewhere_is_known(self) -> None:
        self.after(0)
        self.send("1")
        last = self.send("2")
        self.result(self.committer.commit(ToDeviceDelivered(ALICE, "A1", last)))
        self.no_reads()
        position = self.log.position
        self.assertEqual(self.after(0), [])
        self.delivered(last)
        self.assertEqual(self.log.position, position)

    def test_message_that_comes_while_the_range_is_read_is_not_missed(self) -> None:
        real_read = self.database._run_read

        def read_then_send(work):  # type: ignore[no-untyped-def]
            outcome = real_read(work)
            self.database._run_read = real_read
            self.send("late")
            return outcome

        self.database._run_read = read_then_send
        self.after(0)
        self.assertEqual(self.after(0), ["late"])

    def test_what_is_read_is_kept_though_others_are_sent_something_meanwhile(self) -> None:
        real_read = self.database._run_read

        def read_then_send(work):  # type: ignore[no-untyped-def]
            outcome = real_read(work)
            self.send("for another", "B1", BOB)
            return outcome

        self.database._run_read = read_then_send
        self.after(0)
        self.no_reads()
        self.assertEqual(self.after(0), [])

    def test_removal_while_the_range_is_read_is_not_missed(self) -> None:
        self.send("1")
        real_read = self.database._run_read

        def read_then_remove(work):  # type: ignore[no-untyped-def]
            outcome = real_read(work)
            self.database._run_read = real_read
            self.result(self.committer.commit(*DeviceCleanup().changes_for(ALICE, ["A1"])))
            return outcome

        self.database._run_read = read_then_remove
        self.result(self.inbox.delivered(ALICE, "A1", 0))
        self.assertIsNone(self.inbox.ranges.peek((ALICE, "A1")))

    def test_removed_device_has_no_messages(self) -> None:
        self.after(0)
        self.send("1")
        self.result(self.committer.commit(*DeviceCleanup().changes_for(ALICE, ["A1"])))
        self.assertEqual(self.after(0), [])

    def test_messages_are_there_after_a_restart(self) -> None:
        self.send("1")
        self.open()
        self.inbox = self.make_inbox()
        self.assertEqual(self.after(0), ["1"])

    def test_what_comes_while_a_device_syncs_is_given_from_memory(self) -> None:
        self.after(0)
        self.no_reads()
        first = self.send("1")
        self.send("2")
        self.assertEqual(self.after(0), ["1", "2"])
        self.assertEqual(self.after(0, limit=1), ["1"])
        self.delivered(first)
        self.flush()
        self.assertEqual(self.after(0), ["2"])

    def test_what_waited_before_comes_with_what_is_in_memory(self) -> None:
        start = self.send("1")
        self.after(0)
        self.send("2")
        self.assertEqual(self.after(0), ["1", "2"])
        self.no_reads()
        self.assertEqual(self.after(start), ["2"])

    def test_more_than_there_is_room_for_is_read(self) -> None:
        self.after(0)
        first = self.send("a" * 600)
        last = self.send("b" * 600)
        self.assertEqual(self.after(0), ["a" * 600, "b" * 600])
        self.delivered(first)
        self.assertEqual(self.after(0), ["b" * 600])
        self.delivered(last)
        # Once it has everything, what comes is held again.
        self.no_reads()
        self.send("3")
        self.assertEqual(self.after(0), ["3"])

    def test_delivered_messages_do_not_come_again_before_they_are_deleted(self) -> None:
        first = self.send("1")
        self.send("2")
        self.delivered(first)
        self.inbox.ranges.clear()
        self.assertEqual(self.after(0), ["2"])
        self.assertEqual(self.count("to_device_inbox"), 2)

    def test_stop_deletes_what_is_delivered(self) -> None:
        self.delivered(self.send("1"))
        self.result(self.inbox.stop())
        self.assertEqual(self.count("to_device_inbox"), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_deletion_that_fails_is_tried_again(self) -> None:
        self.delivered(self.send("1"))
        real_write = self.database._run_write

        def fail(work: object) -> object:
            raise StorageError("no disk")

        self.database._run_write = fail  # type: ignore[assignment]
        self.flush()
        self.database._run_write = real_write
        self.assertEqual(self.count("to_device_inbox"), 1)
        self.clock.advance(RETRY_AFTER_S)
        self.assertEqual(self.count("to_device_inbox"), 0)

    def test_message_that_was_rolled_back_is_not_in_memory(self) -> None:
        self.after(0)
        message = ToDeviceMessage(b"1", ((ALICE, "A1"),))
        work = self.committer.commit(SendToDevice((message,)), SetDeviceKeys(ALICE, "gone", b"{}"))
        self.failure(work, DeviceGone)
        self.assertEqual(self.after(0), [])

    def test_messages_from_another_site_are_given_from_memory(self) -> None:
        self.after(0)
        self.no_reads()
        arrived = Arrived((MergeToDevice(ALICE, "A1", "its log", 7, b"theirs"),), ())
        self.result(self.committer.take_in(Arrival("paris", lambda tx: arrived)))
        self.assertEqual(self.after(0), ["theirs"])

    def test_new_device_of_the_same_name_gets_nothing_of_the_old(self) -> None:
        self.after(0)
        self.send("1")
        self.result(
            self.committer.commit(DeleteDevice(ALICE, "A1"), *DeviceCleanup().changes_for(ALICE, ["A1"]))
        )
        self.after(0)
        message = ToDeviceMessage(b"2", ((ALICE, "A1"),))
        self.result(self.committer.commit(SendToDevice((message,))))
        self.given_device(ALICE, "A1")
        self.assertEqual(self.after(0), [])
