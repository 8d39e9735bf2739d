"""Messages to devices of the only site: in no inbox until they are sorted, and then in those of who has none yet."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from storage.committer import CommitFailed
from storage.devices import DeleteDevice
from storage.replication.wipe_user import WipeUser
from storage.to_device import (
    RemoveToDeviceMessages,
    SendToDevice,
    ToDeviceDelivered,
    ToDeviceMessage,
    ToDeviceRepository,
)
from storage.to_device_sorting import SendUnsorted, SortToDevice, send_on_only_site, sort_leftover
from tests.storage.keys_case import ALICE, BOB, KeysMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage
from tests.support.mortal_engine import Fate, MortalEngine

A1, A2, B1 = (ALICE, "A1"), (ALICE, "A2"), (BOB, "B1")
Device = tuple[str, str]


class ToDeviceSortingTests(KeysMixin):
    def send(self, *messages: tuple[bytes, tuple[Device, ...]], known_at: int | None = None) -> int:
        change = SendUnsorted(tuple(ToDeviceMessage(*message) for message in messages), known_at)
        return self.result(self.committer.commit(change)).position

    def sort(self, *delivered: tuple[Device, int], upto: int = 10**9) -> bool:
        (is_any,) = self.result(self.committer.commit(SortToDevice(upto, delivered))).results
        self.assertEqual(type(is_any), bool)
        return bool(is_any)

    def after(self, device: Device) -> list[bytes]:
        rows = self.read(lambda tx: ToDeviceRepository().get_after(tx, *device, 0, 10**9, 100))
        return [event for _, event in rows]

    def left(self) -> tuple[int, int, int]:
        return self.count("to_device_unsorted"), self.count("to_device_inbox"), self.count("to_device_shared")

    def test_inboxes_have_messages_once_they_are_sorted(self) -> None:
        self.send((b"'1'", (A1, B1)), (b"\\2", (A2,)))
        self.send((b"3", (A1,)))
        self.assertEqual(self.left(), (3, 0, 0))
        self.assertTrue(self.sort())
        self.assertEqual([self.after(each) for each in (A1, A2, B1)], [[b"'1'", b"3"], [b"\\2"], [b"'1'"]])
        self.assertEqual(self.left(), (0, 4, 1))
        self.assertFalse(self.sort())

    def test_what_a_device_has_goes_into_no_inbox(self) -> None:
        first = self.send((b"1", (A1, A2, B1)))
        second = self.send((b"2", (A1, A2)))
        self.assertTrue(self.sort((A1, first), (A2, second)))
        self.assertEqual([self.after(each) for each in (A1, A2, B1)], [[b"2"], [], [b"1"]])
        self.assertEqual(self.left(), (0, 2, 0))

    def test_what_everybody_has_is_gone(self) -> None:
        position = self.send((b"1", (A1, B1)))
        self.assertFalse(self.sort((A1, position), (B1, position)))
        self.assertEqual(self.left(), (0, 0, 0))

    def test_newer_messages_stay_unsorted(self) -> None:
        first = self.send((b"1", (A1,)))
        self.send((b"2", (A1,)))
        self.sort(upto=first)
        self.assertEqual(self.after(A1), [b"1"])
        self.assertEqual(self.left(), (1, 1, 0))

    def test_devices_that_are_gone_get_nothing(self) -> None:
        known_at = self.log.position
        self.result(self.committer.commit(DeleteDevice(ALICE, "A2")))
        self.send((b"1", (A1, A2)), (b"2", (A2,)), known_at=known_at)
        self.send((b"3", (A1, (ALICE, "unknown"))))
        self.sort()
        self.assertEqual(self.after(A1), [b"1", b"3"])
        self.assertEqual(self.left(), (0, 2, 0))

    def test_removed_device_loses_what_is_unsorted(self) -> None:
        self.send((b"1", (A1, A2, B1)))
        self.result(self.committer.commit(RemoveToDeviceMessages(ALICE, ("A1", "B1"))))
        self.sort()
        self.assertEqual([self.after(each) for each in (A1, A2, B1)], [[], [b"1"], [b"1"]])

    def test_wiped_user_loses_what_is_unsorted(self) -> None:
        self.send((b"1", (A1, A2, B1)))
        self.result(self.committer.commit(WipeUser(ALICE)))
        self.sort()
        self.assertEqual(self.after(B1), [b"1"])
        self.assertEqual(self.left(), (0, 1, 0))

    def test_what_is_for_one_device_alone_goes_straight_to_its_inbox(self) -> None:
        alone, shared = ToDeviceMessage(b"1", (A1,)), ToDeviceMessage(b"2", (A2, B1))
        self.result(self.committer.commit(*send_on_only_site((alone, shared))))
        self.assertEqual(self.left(), (1, 1, 0))
        self.assertEqual(self.after(A1), [b"1"])
        self.sort()
        self.assertEqual([self.after(each) for each in (A1, A2, B1)], [[b"1"], [b"2"], [b"2"]])
        self.assertEqual(
            [send_on_only_site((each,), 7) for each in (alone, shared)],
            [[SendToDevice((alone,), 7)], [SendUnsorted((shared,), 7)]],
        )

    def test_what_a_crash_leaves_is_sorted_at_the_start(self) -> None:
        self.send((b"1", (A1, B1)))
        self.open()
        sort_leftover(self.database)
        sort_leftover(self.database)
        self.assertEqual([self.after(A1), self.after(B1)], [[b"1"], [b"1"]])
        self.assertEqual(self.left(), (0, 2, 1))

    def test_sort_that_is_killed_at_any_step_is_done_or_not_begun(self) -> None:
        engine = self.engine
        for steps in range(100):
            position = self.send((b"1", (A1, A2, B1)))
            fate = Fate()
            self.engine = MortalEngine(engine, fate)
            self.open()
            fate.die_after(steps)
            sorting = Deferred.fromCoroutine(
                self.committer.commit(SortToDevice(position, ((A1, position),)))
            ).addErrback(lambda failure: failure.trap(CommitFailed))
            self.successResultOf(sorting)  # type: ignore[attr-defined]
            self.engine = engine
            self.open()
            self.assertIn(self.left(), ((1, 0, 0), (0, 2, 1)))
            sort_leftover(self.database)
            self.assertEqual([self.after(A2), self.after(B1)], [[b"1"], [b"1"]])
            self.assertEqual(self.left()[0], 0)
            self.result(self.committer.commit(*(ToDeviceDelivered(*each, position) for each in (A1, A2, B1))))
            self.assertEqual(self.left(), (0, 0, 0))
            if not fate.is_dead:
                break
        self.assertGreater(steps, 3)


class SqliteToDeviceSortingTests(SqliteStorage, ToDeviceSortingTests, SynchronousTestCase):
    pass


class PostgresToDeviceSortingTests(PostgresStorage, ToDeviceSortingTests, SynchronousTestCase):
    pass
