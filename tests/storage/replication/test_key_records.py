"""Keys of devices and users on two sites: what is given out once, and what goes with what."""

import random

from twisted.trial.unittest import SynchronousTestCase

from storage.cross_signing import (
    AddSignature,
    CrossSigningKey,
    CrossSigningRepository,
    SetCrossSigningKeys,
    Signature,
)
from storage.device_keys import DeviceKeysRepository, RemoveDeviceKeys, SetDeviceKeys
from storage.device_lists import DeviceListChanged, DeviceListsRepository
from storage.devices import AddDevice, DeleteDevice
from storage.key_backup import CreateBackup
from storage.one_time_keys import (
    CLAIMED_REMEMBERED,
    AddOneTimeKeys,
    ClaimAnyKeys,
    ClaimOneTimeKeys,
    DeviceKeyCounts,
    GivenKeys,
    KeyExists,
    OneTimeKey,
    OneTimeKeysRepository,
)
from storage.receipts import PUBLIC, StoreReceipt
from storage.replication.own_site import SeePeerLog, become_site
from storage.replication.wipe_user import BY_NUMBER, WipeUser
from storage.to_device import SendToDevice, ToDeviceMessage
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"
BOB = "@bob:one.example"
PHONE = "PHONE"
SIGNED = "signed_curve25519"


def key(number: int, content: str = "key") -> OneTimeKey:
    return OneTimeKey(SIGNED, f"{number:04}", f'"{content}{number}"'.encode())


