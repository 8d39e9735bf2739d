"""What versions before left waiting for devices that are gone goes, and nothing else."""

from twisted.trial.unittest import SynchronousTestCase

from storage.database import WriteTransaction
from storage.to_device import SendToDevice, ToDeviceDelivered, ToDeviceMessage, ToDeviceRepository
from tests.storage.keys_case import ALICE, BOB, KeysMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage

A1, A2, B1 = (ALICE, "A1"), (ALICE, "A2"), (BOB, "B1")
ODD = (ALICE, "\\xODD ü'")


class GoneDevicesTests(KeysMixin):
    def setUp(self) -> None:
        super().setUp()
        self.given_device(*ODD)
        sent = ((b"1", (A1,)), (b"2", (A2, B1)), (b"3", (A1, A2)), (b"4", (B1, ODD)), (b"5", (A1, B1)))
        for event, devices in sent:
            self.result(self.committer.commit(SendToDevice((ToDeviceMessage(event, devices),))))
        self.migrate_from(self.go_back)

    def go_back(self, tx: WriteTransaction) -> None:
        """Devices went, and what waited for them did not; what another site took waits for one that is to come."""
        gone = ((ALICE, "A1"), (BOB, "B1"))
        tx.many("DELETE FROM devices WHERE user_id = ? AND device_id = ?", gone)
        users, log = tx.intern((ALICE, BOB)), tx.intern_one("log-of-another")
        tx.run(
            "INSERT INTO to_device_inbox (user_nid, device, position, event, log, log_position)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (users[ALICE], b"NEW", 99, b"6", log, 7),
        )
        tx.run("DELETE FROM schema_changes WHERE number = 330")

    def after(self, device: tuple[str, str]) -> list[bytes]:
        rows = self.read(lambda tx: ToDeviceRepository().get_after(tx, *device, 0, 10**9, 100))
        return [event for _, event in rows]

    def test_messages_of_devices_that_are_gone_go(self) -> None:
        self.assertEqual((self.after(A1), self.after(B1)), ([], []))
        self.assertEqual((self.after(A2), self.after(ODD)), ([b"2", b"3"], [b"4"]))
        self.assertEqual(self.after((ALICE, "NEW")), [b"6"])
        # "5" was for nobody else.
        self.assertEqual((self.count("to_device_inbox"), self.count("to_device_shared")), (4, 3))

    def test_the_rest_of_shared_events_goes_when_its_devices_have_it(self) -> None:
        self.result(self.committer.commit(ToDeviceDelivered(*A2, 90), ToDeviceDelivered(*ODD, 90)))
        self.assertEqual((self.count("to_device_inbox"), self.count("to_device_shared")), (1, 0))


class SqliteGoneDevicesTests(SqliteStorage, GoneDevicesTests, SynchronousTestCase): ...


class PostgresGoneDevicesTests(PostgresStorage, GoneDevicesTests, SynchronousTestCase): ...
