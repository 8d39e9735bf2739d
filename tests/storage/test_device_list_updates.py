"""What others are told of devices: noted by whoever sends, or on one site with the keys themselves."""

from twisted.trial.unittest import SynchronousTestCase

from storage.device_keys import SetDeviceKeys, SetFirstDeviceKeys
from storage.device_list_updates import CROSS_SIGNING, DeviceListUpdatesRepository, NoteDeviceChange
from tests.storage.keys_case import ALICE, BOB, KeysMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage


class DeviceListUpdatesTests(KeysMixin):
    def noted(self) -> list[tuple[str, int, int | None]]:
        """Of Alice's devices, in order: device, stream ID, the one before it."""
        updates = self.read(lambda tx: DeviceListUpdatesRepository().get_device_updates(tx, [ALICE]))
        return [(one.device_id, one.stream_id, one.previous) for one in updates]

    def publish(self, device_id: str, json: bytes) -> int:
        keys = SetDeviceKeys(ALICE, device_id, json, is_noted=True)
        return self.result(self.committer.commit(keys)).position

    def note(self, device_id: str, position: int) -> object:
        return self.result(self.committer.commit(NoteDeviceChange(ALICE, device_id, position))).results[0]

    def test_keys_are_noted_with_themselves_in_a_chain(self) -> None:
        first = SetFirstDeviceKeys(ALICE, "A1", b"{}", is_noted=True)
        one = self.result(self.committer.commit(first)).position
        self.note(CROSS_SIGNING, one + 50)
        two = self.publish("A2", b"{}")
        self.assertEqual(self.noted()[:2], [("A1", one, None), ("A2", two, one)])
        three = self.publish("A1", b'{"other":1}')
        self.assertEqual(self.noted()[:2], [("A2", two, one), ("A1", three, two)])

    def test_several_at_once_are_a_chain_too(self) -> None:
        of_bob = SetDeviceKeys(BOB, "B1", b"{}", is_noted=True)
        changes = (SetDeviceKeys(ALICE, name, b"{}", is_noted=True) for name in ("A1", "A2"))
        last = self.result(self.committer.commit(of_bob, *changes)).position
        self.assertEqual(self.noted(), [("A1", last - 1, None), ("A2", last, last - 1)])

    def test_keys_that_are_not_noted_are_left_to_who_sends(self) -> None:
        self.result(self.committer.commit(SetDeviceKeys(ALICE, "A1", b"{}")))
        self.assertEqual(self.noted(), [])

    def test_noting_it_again_changes_nothing_and_says_what_came_before(self) -> None:
        one, two = self.publish("A1", b"{}"), self.publish("A2", b"{}")
        before = self.noted()
        self.assertEqual((self.note("A1", one), self.note("A2", two)), (None, one))
        self.assertEqual(self.noted(), before)

    def test_what_is_noted_late_comes_between(self) -> None:
        one = self.publish("A1", b"{}")
        self.given_device(ALICE, "A3")
        late = self.log.position
        two = self.publish("A2", b"{}")
        three = self.publish("A1", b'{"other":1}')
        self.assertIsNone(self.note("A3", late))
        self.assertEqual(self.noted(), [("A3", late, None), ("A2", two, late), ("A1", three, two)])
        self.assertLess(one, late)


class SqliteDeviceListUpdatesTests(SqliteStorage, DeviceListUpdatesTests, SynchronousTestCase): ...


class PostgresDeviceListUpdatesTests(PostgresStorage, DeviceListUpdatesTests, SynchronousTestCase): ...
