"""One-time keys of before they were named by their place: they are given out in the same order."""

from twisted.trial.unittest import SynchronousTestCase

from storage.database import WriteTransaction
from storage.one_time_keys import AddOneTimeKeys, ClaimOneTimeKeys, DeviceKeyCounts, GivenKeys
from tests.storage.keys_case import ALICE, BOB, KeysMixin, one_time_key
from tests.storage.storage_case import PostgresStorage, SqliteStorage

SIGNED = "signed_curve25519"


class KeysByPlaceTests(KeysMixin):
    def setUp(self) -> None:
        super().setUp()
        self.migrate_from(self.go_back)

    def go_back(self, tx: WriteTransaction) -> None:
        """The tables as they were before."""
        tx.run("DROP TABLE one_time_keys")
        tx.run(
            "CREATE TABLE one_time_keys (user_nid BIGINT NOT NULL, device BYTEA NOT NULL, algorithm BYTEA NOT NULL,"
            " key_id BYTEA NOT NULL, position BIGINT NOT NULL, json BYTEA NOT NULL,"
            " PRIMARY KEY (user_nid, device, algorithm, key_id))"
        )
        tx.run("DELETE FROM schema_changes WHERE number = 310")
        users = tx.intern((ALICE, BOB))
        rows = [
            (ALICE, b"A1", SIGNED, 3, 2),
            (ALICE, b"A1", SIGNED, 1, 2),
            (ALICE, b"A1", SIGNED, 9, 1),
            (ALICE, b"A1", "other", 1, 2),
            (BOB, b"B1", SIGNED, 1, 3),
        ]
        for user_id, device, algorithm, number, position in rows:
            key = one_time_key(number, algorithm)
            tx.run(
                "INSERT INTO one_time_keys (user_nid, device, algorithm, key_id, position, json)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (users[user_id], device, algorithm.encode(), key.key_id.encode(), position, key.json),
            )

    def claim(self, user_id: str, device_id: str, algorithm: str) -> list[object]:
        claim = ClaimOneTimeKeys(((user_id, device_id, algorithm),))
        (given,) = self.result(self.committer.commit(claim)).results
        assert isinstance(given, GivenKeys)
        return [key and (key.name, key.json) for key in given.keys]

    def test_keys_are_given_out_in_the_same_order_and_before_new_ones(self) -> None:
        new = AddOneTimeKeys(ALICE, "A1", (one_time_key(1), one_time_key(0)))
        (counts,) = self.result(self.committer.commit(new)).results
        self.assertEqual(counts, DeviceKeyCounts({SIGNED: 4, "other": 1}, ()))
        given = [self.claim(ALICE, "A1", SIGNED) for _ in range(5)]
        expected = [one_time_key(number) for number in (9, 1, 3, 0)]
        self.assertEqual(given, [*([(key.name, key.json)] for key in expected), [None]])
        for user_id, device_id, algorithm in ((ALICE, "A1", "other"), (BOB, "B1", SIGNED)):
            key = one_time_key(1, algorithm)
            self.assertEqual(self.claim(user_id, device_id, algorithm), [(key.name, key.json)])


class SqliteKeysByPlaceTests(SqliteStorage, KeysByPlaceTests, SynchronousTestCase): ...


class PostgresKeysByPlaceTests(PostgresStorage, KeysByPlaceTests, SynchronousTestCase): ...
