"""Identity keys, cross-signing keys and signatures: who may see what, and what goes when a key is replaced."""

from twisted.trial.unittest import SynchronousTestCase

from storage.committer import Committed
from storage.cross_signing import (
    MASTER,
    MAX_SIGNATURES_PER_KEY,
    SELF_SIGNING,
    USER_SIGNING,
    AddSignature,
    CrossSigningKey,
    CrossSigningRepository,
    KeysMovedOn,
    SetCrossSigningKeys,
    Signature,
    TooManySignatures,
)
from storage.database import Waiter, WriteTransaction
from storage.device_keys import (
    DeviceGone,
    DeviceKeysRepository,
    DeviceKeysRow,
    FirstKeys,
    NotFirstKeys,
    RemoveDeviceKeys,
    SetDeviceKeys,
    SetFirstDeviceKeys,
)
from storage.devices import DeleteDevice
from tests.storage.keys_case import ALICE, BOB, KeysMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage

CAROL = "@carol:two.example"


class DeviceKeysTests(KeysMixin):
    def commit(self, *changes) -> None:  # type: ignore[no-untyped-def]
        self.result(self.committer.commit(*changes))

    def sign(
        self, user_id: str, target: str, signer_id: str, key: str = "ed25519:K", signature: str = "s"
    ) -> None:
        self.commit(AddSignature(Signature(user_id, target, signer_id, key, signature)))

    def signatures(self, viewer_id: str, *user_ids: str) -> set[tuple[str, str, str]]:
        found = self.read(lambda tx: CrossSigningRepository().get_signatures(tx, user_ids, viewer_id))
        return {(one.user_id, one.target, one.signer_id) for one in found}

    def usages(self, user_id: str) -> dict[str, str]:
        keys = self.read(lambda tx: CrossSigningRepository().get_of_user(tx, user_id))
        return {usage: key.public_key for usage, key in keys.items()}

    def test_device_keys_are_read_by_user(self) -> None:
        self.commit(SetDeviceKeys(ALICE, "A1", b'{"a":1}'), SetDeviceKeys(BOB, "B1", b'{"b":1}'))
        self.commit(SetDeviceKeys(ALICE, "A1", b'{"a":2}'), SetDeviceKeys(ALICE, "A1", b'{"a":3}'))
        self.assertEqual(self.read(lambda tx: DeviceKeysRepository().find(tx, ALICE, "A1")), b'{"a":3}')
        rows = self.read(lambda tx: DeviceKeysRepository().get_of_users(tx, [ALICE, BOB, CAROL]))
        self.assertCountEqual(
            rows, [DeviceKeysRow(ALICE, "A1", b'{"a":3}'), DeviceKeysRow(BOB, "B1", b'{"b":1}')]
        )

    def test_device_that_is_gone_publishes_nothing(self) -> None:
        self.failure(self.committer.commit(SetDeviceKeys(ALICE, "A3", b"{}")), DeviceGone)
        self.failure(self.committer.commit(SetDeviceKeys(ALICE, "A\0", b"{}")), DeviceGone)
        self.assertEqual(self.count("device_keys"), 0)

    def test_device_that_goes_in_the_same_commit_publishes_nothing(self) -> None:
        with self.committer.together():
            self.committer.submit((SetDeviceKeys(BOB, "B1", b"{}"),))
            self.committer.submit((DeleteDevice(ALICE, "A1"), RemoveDeviceKeys(ALICE, ("A1",))))
            late = self.committer.submit((SetDeviceKeys(ALICE, "A1", b"{}"),))
        self.failure(_until(late), DeviceGone)
        self.assertEqual(self.count("device_keys"), 1)

    def test_first_keys_are_first_and_not_called_like_a_cross_signing_key(self) -> None:
        self.commit(SetFirstDeviceKeys(ALICE, "A1", b'{"a":1}'), SetFirstDeviceKeys(BOB, "B1", b'{"b":1}'))
        for json in (b'{"a":1}', b'{"a":2}'):
            self.failure(self.committer.commit(SetFirstDeviceKeys(ALICE, "A1", json)), NotFirstKeys)
        self.assertEqual(self.read(lambda tx: DeviceKeysRepository().find(tx, ALICE, "A1")), b'{"a":1}')
        self.commit(SetCrossSigningKeys(ALICE, (CrossSigningKey(MASTER, "A2", b"{}"),), None))
        self.failure(self.committer.commit(SetFirstDeviceKeys(ALICE, "A2", b"{}")), NotFirstKeys)
        for gone in ("A3", "A\0"):
            self.failure(self.committer.commit(SetFirstDeviceKeys(ALICE, gone, b"{}")), DeviceGone)
        self.assertEqual(self.count("device_keys"), 2)

    def test_first_keys_tell_whether_their_owner_was_ever_in_a_room(self) -> None:
        def join(tx: WriteTransaction) -> None:
            tx.run(
                "INSERT INTO memberships (room, user_nid, membership, event, position, forgotten)"
                " VALUES (1, ?, 4, 1, 1, 1)",
                (tx.intern_one(ALICE),),
            )

        self.database.write_now(join)
        changes = (SetFirstDeviceKeys(ALICE, "A1", b"{}"), SetFirstDeviceKeys(BOB, "B1", b"{}"))
        self.assertEqual(
            self.result(self.committer.commit(*changes)).results, (FirstKeys(True), FirstKeys(False))
        )

    def test_new_identity_keys_lose_the_signatures_of_the_old(self) -> None:
        self.commit(SetDeviceKeys(ALICE, "A1", b'{"a":1}'), SetDeviceKeys(ALICE, "A2", b'{"a":1}'))
        self.sign(ALICE, "A1", ALICE)
        self.sign(ALICE, "A2", ALICE)
        self.commit(SetDeviceKeys(ALICE, "A1", b'{"a":1}'))
        self.assertEqual(len(self.signatures(ALICE, ALICE)), 2)
        self.commit(SetDeviceKeys(ALICE, "A1", b'{"a":2}'))
        self.assertEqual(self.signatures(ALICE, ALICE), {(ALICE, "A2", ALICE)})

    def test_removed_device_leaves_no_keys_and_no_signatures(self) -> None:
        self.commit(SetDeviceKeys(ALICE, "A1", b"{}"), SetDeviceKeys(ALICE, "A2", b"{}"))
        self.sign(ALICE, "A1", ALICE)
        self.commit(RemoveDeviceKeys(ALICE, ("A1", "unknown")))
        self.assertIsNone(self.read(lambda tx: DeviceKeysRepository().find(tx, ALICE, "A1")))
        self.assertIsNotNone(self.read(lambda tx: DeviceKeysRepository().find(tx, ALICE, "A2")))
        self.assertEqual(self.count("key_signatures"), 0)

    def test_viewer_sees_the_owners_signatures_and_their_own(self) -> None:
        self.sign(ALICE, "M", ALICE)
        self.sign(ALICE, "M", BOB)
        self.sign(BOB, "N", ALICE)
        self.assertEqual(self.signatures(ALICE, ALICE, BOB), {(ALICE, "M", ALICE), (BOB, "N", ALICE)})
        self.assertEqual(self.signatures(BOB, ALICE, BOB), {(ALICE, "M", ALICE), (ALICE, "M", BOB)})
        self.assertEqual(self.signatures(CAROL, ALICE, BOB), {(ALICE, "M", ALICE)})

    def test_same_signature_again_replaces(self) -> None:
        self.sign(ALICE, "M", ALICE, signature="old")
        self.sign(ALICE, "M", ALICE, signature="new")
        found = self.read(lambda tx: CrossSigningRepository().get_signatures(tx, [ALICE], ALICE))
        self.assertEqual(found, [Signature(ALICE, "M", ALICE, "ed25519:K", "new")])

    def test_signatures_of_one_signer_on_one_key_are_bounded(self) -> None:
        many = [
            AddSignature(Signature(ALICE, "M", BOB, f"ed25519:{n}", "s"))
            for n in range(MAX_SIGNATURES_PER_KEY)
        ]
        self.commit(*many)
        one_more = AddSignature(Signature(ALICE, "M", BOB, "ed25519:more", "s"))
        self.failure(self.committer.commit(one_more), TooManySignatures)
        self.assertEqual(self.count("key_signatures"), MAX_SIGNATURES_PER_KEY)

    def test_cross_signing_keys_are_kept_by_usage(self) -> None:
        keys = tuple(
            CrossSigningKey(usage, usage[:1], b"{}") for usage in (MASTER, SELF_SIGNING, USER_SIGNING)
        )
        self.commit(SetCrossSigningKeys(ALICE, keys, None))
        self.assertEqual(self.usages(ALICE), {MASTER: "m", SELF_SIGNING: "s", USER_SIGNING: "u"})
        self.assertEqual(self.usages(BOB), {})
        self.commit(SetCrossSigningKeys(ALICE, (CrossSigningKey(SELF_SIGNING, "t", b"{}"),), "m"))
        self.assertEqual(self.usages(ALICE), {MASTER: "m", SELF_SIGNING: "t", USER_SIGNING: "u"})
        self.assertTrue(self.read(lambda tx: CrossSigningRepository().has_public_key(tx, ALICE, "t")))
        self.assertFalse(self.read(lambda tx: CrossSigningRepository().has_public_key(tx, ALICE, "s")))
        self.assertFalse(self.read(lambda tx: CrossSigningRepository().has_public_key(tx, BOB, "t")))

    def test_new_master_key_takes_what_the_old_one_signed(self) -> None:
        self.commit(
            SetCrossSigningKeys(
                ALICE, (CrossSigningKey(MASTER, "m", b"{}"), CrossSigningKey(SELF_SIGNING, "s", b"{}")), None
            )
        )
        self.sign(ALICE, "m", BOB)
        self.sign(ALICE, "A1", ALICE)
        self.commit(SetCrossSigningKeys(ALICE, (CrossSigningKey(MASTER, "n", b"{}"),), "m"))
        self.assertEqual(self.usages(ALICE), {MASTER: "n"})
        self.assertEqual(self.signatures(BOB, ALICE), {(ALICE, "A1", ALICE)})

    def test_keys_changed_meanwhile_are_not_overwritten(self) -> None:
        self.commit(SetCrossSigningKeys(ALICE, (CrossSigningKey(MASTER, "m", b"{}"),), None))
        late = SetCrossSigningKeys(ALICE, (CrossSigningKey(MASTER, "n", b"{}"),), None)
        self.failure(self.committer.commit(late), KeysMovedOn)
        self.assertEqual(self.usages(ALICE), {MASTER: "m"})

    def test_names_of_devices(self) -> None:
        names = self.read(lambda tx: DeviceKeysRepository().get_device_names(tx, [ALICE, CAROL, "@\0"]))
        self.assertEqual(names, {ALICE: {"A1": None, "A2": None}})


async def _until(waiter: Waiter[Committed]) -> Committed:
    return await waiter


class SqliteDeviceKeysTests(SqliteStorage, DeviceKeysTests, SynchronousTestCase):
    pass


class PostgresDeviceKeysTests(PostgresStorage, DeviceKeysTests, SynchronousTestCase):
    pass
