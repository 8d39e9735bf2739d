"""Aliases, the public list, push rules, pushers and filters on two sites."""

import random

from twisted.trial.unittest import SynchronousTestCase

from storage.change import Conflict
from storage.directory import AddAlias, DirectoryRepository, MoveAliases, PublishRoom, RemoveAlias
from storage.filters import FiltersRepository, StoreFilter
from storage.push_rules import PushRulesRepository, SetPushRules
from storage.pushers import DeletePushersOfDevices, PushersRepository, SetPusher
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"
BOB = "@bob:one.example"
ALIAS = "#general:one.example"
ROOM = "!one:one.example"
OTHER = "!other:one.example"


class DirectoryRecordsTests(SitesMixin):
    def room_of(self, site: StoredSite) -> str | None:
        row = site.read(lambda tx: DirectoryRepository().find_alias(tx, ALIAS))
        return None if row is None else row.room_id

    def rooms(self) -> list[str | None]:
        return [self.room_of(site) for site in (self.anna, self.berta)]

    def test_an_alias_claimed_on_both_sites_is_the_earlier_ones(self) -> None:
        self.anna.commit(AddAlias(ALIAS, ROOM, ALICE))
        self.berta.now_ms += 5
        self.berta.commit(AddAlias(ALIAS, OTHER, BOB))
        self.exchange(self.berta, self.anna)
        self.assertEqual(self.rooms(), [ROOM, ROOM])

    def test_an_alias_that_was_removed_stays_so_and_may_be_claimed_again(self) -> None:
        self.anna.commit(AddAlias(ALIAS, ROOM, ALICE))
        self.exchange(self.anna, self.berta)
        self.anna.commit(RemoveAlias(ALIAS))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.rooms(), [None, None])
        self.berta.commit(AddAlias(ALIAS, OTHER, BOB))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.rooms(), [OTHER, OTHER])

    def test_an_upgrade_moves_aliases_everywhere(self) -> None:
        self.anna.commit(AddAlias(ALIAS, ROOM, ALICE))
        self.exchange(self.anna, self.berta)
        self.berta.commit(MoveAliases(ROOM, OTHER))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.rooms(), [OTHER, OTHER])

    def test_claims_removals_and_moves_in_any_order_end_the_same(self) -> None:
        for seed in range(25):
            self.check_random(random.Random(seed))

    def check_random(self, choice: random.Random) -> None:
        sites = (self.anna, self.berta)
        for _ in range(25):
            site = choice.choice(sites)
            site.now_ms += choice.choice((0, 1, 3))
            act = choice.randrange(6)
            if act == 0:
                self.try_claim(site, choice.choice((ROOM, OTHER)))
            elif act == 1:
                site.commit(RemoveAlias(ALIAS))
            elif act == 2:
                site.commit(MoveAliases(*choice.choice(((ROOM, OTHER), (OTHER, ROOM)))))
            elif act == 3:
                site.commit(PublishRoom(ROOM, choice.random() < 0.5))
            else:
                # What one had to tell a while ago arrives, perhaps after what came later.
                other = sites[1 - sites.index(site)]
                site.take_in(other.name, [placed.record for placed in other.export(site.name)])
        self.exchange(*sites)
        self.assertEqual(self.anna.all_values(), self.berta.all_values())  # type: ignore[attr-defined]

    def try_claim(self, site: StoredSite, room_id: str) -> None:
        try:
            site.commit(AddAlias(ALIAS, room_id, ALICE))
        except Conflict:
            # It is taken, as a user would be told.
            return

    def test_push_rules_and_pushers_and_filters_are_on_both_sites(self) -> None:
        self.anna.commit(
            SetPushRules(ALICE, b'{"disabled":["x"]}', 0),
            SetPusher(ALICE, "app", "key", "PHONE", b'{"kind":"http"}', True),
            StoreFilter(ALICE, "f", b'{"room":{}}'),
        )
        self.berta.hear(self.anna)
        rules = self.berta.read(lambda tx: PushRulesRepository().find(tx, ALICE))
        self.assertEqual(None if rules is None else rules.rules, b'{"disabled":["x"]}')
        self.assertEqual(
            self.berta.read(lambda tx: PushersRepository().get_of_user(tx, ALICE)), [b'{"kind":"http"}']
        )
        self.assertEqual(self.berta.read(lambda tx: FiltersRepository().find(tx, ALICE, "f")), b'{"room":{}}')

    def test_pushers_that_end_end_everywhere(self) -> None:
        self.anna.commit(SetPusher(ALICE, "app", "key", "PHONE", b"{}", True))
        self.anna.commit(SetPusher(ALICE, "app", "other key", "TABLET", b"{}", True))
        self.exchange(self.anna, self.berta)
        self.berta.commit(SetPusher(BOB, "app", "key", "LAPTOP", b"{}", True))
        self.anna.commit(DeletePushersOfDevices(ALICE, ("TABLET",)))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            self.assertEqual(site.read(lambda tx: PushersRepository().get_of_user(tx, ALICE)), [])
            self.assertEqual(len(site.read(lambda tx: PushersRepository().get_of_user(tx, BOB))), 1)


class SqliteDirectoryRecordsTests(SqliteStorage, DirectoryRecordsTests, SynchronousTestCase): ...


class PostgresDirectoryRecordsTests(PostgresStorage, DirectoryRecordsTests, SynchronousTestCase): ...
