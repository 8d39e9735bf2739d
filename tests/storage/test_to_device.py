"""To-device messages: in order, once, bounded."""

from twisted.trial.unittest import SynchronousTestCase

from storage.change import LogEntry
from storage.devices import DeleteDevice
from storage.log import LogRepository
from storage.replication.wipe_user import WipeUser
from storage.to_device import (
    LOOK_EVERY,
    MAX_PENDING,
    MergeToDevice,
    PendingRange,
    RemoveToDeviceMessages,
    SendToDevice,
    ToDeviceDelivered,
    ToDeviceMessage,
    ToDeviceRepository,
    names_device,
    pairs,
)
from storage.to_device_remote import MergeRemoteMessage, SendToRemoteDevices
from tests.storage.keys_case import ALICE, BOB, KeysMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage

A1, A2, B1 = (ALICE, "A1"), (ALICE, "A2"), (BOB, "B1")


class ToDeviceTests(KeysMixin):
    def send(self, *messages: tuple[bytes, tuple[tuple[str, str], ...]]) -> int:
        change = SendToDevice(tuple(ToDeviceMessage(*message) for message in messages))
        return self.result(self.committer.commit(change)).position

    def after(
        self, device: tuple[str, str], since: int = 0, upto: int = 10**9, limit: int = 100
    ) -> list[bytes]:
        rows = self.read(lambda tx: ToDeviceRepository().get_after(tx, *device, since, upto, limit))
        return [event for _, event in rows]

    def acknowledge(self, device: tuple[str, str], upto: int) -> None:
        self.result(self.committer.commit(ToDeviceDelivered(*device, upto)))

    def test_messages_come_in_order(self) -> None:
        positions = [self.send((b"%d" % number, (A1,))) for number in range(5)]
        self.assertEqual(self.after(A1), [b"0", b"1", b"2", b"3", b"4"])
        self.assertEqual(self.after(A1, limit=2), [b"0", b"1"])
        self.assertEqual(self.after(A1, positions[1], positions[3]), [b"2", b"3"])
        self.assertEqual(self.after(A2), [])
        self.assertEqual(self.after(("@nobody:one.example", "X")), [])

    def test_one_event_for_many_is_stored_once(self) -> None:
        self.send((b"shared", (A1, A2)), (b"alone", (B1,)))
        self.assertEqual(
            [self.after(device) for device in (A1, A2, B1)], [[b"shared"], [b"shared"], [b"alone"]]
        )
        self.assertEqual(self.count("to_device_shared"), 1)

    def test_shared_event_goes_with_its_last_recipient(self) -> None:
        position = self.send((b"shared", (A1, A2)))
        self.acknowledge(A1, position)
        self.acknowledge(A1, position)
        self.assertEqual(self.after(A2), [b"shared"])
        self.acknowledge(A2, position)
        self.assertEqual(self.count("to_device_shared") + self.count("to_device_inbox"), 0)

    def test_delivered_messages_go_and_later_ones_stay(self) -> None:
        first = self.send((b"1", (A1, A2)))
        self.send((b"2", (A1,)))
        self.acknowledge(A1, first)
        self.assertEqual(self.after(A1), [b"2"])
        self.assertEqual(self.after(A2), [b"1"])

    def test_range_of_what_waits(self) -> None:
        self.assertIsNone(self.read(lambda tx: ToDeviceRepository().find_range(tx, *A1)))
        first, last = self.send((b"1", (A1,))), self.send((b"2", (A1,)))
        self.assertEqual(
            self.read(lambda tx: ToDeviceRepository().find_range(tx, *A1)), PendingRange(first, last)
        )

    def test_log_names_the_recipients(self) -> None:
        position = self.send((b"1", (A1, B1)), (b"2", (A2,)))
        entry = self.read(lambda tx: LogRepository().read_after(tx, position - 1, 1))[0]
        self.assertEqual((entry.kind, pairs(entry.key)), ("to_device", [A1, B1, A2]))

    def test_log_does_not_keep_what_the_messages_are(self) -> None:
        for change in (
            SendToDevice((ToDeviceMessage(b"{}", (A1,)),)),
            MergeToDevice(*A1, "log", 1, b"{}"),
            SendToRemoteDevices((("two.example", b"{}"),)),
            MergeRemoteMessage("two.example", "log", 1, 0, b"{}"),
        ):
            position = self.result(self.committer.commit(change)).position
            remembered = self.log.since(position - 1)
            self.assertEqual(remembered, [LogEntry(position, change.kind, change.key(), None)])

    def test_key_names_its_devices_and_no_others(self) -> None:
        key = (ALICE, "A1", BOB, ALICE, BOB, "B1", ALICE, "A2")
        for device in pairs(key):
            self.assertTrue(names_device(key, device), device)
        for device in ((ALICE, "B1"), (ALICE, BOB), ("A1", BOB), (BOB, "A1"), ("A2", ""), ("@x:y", "A1")):
            self.assertFalse(names_device(key, device), device)
        self.assertFalse(names_device((), A1))

    def test_device_that_is_gone_gets_nothing(self) -> None:
        self.send((b"1", (A1, (ALICE, "gone"), (ALICE, "\0"))), (b"2", ((ALICE, "gone"),)))
        self.assertEqual(self.after(A1), [b"1"])
        self.assertEqual(self.count("to_device_inbox"), 1)
        self.assertEqual(self.count("to_device_shared"), 0)

    def test_removed_device_loses_what_waited(self) -> None:
        self.send((b"1", (A1, A2)))
        self.result(self.committer.commit(RemoveToDeviceMessages(ALICE, ("A1", "unknown"))))
        self.assertEqual(self.after(A1), [])
        self.assertEqual(self.after(A2), [b"1"])
        self.assertEqual(self.count("to_device_inbox"), 1)

    def test_oldest_messages_beyond_the_cap_are_dropped(self) -> None:
        batch = 500
        for start in range(0, MAX_PENDING, batch):
            changes = [SendToDevice((ToDeviceMessage(b"%d" % (start + n), (A1,)),)) for n in range(batch)]
            self.result(self.committer.commit(*changes))
        self.assertEqual(len(self.after(A1, limit=2 * MAX_PENDING)), MAX_PENDING)
        for start in range(0, 3 * LOOK_EVERY, LOOK_EVERY):
            changes = [
                SendToDevice((ToDeviceMessage(b"+%d" % (start + n), (A1,)),)) for n in range(LOOK_EVERY)
            ]
            self.result(self.committer.commit(*changes))
        self.send((b"shared", (A1, A2)), (b"last", (B1,)))
        waiting = self.after(A1, limit=2 * MAX_PENDING)
        self.assertTrue(MAX_PENDING < len(waiting) < MAX_PENDING + 2 * LOOK_EVERY, len(waiting))
        self.assertEqual(waiting[-2:], [b"+%d" % (3 * LOOK_EVERY - 1), b"shared"])
        self.assertEqual(self.after(A2), [b"shared"])

    def test_device_that_went_after_it_was_looked_at_gets_nothing(self) -> None:
        known_at = self.log.position
        self.result(self.committer.commit(DeleteDevice(ALICE, "A2")))
        self.send_known(known_at, A1, A2)
        self.assertEqual((self.after(A1), self.after(A2)), ([b"known"], []))
        # What nobody looked at since is taken as it is.
        self.send_known(self.log.position, A1, A2)
        self.assertEqual((self.after(A1), self.after(A2)), ([b"known"] * 2, [b"known"]))

    def test_device_of_a_wiped_account_gets_nothing(self) -> None:
        known_at = self.log.position
        self.result(self.committer.commit(WipeUser(ALICE)))
        self.send_known(known_at, A1, B1)
        self.assertEqual((self.after(A1), self.after(B1)), ([], [b"known"]))

    def test_device_that_goes_in_the_same_commit_leaves_nothing_behind(self) -> None:
        known_at = self.log.position
        sent = [
            SendToDevice((ToDeviceMessage(event, devices),), known_at)
            for event, devices in ((b"1", (B1,)), (b"2", (A1, A2)), (b"3", (A1, A2)), (b"4", (A2,)))
        ]
        gone = (DeleteDevice(ALICE, "A1"), DeleteDevice(ALICE, "A2"))
        messages = RemoveToDeviceMessages(ALICE, ("A1", "A2"))
        with self.committer.together():
            for changes in (sent[:2], (*gone, messages), sent[2:]):
                self.committer.submit(changes)
        self.assertEqual((self.count("to_device_inbox"), self.count("to_device_shared")), (1, 0))
        self.assertEqual(self.after(B1), [b"1"])

    def send_known(self, known_at: int, *devices: tuple[str, str]) -> None:
        self.result(self.committer.commit(SendToDevice((ToDeviceMessage(b"known", devices),), known_at)))

    def test_what_many_devices_have_goes_at_once(self) -> None:
        first = self.send((b"1", (A1, A2)), (b"2", (B1,)))
        last = self.send((b"3", (A1, B1)))
        self.result(
            self.committer.commit(
                ToDeviceDelivered(*A1, last),
                ToDeviceDelivered(*A2, first),
                ToDeviceDelivered(*B1, first),
                ToDeviceDelivered(*A1, first),
            )
        )
        self.assertEqual([self.after(device) for device in (A1, A2, B1)], [[], [], [b"3"]])
        self.assertEqual((self.count("to_device_inbox"), self.count("to_device_shared")), (1, 1))

    def test_a_hundred_devices_in_one_request(self) -> None:
        devices = [(ALICE, f"D{number}") for number in range(100)]
        for device in devices:
            self.given_device(*device)
        self.send(*((b"to %d" % number, (device,)) for number, device in enumerate(devices)))
        self.assertEqual(self.after(devices[42]), [b"to 42"])
        self.assertEqual(self.count("to_device_inbox"), 100)


class SqliteToDeviceTests(SqliteStorage, ToDeviceTests, SynchronousTestCase):
    pass


class PostgresToDeviceTests(PostgresStorage, ToDeviceTests, SynchronousTestCase):
    pass
