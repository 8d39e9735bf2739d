"""What was kept is tried again, each by itself: one that fails in a way of its own does not stop the others."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from federation.sites.batch import ReceivedEvent
from federation.sites.retry_held import AT_ONCE, RetryHeld
from storage.account_data import NO_ROOM, AccountDataRepository, SetAccountData
from storage.held_back import HeldBackRepository, HeldEvent, HoldEvent, HoldRecord
from storage.replication.record import Record, Version
from tests.federation.sites.test_screen_records import ALICE, BAD
from tests.storage.replication.sites_case import SitesMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ROOM = "!room:one.example"


class Rooms:
    """Of some events nobody had thought."""

    def __init__(self) -> None:
        self.placed: list[int] = []

    async def place_again(self, site: str, received: ReceivedEvent) -> None:
        if received.pdu["n"] == 0:
            raise AttributeError("of a library")
        self.placed.append(received.pdu["n"])


class RetryHeldTests(SitesMixin):
    def setUp(self) -> None:
        super().setUp()
        self.rooms = Rooms()

    def run_once(self) -> RetryHeld:
        site = self.berta
        retry = RetryHeld(
            site.database, site.committer, site.log, site.apply, self.rooms, lambda: site.now_ms
        )
        self.successResultOf(Deferred.fromCoroutine(retry.run()))  # type: ignore[attr-defined]
        return retry

    def themes(self, count: int) -> list[Record]:
        """Records of one transaction have one clock."""
        self.anna.commit(*(SetAccountData(ALICE, NO_ROOM, f"n{number}", b"{}") for number in range(count)))
        return [placed.record for placed in self.anna.export("berta")]

    def has_theme(self, number: int) -> bool:
        return (
            self.berta.read(lambda tx: AccountDataRepository().find(tx, ALICE, NO_ROOM, f"n{number}"))
            is not None
        )

    def test_an_event_of_which_nobody_thought_waits_and_the_others_do_not(self) -> None:
        for number in range(3):
            event = HeldEvent("anna", ROOM, "11", False, b'{"n":%d}' % number)
            self.berta.commit(HoldEvent(event, "not yet", number, 0))
        retry = self.run_once()
        self.assertEqual(self.rooms.placed, [1, 2])  # type: ignore[attr-defined]
        self.assertEqual(retry.counts.events, 1)  # type: ignore[attr-defined]
        self.flushLoggedErrors()  # type: ignore[attr-defined]

    def test_a_record_that_cannot_be_written_waits_and_the_others_do_not(self) -> None:
        (theme,) = self.themes(1)
        self.berta.commit(HoldRecord(BAD, "not yet"), HoldRecord(theme, "not yet"))
        retry = self.run_once()
        self.assertTrue(self.has_theme(0))  # type: ignore[attr-defined]
        self.assertEqual(retry.counts.records, 1)  # type: ignore[attr-defined]

    def test_many_records_of_one_moment_are_all_tried(self) -> None:
        count = AT_ONCE + 5
        stuck = [
            Record(BAD.kind, (ALICE, f"s{number}"), BAD.value, Version(1, "anna")) for number in range(count)
        ]
        (theme,) = self.themes(1)
        last = Record(theme.kind, theme.key, theme.value, Version(1, "anna"))
        self.berta.commit(*(HoldRecord(record, "not yet") for record in (*stuck, last)))
        self.run_once()
        self.assertTrue(self.has_theme(0))  # type: ignore[attr-defined]
        self.assertEqual(self.berta.read(HeldBackRepository().count).records, count)  # type: ignore[attr-defined]


class SqliteRetryHeldTests(SqliteStorage, RetryHeldTests, SynchronousTestCase): ...


class PostgresRetryHeldTests(PostgresStorage, RetryHeldTests, SynchronousTestCase): ...
