"""Links on which batches are lost, come twice, late or out of order, between sites that begin again at any moment.

At every moment: what the cursor says is here, is here; and what the sender was told is on disk, is on disk.
"""

import random

import orjson
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from federation.sites.batch import Acknowledgement, LogName, parse_batch
from federation.sites.link import LONGEST_PAUSE_S, SiteLink
from federation.sites.peer import PeerCursor, PeerUnreachable
from federation.sites.read_batch import ReadBatch
from federation.sites.take_batch import TakeBatch
from storage.account_data import NO_ROOM, AccountDataRepository, SetAccountData
from storage.site_links import SiteLinksRepository
from tests.federation.sites.test_link import NoRooms
from tests.storage.replication.sites_case import SitesMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"
NAMES = 12
SMALL_BATCH_BYTES = 600
STEPS = 120


class RoughWire:
    """Batches wait here until the test says what becomes of them."""

    def __init__(self, chance: random.Random, take: TakeBatch) -> None:
        self._chance = chance
        self.take = take
        self.is_fair = False
        self._waiting: list[tuple[bytes, Deferred[Acknowledgement]]] = []
        self._old: list[bytes] = []

    async def get_cursor(self) -> PeerCursor:
        if not self.is_fair and self._chance.random() < 0.2:
            raise PeerUnreachable("cut")
        return PeerCursor(await self.take.get_cursor("anna"), "berta")

    async def send(self, batch: bytes) -> Acknowledgement:
        if self.is_fair:
            return await self.take.take(parse_batch(orjson.loads(batch)))
        answer: Deferred[Acknowledgement] = Deferred()
        self._waiting.append((batch, answer))
        return await answer

    def become_fair(self) -> None:
        self.is_fair = True
        while self._waiting:
            _lose(self._waiting.pop()[1])

    def something_happens(self) -> None:
        """To one of the batches that are under way."""
        if not self._waiting:
            return
        batch, answer = self._waiting.pop(self._chance.randrange(len(self._waiting)))
        self._old.append(batch)
        what = self._chance.random()
        if what < 0.15:
            _lose(answer)
            return
        taking = self._deliver(batch)
        if what < 0.3:
            taking.addErrback(lambda failure: None)
            _lose(answer)
            return
        if what < 0.5:
            self._deliver(self._chance.choice(self._old)).addErrback(lambda failure: None)
        taking.addCallbacks(
            lambda acknowledged: None if answer.called else answer.callback(acknowledged),
            lambda failure: _lose(answer),
        )

    def _deliver(self, batch: bytes) -> "Deferred[Acknowledgement]":
        return ensureDeferred(self.take.take(parse_batch(orjson.loads(batch))))


def _lose(answer: "Deferred[Acknowledgement]") -> None:
    if not answer.called:
        answer.errback(PeerUnreachable("lost"))


class RoughLinkTests(SitesMixin):
    rounds = 30

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.told = 0
        self.missing: list[tuple[int, str, int]] = []
        """(position, name, what was said to be safe) of what berta did not have then."""
        self.written: list[tuple[int, str, int]] = []
        """(position, name, number) at anna."""

    async def sleep(self, delay_s: float) -> None:
        await deferLater(self.clock, delay_s)  # type: ignore[arg-type]

    def new_take(self) -> TakeBatch:
        site = self.berta
        return TakeBatch(site.database, site.committer, site.apply, NoRooms(), self.sleep)

    def new_link(self, wire: RoughWire) -> SiteLink:
        site = self.anna
        link = SiteLink(
            "berta",
            wire,
            ReadBatch(LogName("anna", "anna"), site.database, site.exports),
            site.log,
            site.committer,
            self.sleep,
            lambda: int(self.clock.seconds() * 1000),
            self.hear,
        )
        link._max_bytes = SMALL_BATCH_BYTES
        return link

    def hear(self, peer: str, position: int) -> None:
        self.told = max(self.told, position)
        for written_at, name, number in self.written:
            # Something newer will do.
            if written_at <= position and (self.number_at_berta(name) or 0) < number:
                self.missing.append((written_at, name, position))

    def check_berta(self) -> None:
        self.assertEqual(self.missing, [])  # type: ignore[attr-defined]
        cursor = self.berta.read(lambda tx: SiteLinksRepository().get_cursor(tx, "anna"))
        self.assertGreaterEqual(cursor, self.told)  # type: ignore[attr-defined]
        newest = {name: (position, number) for position, name, number in self.written}
        for name, (position, number) in newest.items():
            # What was written again since travels with its new value, at its new position.
            if position <= cursor:
                self.assertEqual(self.number_at_berta(name), number)  # type: ignore[attr-defined]

    def number_at_berta(self, name: str) -> int | None:
        row = self.berta.read(lambda tx: AccountDataRepository().find(tx, ALICE, NO_ROOM, name))
        return None if row is None else int(orjson.loads(row.content)["n"])

    def write(self, chance: random.Random) -> None:
        name, number = f"n{chance.randrange(NAMES)}", len(self.written)
        committed = self.anna.commit(SetAccountData(ALICE, NO_ROOM, name, b'{"n":%d}' % number))
        self.written.append((committed.position, name, number))

    def test_whatever_happens_on_the_way_nothing_is_skipped(self) -> None:
        for seed in range(self.rounds):
            chance = random.Random(seed)
            wire = RoughWire(chance, self.new_take())
            link = self.new_link(wire)
            link.start()
            for _ in range(STEPS):
                what = chance.random()
                if what < 0.35:
                    self.write(chance)
                elif what < 0.8:
                    wire.something_happens()
                elif what < 0.9:
                    self.clock.advance(chance.choice((0.02, 0.5, 5.0)))
                elif what < 0.95:
                    # Berta begins again: what she had in memory is gone.
                    wire.take = self.new_take()
                else:
                    self.stop(link)
                    link = self.new_link(wire)
                    link.start()
                self.check_berta()
            wire.become_fair()
            for _ in range(4):
                self.clock.advance(LONGEST_PAUSE_S)
            self.assertEqual(self.told, self.anna.log.position)  # type: ignore[attr-defined]
            self.assertEqual(self.berta.all_values(), self.anna.all_values())  # type: ignore[attr-defined]
            self.stop(link)

    def stop(self, link: SiteLink) -> None:
        self.successResultOf(ensureDeferred(link.stop()))  # type: ignore[attr-defined]


class SqliteRoughLinkTests(SqliteStorage, RoughLinkTests, SynchronousTestCase): ...


class PostgresRoughLinkTests(PostgresStorage, RoughLinkTests, SynchronousTestCase):
    rounds = 3
