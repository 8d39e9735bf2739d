"""Links carry a site's log to its peer: in order, once, over cuts and restarts."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from federation.sites.batch import Acknowledgement, InvalidBatch, LogName, ReceivedEvent, parse_batch
from federation.sites.checked_event import CheckedEvent
from federation.sites.link import (
    EMPTY_AFTER_S,
    LONGEST_PAUSE_S,
    SMALLEST_BYTES,
    LinkState,
    SiteLink,
)
from federation.sites.moments import Sleep
from federation.sites.peer import PeerCursor, PeerUnreachable
from federation.sites.pipeline import Placed
from federation.sites.read_batch import MAX_RECORDS, ReadBatch
from federation.sites.take_batch import PREDECESSOR_S, TakeBatch
from storage.account_data import NO_ROOM, AccountDataRepository, SetAccountData
from storage.committer import Committed, Committer
from storage.database import Waiter
from storage.engines.engine import StorageError, Unavailable
from storage.site_links import (
    KEPT_MARKS,
    THINNED,
    MoveSiteCursor,
    NotePeerKnows,
    SiteLinksRepository,
    ThinSiteMarks,
)
from storage.write_batch import Arrival
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"


class NoRooms:
    """These sites have no rooms."""

    async def check(self, site: str, received: Sequence[ReceivedEvent]) -> Sequence[CheckedEvent]:
        assert not received, "an event was sent"
        return ()

    def looked_up(self, events: Sequence[CheckedEvent]) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def place(self, site: str, placing: CheckedEvent) -> None:
        raise AssertionError("an event was sent")

    def take_placed(self, site: str) -> Placed:
        return Placed(())

    async def keep_unwritable(self, site: str, received: Sequence[ReceivedEvent], placed: Placed) -> None:
        raise AssertionError("an event was sent")


class OnceDeaf(TakeBatch):
    """Its database fails when the first batch begins."""

    calls = 0

    async def get_cursor(self, log: str) -> int:
        self.calls += 1
        if self.calls == 2:
            raise Unavailable("once")
        return await super().get_cursor(log)


class SlowCommits:
    """A committer of which the test says when it writes what arrives."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._waiting: list[tuple[Arrival, Waiter[Committed]]] = []
        self.together = committer.together
        self.submit = committer.submit

    def submit_arrival(self, arrival: Arrival) -> Waiter[Committed]:
        waiter: Waiter[Committed] = Waiter()
        self._waiting.append((arrival, waiter))
        return waiter

    def go_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for arrival, waiter in waiting:
            written = Deferred.fromCoroutine(self._committer.take_in(arrival))
            written.addCallbacks(waiter.succeed, lambda failure, waiter=waiter: waiter.fail(failure.value))


class Wire:
    """The way from one site to the other, which may be cut."""

    def __init__(self, origin: StoredSite, target: StoredSite, sleep: Sleep) -> None:
        self._origin = origin.name
        self._target = target.name
        self.take = TakeBatch(target.database, target.committer, target.apply, NoRooms(), sleep)
        self.is_cut = False
        self.loses_answers = False
        self.is_broken = False
        self.widest_bytes = 10**9
        self.batches: list[dict[str, Any]] = []

    async def get_cursor(self) -> PeerCursor:
        if self.is_cut:
            raise PeerUnreachable("cut")
        return PeerCursor(await self.take.get_cursor(self._origin), self._target)

    async def send(self, batch: bytes) -> Acknowledgement:
        if self.is_cut:
            raise PeerUnreachable("cut")
        if self.is_broken:
            raise AttributeError("of a library")
        if len(batch) > self.widest_bytes:
            raise PeerUnreachable("no answer in time")
        body = orjson.loads(batch)
        self.batches.append(body)
        try:
            acknowledgement = await self.take.take(parse_batch(body))
        except StorageError as error:
            raise PeerUnreachable(str(error)) from error
        if self.loses_answers:
            raise PeerUnreachable("the answer is lost")
        return acknowledgement


def theme(number: int, name: str = "theme") -> SetAccountData:
    return SetAccountData(ALICE, NO_ROOM, name, b'{"n":%d}' % number)


