"""Keys of sites that were taken out: all sites come to say the same of them, whoever was told first."""

import random
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from storage.site_keys import NoteSiteKeys, OldSiteKey, SiteKeysRepository
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

DORA = ("ed25519:dora", "key of dora")
ELLA = ("ed25519:ella", "key of ella")


class OldSiteKeysTests(SitesMixin):
    def old(self, site: StoredSite) -> Sequence[OldSiteKey]:
        return site.read(SiteKeysRepository().get_old)

    def note(self, site: StoredSite, expired_ts: int, *present: tuple[str, str]) -> None:
        site.now_ms += 1
        site.commit(NoteSiteKeys(tuple(sorted(present)), expired_ts))

    def test_what_is_named_no_more_is_old_and_the_first_to_say_so_says_when(self) -> None:
        self.note(self.anna, 0, DORA, ELLA)
        self.note(self.berta, 0, DORA, ELLA)
        self.note(self.anna, 100, ELLA)
        self.exchange(self.anna, self.berta)
        self.note(self.berta, 200, ELLA)
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            self.assertEqual(self.old(site), [OldSiteKey(*DORA, 100)])

    def test_what_is_named_again_is_not_old(self) -> None:
        for site in (self.anna, self.berta):
            self.note(site, 0, DORA)
        for site in (self.anna, self.berta):
            self.note(site, 100)
            self.exchange(self.anna, self.berta)
        self.note(self.berta, 200, DORA)
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.old(self.anna), self.old(self.berta)], [[], []])
        self.note(self.anna, 300, DORA)
        self.note(self.anna, 400)
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.old(self.berta), [OldSiteKey(*DORA, 400)])

    def test_sites_come_to_the_same_in_any_order(self) -> None:
        for seed in range(10):
            chance = random.Random(seed)
            sites = [self.given_site(name) for name in ("x", "y", "z")]
            for step in range(20):
                site = chance.choice(sites)
                present = [key for key in (DORA, ELLA) if chance.random() < 0.5]
                self.note(site, 1000 + step, *present)
                if chance.random() < 0.4:
                    site.hear(chance.choice([other for other in sites if other is not site]))
            self.exchange(*sites)
            self.assertEqual(self.old(sites[0]), self.old(sites[1]), f"seed {seed}")
            self.assertEqual(self.old(sites[0]), self.old(sites[2]), f"seed {seed}")


class SqliteOldSiteKeysTests(SqliteStorage, OldSiteKeysTests, SynchronousTestCase): ...


class PostgresOldSiteKeysTests(PostgresStorage, OldSiteKeysTests, SynchronousTestCase): ...
