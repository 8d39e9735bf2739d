"""Keys of this server's users in memory are those in the database, whoever changed them."""

from collections.abc import Sequence

import orjson
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.keys.local_keys import LocalKeys, LocalUser
from storage.accounts import CreateAccount
from storage.change import Change
from storage.cross_signing import (
    AddSignature,
    CrossSigningKey,
    KeysMovedOn,
    MergeCrossSigningKeys,
    MergeSignature,
    SetCrossSigningKeys,
    Signature,
)
from storage.device_keys import MergeDeviceKeys, RemoveDeviceKeys, SetDeviceKeys
from storage.devices import AddDevice, DeleteDevice, RenameDevice
from storage.replication.wipe_user import WipeUser
from storage.write_batch import Arrival, Arrived
from tests.storage.keys_case import ALICE, BOB, KeysMixin
from tests.storage.storage_case import SqliteStorage

MASTER = CrossSigningKey("master", "MASTER", b'{"keys":{"ed25519:MASTER":"MASTER"}}')
SECOND = CrossSigningKey("master", "SECOND", b'{"keys":{"ed25519:SECOND":"SECOND"}}')
USER_SIGNING = CrossSigningKey("user_signing", "USER", b'{"keys":{"ed25519:USER":"USER"}}')
BY_BOB = Signature(ALICE, "MASTER", BOB, "ed25519:BOB", "s1")


class LocalKeysTests(SqliteStorage, KeysMixin, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.keys = LocalKeys(self.database, self.log, 10)
        self.commit(SetDeviceKeys(ALICE, "A1", b'{"k":1}'))

    def commit(self, *changes: Change) -> None:
        self.result(self.committer.commit(*changes))

    def arrive(self, *changes: Change) -> None:
        """As another site brings them."""
        arrived = Arrived(changes, ())
        self.result(self.committer.take_in(Arrival("paris", lambda tx: arrived)))

    def alice(self) -> LocalUser:
        return self.result(self.keys.get([ALICE]))[ALICE]

    def shown(self) -> dict[str, object]:
        devices: dict[str, object] = orjson.loads(self.alice().all_devices)
        return devices

    def signed_by_bob(self) -> Sequence[Signature]:
        return self.result(self.keys.signed_by(BOB)).get(ALICE, ())

    def test_second_look_reads_nothing(self) -> None:
        first = self.alice()
        self.signed_by_bob()
        self.commit(SetDeviceKeys(BOB, "B1", b"{}"))
        self.database._run_read = None  # type: ignore[assignment]
        self.assertIs(self.alice(), first)
        self.assertTrue(self.keys.has(ALICE))
        self.assertEqual(self.signed_by_bob(), ())

    def test_user_of_whom_there_is_too_much_is_not_kept(self) -> None:
        self.commit(SetCrossSigningKeys(ALICE, (MASTER,), None))
        signatures = [Signature(ALICE, "MASTER", ALICE, f"ed25519:{n}", "s" * 86) for n in range(700)]
        self.commit(*map(AddSignature, signatures))
        self.assertEqual(len(orjson.loads(self.alice().master or b"")["signatures"][ALICE]), 700)
        self.assertFalse(self.keys.has(ALICE))

    def test_device_keys_names_and_devices_are_followed(self) -> None:
        self.assertEqual(self.shown(), {"A1": {"k": 1}})
        self.commit(SetDeviceKeys(ALICE, "A2", b'{"k":2}'))
        self.assertEqual(self.shown(), {"A1": {"k": 1}, "A2": {"k": 2}})
        self.commit(RenameDevice(ALICE, "A1", "Phone"))
        self.assertEqual(
            self.shown(), {"A1": {"k": 1, "unsigned": {"device_display_name": "Phone"}}, "A2": {"k": 2}}
        )
        self.commit(DeleteDevice(ALICE, "A1"))
        self.assertEqual(self.shown(), {"A2": {"k": 2}})
        self.commit(RemoveDeviceKeys(ALICE, ("A2",)))
        self.assertEqual(self.shown(), {})

    def test_cross_signing_keys_and_own_signatures_are_followed(self) -> None:
        self.assertIsNone(self.alice().master)
        self.commit(SetCrossSigningKeys(ALICE, (MASTER, USER_SIGNING), None))
        self.assertEqual((self.alice().master, self.alice().user_signing), (MASTER.json, USER_SIGNING.json))
        self.commit(AddSignature(Signature(ALICE, "MASTER", ALICE, "ed25519:A1", "s")))
        self.assertIn(b'"signatures":{"%b":{"ed25519:A1":"s"}}' % ALICE.encode(), self.alice().master or b"")

    def test_signatures_of_others_are_for_those_who_made_them_and_go_with_the_key(self) -> None:
        self.commit(SetCrossSigningKeys(ALICE, (MASTER,), None))
        self.assertEqual((self.alice().master, self.signed_by_bob()), (MASTER.json, ()))
        self.commit(AddSignature(BY_BOB))
        self.assertEqual((self.alice().master, self.signed_by_bob()), (MASTER.json, [BY_BOB]))
        self.commit(SetCrossSigningKeys(ALICE, (SECOND,), "MASTER"))
        self.assertEqual((self.alice().master, self.signed_by_bob()), (SECOND.json, ()))

    def test_what_another_site_brings_is_followed(self) -> None:
        self.alice()
        self.signed_by_bob()
        self.arrive(MergeDeviceKeys(ALICE, "A1", b'{"k":3}'))
        self.assertEqual(self.shown(), {"A1": {"k": 3}})
        self.arrive(MergeCrossSigningKeys(ALICE, (MASTER,)), MergeSignature(BY_BOB))
        self.assertEqual((self.alice().master, self.signed_by_bob()), (MASTER.json, [BY_BOB]))
        self.arrive(WipeUser(ALICE), AddDevice(ALICE, "A9", None, 0))
        self.assertEqual((self.alice().master, self.shown(), self.signed_by_bob()), (None, {}, ()))

    def test_what_was_rolled_back_is_not_shown(self) -> None:
        before = self.alice()
        work = self.committer.commit(
            SetDeviceKeys(ALICE, "A1", b'{"k":4}'), SetCrossSigningKeys(ALICE, (MASTER,), "another")
        )
        self.failure(work, KeysMovedOn)
        self.assertEqual(self.alice(), before)

    def test_what_was_read_before_a_change_is_not_kept(self) -> None:
        real_read = self.database._run_read

        def read_then_change(work):  # type: ignore[no-untyped-def]
            outcome = real_read(work)
            self.database._run_read = real_read
            self.commit(SetDeviceKeys(ALICE, "A1", b'{"k":5}'))
            return outcome

        self.database._run_read = read_then_change
        self.assertEqual(self.shown(), {"A1": {"k": 1}})
        self.assertEqual(self.shown(), {"A1": {"k": 5}})

    def test_what_is_written_of_others_meanwhile_does_not_keep_it_out(self) -> None:
        real_read = self.database._run_read

        def read_then_change(work):  # type: ignore[no-untyped-def]
            outcome = real_read(work)
            self.database._run_read = real_read
            self.commit(SetDeviceKeys(BOB, "B1", b"{}"))
            return outcome

        self.database._run_read = read_then_change
        self.alice()
        self.assertTrue(self.keys.has(ALICE))

    def test_users_without_accounts_are_not_there_until_they_have_one(self) -> None:
        carol = "@carol:one.example"
        self.assertEqual(self.result(self.keys.get([carol])), {})
        self.commit(CreateAccount(carol, None, 0, False, False, None))
        self.assertEqual(self.result(self.keys.get([carol]))[carol].all_devices, b"{}")