class LinkTests(SitesMixin):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.confirmed: list[int] = []
        self.wire, self.link = self.given_link(self.anna, self.berta)

    def given_link(self, origin: StoredSite, target: StoredSite) -> tuple[Wire, SiteLink]:
        wire = Wire(origin, target, self.sleep)
        link = SiteLink(
            target.name,
            wire,
            ReadBatch(LogName(origin.name, origin.name), origin.database, origin.exports),
            origin.log,
            origin.committer,
            self.sleep,
            lambda: int(self.clock.seconds() * 1000),
            lambda peer, position: self.confirmed.append(position),
        )
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(link.stop())))  # type: ignore[attr-defined]
        return wire, link

    async def sleep(self, delay_s: float) -> None:
        await deferLater(self.clock, delay_s)  # type: ignore[arg-type]

    def theme_at(self, site: StoredSite, name: str = "theme") -> bytes | None:
        row = site.read(lambda tx: AccountDataRepository().find(tx, ALICE, NO_ROOM, name))
        return None if row is None else bytes(row.content)

    def test_what_is_written_travels_at_once(self) -> None:
        self.link.start()
        self.anna.commit(theme(1))
        self.assertEqual(self.theme_at(self.berta), b'{"n":1}')
        self.assertEqual(self.confirmed[-1], self.anna.log.position)
        self.assertIs(self.link.progress.state, LinkState.IDLE)

    def test_what_was_written_before_the_start_travels_too(self) -> None:
        self.anna.commit(theme(1))
        self.link.start()
        self.assertEqual(self.theme_at(self.berta), b'{"n":1}')

    def test_a_cut_is_made_up_for(self) -> None:
        self.link.start()
        self.wire.is_cut = True
        self.anna.commit(theme(1))
        self.assertIs(self.link.progress.state, LinkState.WAITING)
        self.assertEqual(self.link.progress.backlog, 1)
        self.clock.advance(0.1)
        self.assertEqual(self.link.progress.lag_ms, 100)
        self.wire.is_cut = False
        self.clock.advance(1)
        self.assertEqual(self.theme_at(self.berta), b'{"n":1}')
        self.assertEqual((self.link.progress.backlog, self.link.progress.lag_ms), (0, 0))

    def test_a_peer_that_calls_is_tried_at_once(self) -> None:
        self.link.start()
        self.wire.is_cut = True
        self.anna.commit(theme(1))
        self.wire.is_cut = False
        self.link.try_now()
        self.assertEqual(self.theme_at(self.berta), b'{"n":1}')

    def test_nothing_that_was_confirmed_is_sent_again(self) -> None:
        self.link.start()
        self.wire.loses_answers = True
        self.anna.commit(theme(1))
        self.wire.loses_answers = False
        self.clock.advance(1)
        self.anna.commit(theme(2))
        self.assertEqual([(batch["after"], batch["upto"]) for batch in self.wire.batches], [(0, 1), (1, 2)])

    def test_a_long_backlog_goes_in_pieces(self) -> None:
        count = MAX_RECORDS + 10
        for number in range(count):
            self.anna.commit(theme(number, f"n{number}"))
        self.link.start()
        self.assertEqual([len(batch["records"]) for batch in self.wire.batches], [MAX_RECORDS, 10])
        self.assertEqual(self.theme_at(self.berta, f"n{count - 1}"), b'{"n":%d}' % (count - 1))

    def test_a_peer_that_is_too_slow_gets_less_at_a_time(self) -> None:
        count = 400
        for number in range(count):
            self.anna.commit(theme(number, f"n{number}"))
        self.wire.widest_bytes = SMALLEST_BYTES + 1000
        self.link.start()
        for _ in range(20):
            self.clock.advance(LONGEST_PAUSE_S)
        self.assertEqual(self.theme_at(self.berta, f"n{count - 1}"), b'{"n":%d}' % (count - 1))
        self.assertEqual(self.link.progress.backlog, 0)
        self.assertGreater(len(self.wire.batches), 2)

    def test_what_nobody_thought_of_does_not_end_the_link(self) -> None:
        self.link.start()
        self.wire.is_broken = True
        self.anna.commit(theme(1))
        self.wire.is_broken = False
        self.clock.advance(1)
        self.assertEqual(self.theme_at(self.berta), b'{"n":1}')

    def test_two_links_do_not_talk_for_ever(self) -> None:
        back_wire, back = self.given_link(self.berta, self.anna)
        self.link.start()
        back.start()
        self.anna.commit(theme(1))
        self.berta.commit(theme(2, "other"))
        for _ in range(10):
            self.clock.advance(EMPTY_AFTER_S)
        self.assertLessEqual(len(self.wire.batches), 3)
        self.assertLessEqual(len(back_wire.batches), 3)
        self.assertEqual(self.link.progress.backlog, 0)
        self.assertEqual(back.progress.backlog, 0)

    def test_a_batch_that_leaves_something_out_is_refused(self) -> None:
        self.anna.commit(theme(1))
        self.anna.commit(theme(2, "other"))
        with self.assertRaises(InvalidBatch):  # type: ignore[attr-defined]
            self.send_directly(
                {"site": "anna", "log": "anna", "after": 1, "upto": 2, "seen": 0, "events": [], "records": []}
            )

    def test_a_database_that_does_not_answer_once_does_not_end_the_line(self) -> None:
        self.wire.take = OnceDeaf(
            self.berta.database, self.berta.committer, self.berta.apply, NoRooms(), self.sleep
        )
        self.link.start()
        self.anna.commit(theme(1))
        self.clock.advance(1)
        self.assertEqual(self.theme_at(self.berta), b'{"n":1}')

    def test_a_batch_that_failed_beside_one_that_did_not_holds_up_nothing(self) -> None:
        slow = SlowCommits(self.berta.committer)
        self.wire.take._committer = slow  # type: ignore[assignment]
        first = self.begin(0, 1)
        # The second one fails for want of the one before, while the first one is on its way to the disk.
        second = self.begin(5, 6)
        self.clock.advance(PREDECESSOR_S)
        self.failureResultOf(second, InvalidBatch)  # type: ignore[attr-defined]
        third = self.begin(1, 2)
        slow.go_on()
        self.successResultOf(first)  # type: ignore[attr-defined]
        slow.go_on()
        self.successResultOf(third)  # type: ignore[attr-defined]

    def begin(self, after: int, upto: int) -> "Deferred[Acknowledgement]":
        body = {"site": "anna", "log": "anna", "after": after, "upto": upto, "seen": 0}
        return Deferred.fromCoroutine(self.wire.take.take(parse_batch({**body, "events": [], "records": []})))

    def send_directly(self, body: dict[str, Any]) -> None:
        work = Deferred.fromCoroutine(self.wire.send(orjson.dumps(body)))
        failures: list[Any] = []
        work.addErrback(failures.append)
        self.clock.advance(PREDECESSOR_S)
        if failures:
            failures[0].raiseException()

    def test_a_token_of_the_peer_is_found_in_the_own_log(self) -> None:
        _, back = self.given_link(self.berta, self.anna)
        self.link.start()
        back.start()
        self.berta.commit(theme(1, "own"))
        own = self.berta.log.position
        self.anna.commit(theme(1))
        their = self.anna.log.position
        taken_in = self.berta.log.position
        self.berta.commit(theme(2, "later"))
        links = SiteLinksRepository()
        floor = self.berta.read(lambda tx: links.find_floor(tx, "anna", their))
        ceiling = self.berta.read(lambda tx: links.find_ceiling(tx, "anna", their))
        assert floor is not None
        # Whoever was at `their` has seen what was berta's own, and not what came later.
        self.assertGreaterEqual(floor, own)
        self.assertLessEqual(floor, taken_in)
        self.assertEqual(ceiling, taken_in)
        self.assertIsNone(self.berta.read(lambda tx: links.find_ceiling(tx, "anna", 1000)))

    def test_old_marks_are_thinned_and_tokens_still_find_a_place(self) -> None:
        count = KEPT_MARKS + 3 * THINNED
        marks = [NotePeerKnows("anna", position, position) for position in range(1, count + 1)]
        self.berta.commit(MoveSiteCursor("anna", count, 0), *marks)
        self.berta.commit(ThinSiteMarks())
        links = SiteLinksRepository()
        kept = self.berta.read(lambda tx: tx.value("SELECT COUNT(*) FROM site_knowledge"))
        self.assertLess(kept, KEPT_MARKS + 2 * THINNED)
        floor = self.berta.read(lambda tx: links.find_floor(tx, "anna", 2 * THINNED + 50))
        assert floor is not None
        self.assertLessEqual(floor, 2 * THINNED + 50)
        self.assertGreaterEqual(floor, THINNED)


class SqliteLinkTests(SqliteStorage, LinkTests, SynchronousTestCase): ...


class PostgresLinkTests(PostgresStorage, LinkTests, SynchronousTestCase): ...
