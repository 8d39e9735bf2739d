"""Counts of one-time keys in memory are those in the database."""

from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.keys.device_cleanup import DeviceCleanup
from popcube_server.services.keys.device_key_counts import KeyCounts
from storage.one_time_keys import AddOneTimeKeys, ClaimAnyKeys, DeviceKeyCounts
from tests.storage.keys_case import ALICE, KeysMixin, one_time_key
from tests.storage.storage_case import SqliteStorage

SIGNED = "signed_curve25519"


class KeyCountsTests(SqliteStorage, KeysMixin, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.counts = KeyCounts(self.database, self.log, 10)

    def get(self, device_id: str = "A1") -> DeviceKeyCounts:
        return self.result(self.counts.of(ALICE, device_id))

    def upload(self, number: int) -> None:
        self.result(
            self.committer.commit(AddOneTimeKeys(ALICE, "A1", (one_time_key(number),), (one_time_key(99),)))
        )

    def test_counts_follow_uploads_claims_and_cleanup(self) -> None:
        self.assertEqual(self.get(), DeviceKeyCounts({}, ()))
        self.upload(1)
        self.upload(2)
        self.assertEqual(self.get(), DeviceKeyCounts({SIGNED: 2}, (SIGNED,)))
        for expected in (
            DeviceKeyCounts({SIGNED: 1}, (SIGNED,)),
            DeviceKeyCounts({}, (SIGNED,)),
            DeviceKeyCounts({}, ()),
        ):
            self.result(self.committer.commit(ClaimAnyKeys(((ALICE, "A1", SIGNED),))))
            self.assertEqual(self.get(), expected)
        self.upload(3)
        self.result(self.committer.commit(*DeviceCleanup().changes_for(ALICE, ["A1"])))
        self.assertEqual(self.get(), DeviceKeyCounts({}, ()))

    def test_second_look_reads_nothing(self) -> None:
        self.assertIsNone(self.counts.find_cached(ALICE, "A1"))
        first = self.get()
        self.assertIs(self.counts.find_cached(ALICE, "A1"), first)
        self.get("A2")
        self.upload(1)
        self.assertIsNone(self.counts.find_cached(ALICE, "A1"))
        self.assertIsNotNone(self.counts.find_cached(ALICE, "A2"))

    def test_what_was_read_before_a_change_is_not_kept(self) -> None:
        real_read = self.database._run_read

        def read_then_change(work):  # type: ignore[no-untyped-def]
            outcome = real_read(work)
            self.database._run_read = real_read
            self.upload(1)
            return outcome

        self.database._run_read = read_then_change
        self.get()
        self.assertEqual(self.get(), DeviceKeyCounts({SIGNED: 1}, (SIGNED,)))

    def test_what_is_read_is_kept_though_others_commit_meanwhile(self) -> None:
        real_read = self.database._run_read

        def read_then_change(work):  # type: ignore[no-untyped-def]
            outcome = real_read(work)
            self.upload(1)
            return outcome

        self.database._run_read = read_then_change
        self.get("A2")
        self.assertIsNotNone(self.counts.find_cached(ALICE, "A2"))

    def test_nothing_goes_with_no_device(self) -> None:
        self.assertEqual(DeviceCleanup().changes_for(ALICE, []), ())