class KeyRecordsTests(SitesMixin):
    def setUp(self) -> None:
        super().setUp()
        for site in (self.anna, self.berta):
            site.become(f"log of {site.name}")
        self.anna.commit(AddDevice(ALICE, PHONE, None, 1), AddDevice(BOB, PHONE, None, 1))
        self.exchange(self.anna, self.berta)

    def upload(
        self, site: StoredSite, *keys: OneTimeKey, fallback: OneTimeKey | None = None
    ) -> DeviceKeyCounts:
        fallbacks = () if fallback is None else (fallback,)
        counts = site.commit(AddOneTimeKeys(ALICE, PHONE, keys, fallbacks)).results[0]
        assert isinstance(counts, DeviceKeyCounts)
        return counts

    def claim(self, site: StoredSite) -> str | None:
        (given,) = site.commit(ClaimOneTimeKeys(((ALICE, PHONE, SIGNED),))).results
        assert isinstance(given, GivenKeys)
        (claimed,) = given.keys
        return None if claimed is None else claimed.key_id

    def counts(self, site: StoredSite) -> dict[str, int]:
        return dict(site.read(lambda tx: OneTimeKeysRepository().get_counts(tx, ALICE, PHONE)).one_time)

    def unused(self, site: StoredSite) -> tuple[str, ...]:
        return site.read(
            lambda tx: OneTimeKeysRepository().get_counts(tx, ALICE, PHONE)
        ).unused_fallback_types

    def test_a_site_gives_out_the_keys_that_it_took_and_counts_all(self) -> None:
        self.upload(self.anna, key(1), key(2))
        self.upload(self.berta, key(3))
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.counts(self.anna), self.counts(self.berta)], [{SIGNED: 3}] * 2)
        self.assertEqual([self.claim(self.berta), self.claim(self.berta)], ["0003", None])
        self.assertEqual(self.claim(self.anna), "0001")
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.counts(self.anna), self.counts(self.berta)], [{SIGNED: 1}] * 2)
        pools = self.berta.read(lambda tx: OneTimeKeysRepository().find_pools(tx, [(ALICE, PHONE, SIGNED)]))
        pool = pools[(ALICE, PHONE, SIGNED)]
        self.assertEqual((pool.has_one_time_key, pool.has_key_elsewhere), (False, True))

    def test_the_same_upload_at_the_other_site_changes_nothing_and_another_key_of_that_name_is_refused(
        self,
    ) -> None:
        self.upload(self.anna, key(1), key(2))
        self.claim(self.anna)
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.upload(self.berta, key(1), key(2)).one_time, {SIGNED: 1})
        with self.assertRaises(KeyExists):  # type: ignore[attr-defined]
            self.upload(self.berta, key(2, "other"))
        self.assertIsNone(self.claim(self.berta))

    def test_an_upload_repeated_in_a_cut_is_the_earlier_sites(self) -> None:
        self.upload(self.anna, key(1))
        self.berta.now_ms += 10
        self.upload(self.berta, key(1))
        # Each hears of the other's before the other has heard of its own.
        told = [placed.record for placed in self.anna.export("berta")]
        self.anna.hear(self.berta)
        self.berta.take_in("anna", told)
        self.assertEqual([self.counts(self.anna), self.counts(self.berta)], [{SIGNED: 1}] * 2)
        self.assertEqual([self.claim(self.berta), self.claim(self.anna)], [None, "0001"])

    def test_a_key_given_out_in_a_cut_is_gone_at_the_other_site_too(self) -> None:
        self.upload(self.anna, key(1))
        self.berta.now_ms += 10
        self.upload(self.berta, key(1))
        self.assertEqual(self.claim(self.berta), "0001")
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.claim(self.anna), self.claim(self.berta)], [None, None])
        self.assertEqual([self.counts(self.anna), self.counts(self.berta)], [{}, {}])

    def test_keys_of_a_site_that_was_rebuilt_are_counted_no_more(self) -> None:
        self.berta.commit(SeePeerLog("anna", "log of anna"))
        self.upload(self.anna, key(1))
        late = [placed.record for placed in self.anna.export("berta")]
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.counts(self.berta), {SIGNED: 1})
        self.berta.commit(SeePeerLog("anna", "another log"))
        self.assertEqual(self.counts(self.berta), {})
        self.berta.take_in("anna", late)
        self.assertEqual(self.counts(self.berta), {})

    def test_a_copied_database_leaves_the_keys_to_the_site_that_it_was_copied_from(self) -> None:
        self.upload(self.anna, key(1), key(2))
        # As if `anna`'s database had been copied for a site `carla`.
        self.anna.database.write_now(lambda tx: become_site(tx, "carla", "log of carla", ("anna", "berta")))
        self.assertEqual(self.counts(self.anna), {SIGNED: 2})
        self.assertIsNone(self.claim(self.anna))
        self.upload(self.anna, key(3))
        self.assertEqual(self.claim(self.anna), "0003")
        # And it again for a new `anna`: what that one had is lost.
        self.anna.database.write_now(lambda tx: become_site(tx, "anna", "new log", ("carla", "berta")))
        self.assertEqual(self.counts(self.anna), {})

    def test_a_fallback_key_is_the_latest_and_stays_used(self) -> None:
        self.upload(self.anna, fallback=key(1, "fallback"))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.unused(self.berta), (SIGNED,))
        given = self.berta.commit(ClaimAnyKeys(((ALICE, PHONE, SIGNED),))).results[0]
        assert isinstance(given, GivenKeys)
        self.assertEqual(given.keys, [key(1, "fallback")])
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.unused(self.anna), self.unused(self.berta)], [(), ()])
        # In a cut one site gives the old one out, after the other got a new one.
        self.upload(self.anna, fallback=key(2, "fallback"))
        self.berta.now_ms += 10
        self.berta.commit(ClaimAnyKeys(((ALICE, PHONE, SIGNED),)))
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.unused(self.anna), self.unused(self.berta)], [(SIGNED,), (SIGNED,)])

    def test_no_key_is_given_out_twice_however_cuts_fall(self) -> None:
        for seed in range(15):
            self.check_random(random.Random(seed), seed * 1000)

    def check_random(self, choice: random.Random, base: int) -> None:
        sites, given, number = (self.anna, self.berta), [], base
        for _ in range(40):
            site = choice.choice(sites)
            other = sites[1 - sites.index(site)]
            site.now_ms += choice.choice((0, 1, 3))
            act = choice.randrange(5)
            if act == 0:
                number += 1
                self.upload(site, key(number))
            elif act == 1:
                given.append(self.claim(site))
            elif act == 2:
                # A client repeats what was answered; it has been heard of at the other site.
                other.hear(site)
                self.upload(other, *(key(each) for each in range(base + 1, number + 1)))
            else:
                site.take_in(other.name, [placed.record for placed in other.export(site.name)])
                self.upload(site) if act == 3 else None
        self.exchange(*sites)
        self.assertEqual(self.counts(self.anna), self.counts(self.berta))  # type: ignore[attr-defined]
        keys = [each for each in given if each is not None]
        self.assertEqual(len(keys), len(set(keys)))

    def test_what_is_remembered_of_claims_elsewhere_is_bounded(self) -> None:
        count = CLAIMED_REMEMBERED + 20
        for start in range(0, count, 20):
            self.upload(self.anna, *(key(number) for number in range(start, start + 20)))
            for _ in range(20):
                self.claim(self.anna)
            self.berta.hear(self.anna)
        remembered = self.berta.read(lambda tx: tx.value("SELECT COUNT(*) FROM claimed_keys"))
        self.assertLessEqual(remembered, CLAIMED_REMEMBERED)
        self.assertEqual(self.upload(self.berta, key(count - 1)).one_time, {})

    def test_what_a_user_has_goes_when_the_name_is_somebody_elses(self) -> None:
        self.upload(self.anna, key(1), fallback=key(2))
        self.anna.commit(
            SetDeviceKeys(ALICE, PHONE, b"{}"),
            SetCrossSigningKeys(ALICE, self.cross_signing("a"), None),
            CreateBackup(ALICE, "algorithm", b"{}"),
            SendToDevice((ToDeviceMessage(b"{}", ((ALICE, PHONE),)),)),
            StoreReceipt("!room:one.example", ALICE, PUBLIC, None, "$a", 1, 1),
        )
        self.berta.hear(self.anna)
        for site in (self.anna, self.berta):
            site.commit(WipeUser(ALICE))
            for table in (*BY_NUMBER, "to_device_inbox", "to_device_shared"):
                left = site.read(lambda tx, table=table: tx.all(f"SELECT * FROM {table}"))  # type: ignore[misc]
                self.assertEqual(left, [], table)

    def test_identity_keys_are_on_both_sites_and_clients_hear_of_them(self) -> None:
        before = self.berta.log.position
        self.anna.commit(SetDeviceKeys(ALICE, PHONE, b'{"a":1}'), DeviceListChanged(ALICE))
        self.berta.hear(self.anna)
        self.assertEqual(
            self.berta.read(lambda tx: DeviceKeysRepository().find(tx, ALICE, PHONE)), b'{"a":1}'
        )
        changed = self.berta.read(lambda tx: DeviceListsRepository().get_changed_users(tx, BOB, before))
        self.assertEqual(changed.for_everybody, {ALICE})

    def test_a_device_that_is_deleted_takes_along_what_it_got_elsewhere_meanwhile(self) -> None:
        self.upload(self.anna, key(1))
        self.exchange(self.anna, self.berta)
        self.anna.commit(DeleteDevice(ALICE, PHONE), RemoveDeviceKeys(ALICE, (PHONE,)))
        self.berta.now_ms += 50
        self.berta.commit(SetDeviceKeys(ALICE, PHONE, b"{}"))
        self.upload(self.berta, key(2), fallback=key(3))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            self.assertIsNone(site.read(lambda tx: DeviceKeysRepository().find(tx, ALICE, PHONE)))
            self.assertEqual(self.counts(site), {})
            self.assertEqual(self.unused(site), ())

    def cross_signing(self, name: str) -> tuple[CrossSigningKey, ...]:
        return tuple(
            CrossSigningKey(usage, f"{name} {usage}", f'{{"{name}":1}}'.encode())
            for usage in ("master", "self_signing")
        )

    def test_of_cross_signing_keys_set_apart_one_set_stays_with_its_signatures(self) -> None:
        self.anna.commit(SetCrossSigningKeys(ALICE, self.cross_signing("a"), None))
        self.anna.commit(AddSignature(Signature(ALICE, "a master", BOB, "ed25519:B", "sig of a")))
        self.berta.now_ms += 10
        self.berta.commit(SetCrossSigningKeys(ALICE, self.cross_signing("b"), None))
        self.berta.commit(AddSignature(Signature(ALICE, "b master", BOB, "ed25519:B", "sig of b")))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            keys = site.read(lambda tx: CrossSigningRepository().get_of_user(tx, ALICE))
            self.assertEqual(keys, {each.usage: each for each in self.cross_signing("b")})
            signatures = site.read(lambda tx: CrossSigningRepository().get_signatures(tx, [ALICE], BOB))
            self.assertEqual([each.signature for each in signatures], ["sig of b"])

    def test_a_signature_on_keys_that_were_replaced_meanwhile_is_not_taken(self) -> None:
        self.anna.commit(SetDeviceKeys(ALICE, PHONE, b'{"old":1}'))
        self.exchange(self.anna, self.berta)
        self.anna.commit(SetDeviceKeys(ALICE, PHONE, b'{"new":1}'))
        self.berta.commit(AddSignature(Signature(ALICE, PHONE, ALICE, "ed25519:A", "on the old ones")))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            signatures = site.read(lambda tx: CrossSigningRepository().get_signatures(tx, [ALICE], ALICE))
            self.assertEqual(signatures, [])


class SqliteKeyRecordsTests(SqliteStorage, KeyRecordsTests, SynchronousTestCase): ...


class PostgresKeyRecordsTests(PostgresStorage, KeyRecordsTests, SynchronousTestCase): ...
