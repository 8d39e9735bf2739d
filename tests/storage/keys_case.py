"""What the storage tests of keys share: accounts with devices, and short ways to say things."""

from typing import Any

from storage.devices import AddDevice
from storage.one_time_keys import OneTimeKey
from tests.storage.storage_case import StorageMixin

ALICE = "@alice:one.example"
BOB = "@bob:one.example"


def one_time_key(number: int, algorithm: str = "signed_curve25519") -> OneTimeKey:
    return OneTimeKey(algorithm, f"AAAA{number:04}", b'{"key":"%d"}' % number)


class KeysMixin(StorageMixin):
    """Alice with devices A1 and A2, Bob with B1."""

    # Of the test case that this is mixed into.
    assertEqual: Any
    assertCountEqual: Any
    assertTrue: Any
    assertFalse: Any
    assertIsNone: Any
    assertIsNotNone: Any
    successResultOf: Any

    def setUp(self) -> None:
        super().setUp()
        for user_id, device_id in ((ALICE, "A1"), (ALICE, "A2"), (BOB, "B1")):
            self.given_device(user_id, device_id)

    def given_device(self, user_id: str, device_id: str) -> None:
        self.result(self.committer.commit(AddDevice(user_id, device_id, None, 0)))

    def count(self, table: str) -> int:
        number: int = self.read(lambda tx: tx.value(f"SELECT COUNT(*) FROM {table}"))
        return number
