"""A site whose clock is wrong by a day: all sites end the same, and its clock does not become theirs."""

import random

from twisted.trial.unittest import SynchronousTestCase

from storage.account_data import NO_ROOM, AccountDataRepository, SetAccountData
from storage.replication.hybrid_clock import COUNTER_BITS, MAX_AHEAD_MS, MAX_CLOCK
from storage.replication.record import Record, Version
from storage.sessions import (
    CreateSession,
    EndSession,
    IssueNextTokens,
    SessionRow,
    SessionsRepository,
    UseNextTokens,
)
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"
DAY_MS = 24 * 3600 * 1000


def set_theme(content: bytes, name: str = "theme") -> SetAccountData:
    return SetAccountData(ALICE, NO_ROOM, name, content)


class WrongClocksTests(SitesMixin):
    def setUp(self) -> None:
        super().setUp()
        self.anna.now_ms += DAY_MS

    def themes(self, name: str = "theme") -> list[bytes | None]:
        rows = [
            site.read(lambda tx: AccountDataRepository().find(tx, ALICE, NO_ROOM, name))
            for site in (self.anna, self.berta)
        ]
        return [None if row is None else bytes(row.content) for row in rows]

    def newest_clock_ms(self, site: StoredSite, name: str) -> int:
        """When a record was written, by the clock of its version."""
        clocks = [each.record.version.clock for each in site.export("") if each.record.key[-1] == name]
        return max(clocks) >> COUNTER_BITS

    def test_who_changes_what_it_wrote_has_the_last_word(self) -> None:
        self.anna.commit(set_theme(b'{"n":1}'))
        self.berta.hear(self.anna)
        self.berta.commit(set_theme(b'{"n":2}'))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.themes(), [b'{"n":2}'] * 2)  # type: ignore[attr-defined]

    def test_its_clock_does_not_become_that_of_the_others(self) -> None:
        self.anna.commit(set_theme(b'{"n":1}'))
        self.berta.hear(self.anna)
        self.berta.commit(set_theme(b"{}", "other"))
        written_ms = self.newest_clock_ms(self.berta, "other")
        self.assertLessEqual(written_ms, self.berta.now_ms + MAX_AHEAD_MS + 1)  # type: ignore[attr-defined]

    def test_a_clock_at_the_end_of_time_can_still_be_written_over(self) -> None:
        value = self.given_value()
        key = (ALICE, "", "theme")
        self.berta.take_in("anna", [Record("account_data", key, value, Version(MAX_CLOCK, "anna"))])
        for number in range(3):
            self.berta.commit(set_theme(b'{"n":%d}' % number))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.themes(), [b'{"n":2}'] * 2)  # type: ignore[attr-defined]

    def given_value(self) -> object:
        """As such a record travels."""
        self.anna.commit(set_theme(b'{"n":9}'))
        (placed,) = self.anna.export("berta")
        self.assertEqual(placed.record.key, (ALICE, "", "theme"))  # type: ignore[attr-defined]
        return placed.record.value

    def test_what_is_made_of_two_versions_is_later_than_both(self) -> None:
        self.anna.commit(CreateSession("s", ALICE, "DEVICE", 0, "nonce"))
        self.exchange(self.anna, self.berta)
        self.berta.commit(IssueNextTokens("s", ALICE, 0, "next"), UseNextTokens("s", ALICE, "next"))
        self.anna.commit(EndSession("s", ALICE, 1))
        self.berta.hear(self.anna)
        ended = max(each.record.version for each in self.anna.export("berta"))
        combined = max(each.record.version for each in self.berta.export("carla"))
        self.assertEqual(combined.site, "berta")  # type: ignore[attr-defined]
        self.assertGreater(combined, ended)  # type: ignore[attr-defined]

    def test_tokens_refreshed_on_both_end_the_same(self) -> None:
        for seed in range(15):
            self.check_session(random.Random(seed), f"session {seed}")

    def check_session(self, choice: random.Random, session_id: str) -> None:
        sites = (self.anna, self.berta)
        self.anna.commit(CreateSession(session_id, ALICE, "DEVICE", 0, "nonce"))
        self.exchange(*sites)
        for number in range(30):
            site = choice.choice(sites)
            site.now_ms += choice.choice((0, 1, 3))
            session = self.session_at(site, session_id)
            act = choice.randrange(4)
            if act == 0:
                site.commit(IssueNextTokens(session_id, ALICE, session.generation, f"next {number}"))
            elif act == 1 and session.next_nonce is not None:
                site.commit(UseNextTokens(session_id, ALICE, session.next_nonce))
            else:
                other = sites[1 - sites.index(site)]
                site.take_in(other.name, [placed.record for placed in other.export(site.name)])
        self.exchange(*sites)
        self.exchange(*sites)
        self.assertEqual(*(self.session_at(site, session_id) for site in sites))  # type: ignore[attr-defined]

    def session_at(self, site: StoredSite, session_id: str) -> SessionRow:
        row = site.read(lambda tx: SessionsRepository().find(tx, session_id))
        assert row is not None
        return row


class SqliteWrongClocksTests(SqliteStorage, WrongClocksTests, SynchronousTestCase): ...


class PostgresWrongClocksTests(PostgresStorage, WrongClocksTests, SynchronousTestCase): ...
