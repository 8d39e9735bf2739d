"""The PDUs that other servers sent and that are not worked off yet.

Each server has a lane for each room. A lane is worked off in order; lanes do not wait for each other, so that a room in
which something has to be fetched holds up neither the server's other rooms nor other servers. Of one server at most
`LANES_AT_ONCE` lanes are worked on, one PDU, or one run of plain messages, of each in turn; in a room the servers take
turns, since each has at most one there that wants to be placed.

A PDU is `waiting`, then `staged` if its transaction was answered before it was done (it is on disk then, and tried
again if what it stands on cannot be had), then done. A restart goes on with what is staged.
"""

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import field
from itertools import islice, takewhile
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList

from federation.room_dag.canonical_json import decode_json
from popcube_server.services.errors import LimitExceeded
from popcube_server.services.federation.fair_shares import FairShares, ShareLimits
from popcube_server.services.federation.place_pdu import Fate, PlacePdu, Result
from popcube_server.services.platform import Platform, Timer
from storage.committer import CommitFailed, Committer
from storage.database import Database
from storage.engines.engine import StorageError
from storage.inbound_pdus import InboundPdu, InboundPdusRepository, StagePdu, UnstagePdu
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

ALL_PLACES = ShareLimits(total=20_000, most=1_000, least=50)
"""PDUs that wait, by server. Whoever has no place left is told to come back."""
PLACES_IN_ROOM = ShareLimits(total=2_000, most=500, least=50)
"""PDUs that wait for one room, by server. More are refused one by one: they are fetched when the room goes on."""
LANES_AT_ONCE = 20
MAX_RUN = 50
"""PDUs of a lane that follow each other and are plain messages are worked off in one turn."""
MAX_ATTEMPTS = 8
FIRST_PAUSE_S = 30.0
"""Before what could not be placed is tried again; each time twice as long, about an hour altogether."""
COME_BACK_MS = 5_000


class PduObserver(Protocol):
    """Counts (metrics)."""

    def pdu(self, fate: str) -> None: ...


@dataclass(slots=True, eq=False)
class Ticket:
    """One PDU in the queue. `json` and `pdu` are dropped once the PDU is on disk."""

    key: InboundPdu
    pdu: Any
    json: bytes
    is_behind: bool = False
    """Others of its lane were given up waiting for already."""
    is_staged: bool = False
    attempts: int = 0
    result: Result | None = None
    failure: Exception | None = None
    """The database failed: nothing is known."""
    _waiters: list["Deferred[None]"] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return self.result is not None or self.failure is not None

    @property
    def is_worth_waiting_for(self) -> bool:
        """Not if others waited for it, or for what is before it, and gave up."""
        return not (self.is_done or self.is_behind or self.is_staged)

    def wait(self) -> "Deferred[None]":
        """Fires once it is done; never fails."""
        waiter: Deferred[None] = Deferred()
        if self.is_done:
            waiter.callback(None)
        else:
            self._waiters.append(waiter)
        return waiter

    def finish(self, result: Result | None, failure: Exception | None = None) -> None:
        self.result, self.failure = result, failure
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)


@dataclass(slots=True, eq=False)
class _Lane:
    """What one server sent of one room."""

    origin: str
    room_id: str
    queue: deque[Ticket] = field(default_factory=deque)
    again: list[Ticket] = field(default_factory=list)
    """Those that could not be placed, until `timer`."""
    timer: Timer | None = None
    has_turn: bool = False
    staged: int = 0


@dataclass(slots=True, eq=False)
class _Origin:
    """One server's lanes that wait for their turn, and how many are worked on."""

    ready: deque[_Lane] = field(default_factory=deque)
    workers: int = 0


class InboundQueue:
    """A part: it goes on with what was left at the last stop."""

    def __init__(
        self,
        place: PlacePdu,
        database: Database,
        repository: InboundPdusRepository,
        committer: Committer,
        platform: Platform,
        observer: PduObserver,
    ) -> None:
        self._place = place
        self._database = database
        self._repository = repository
        self._committer = committer
        self._platform = platform
        self._observer = observer
        self._tickets: dict[InboundPdu, Ticket] = {}
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._origins: dict[str, _Origin] = {}
        self._places = FairShares(ALL_PLACES)
        self._rooms: dict[str, FairShares] = {}
        self._work: set[Deferred[None]] = set()
        self._place_number = 0
        self._is_stopping = False

    # Numbers

    @property
    def waiting(self) -> int:
        """PDUs in the queue."""
        return len(self._tickets)

    @property
    def staged(self) -> int:
        """Of these the ones that were answered already."""
        return sum(lane.staged for lane in self._lanes.values())

    @property
    def origins(self) -> int:
        """Servers that have PDUs in the queue."""
        return self._places.holders

    # Life

    def start(self) -> None:
        self._run(self._resume())

    async def stop(self) -> None:
        """Leave what is staged for the next start; what is not was not answered, and is sent again."""
        self._is_stopping = True
        for lane in self._lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()
                lane.timer = None
        work = list(self._work)
        for one in work:
            one.cancel()
        await DeferredList(work, consumeErrors=True)
        for ticket in list(self._tickets.values()):
            if not ticket.is_done:
                ticket.finish(None, CommitFailed("this server stops"))

    async def _resume(self) -> None:
        left = await self._database.read(lambda tx: self._repository.get_all(tx, ALL_PLACES.total))
        if left:
            logger.info("Going on with %d events of other servers", len(left))
        for key in left:
            if key not in self._tickets:
                self._add(Ticket(key, None, b"", is_staged=True))

    # What comes in

    def check_has_room(self, origin: str, count: int) -> None:
        """Raise `LimitExceeded` if the server has too much waiting already."""
        if not self._places.has_room(origin, count):
            raise LimitExceeded("Too many of your events are waiting.", COME_BACK_MS)

    def put(self, key: InboundPdu, pdu: Any, json: bytes) -> Ticket:
        """Queue a PDU, or find it there: the same server's same event is worked off once."""
        known = self._tickets.get(key)
        if known is not None:
            return known
        ticket = Ticket(key, pdu, json)
        room = self._rooms.get(key.room_id)
        if room is not None and not room.has_room(key.origin, 1):
            ticket.finish(Result(Fate.TOO_MANY, "Too many of your events of this room are waiting."))
            self._observer.pdu(Fate.TOO_MANY.value)
            return ticket
        self._add(ticket)
        return ticket

    def stage(self, tickets: Iterable[Ticket]) -> Sequence[StagePdu]:
        """What to commit so that these are worked off although nobody waits for them any more.

        Say afterwards with `keep` or `forget` whether it was committed.
        """
        changes = []
        now_ms = self._platform.now_ms()
        for ticket in tickets:
            # From now on: once it is done, the row is removed by a commit behind the one that writes it.
            self._mark(ticket, is_staged=True)
            if ticket.json:
                self._place_number += 1
                changes.append(StagePdu(ticket.key, ticket.json, now_ms, self._place_number))
        return changes

    def keep(self, tickets: Iterable[Ticket]) -> None:
        """They are on disk: memory need not hold them."""
        for ticket in tickets:
            ticket.pdu, ticket.json = None, b""

    def forget(self, tickets: Iterable[Ticket]) -> None:
        """They are not on disk."""
        for ticket in tickets:
            if ticket.json:
                self._mark(ticket, is_staged=False)

    def _mark(self, ticket: Ticket, *, is_staged: bool) -> None:
        lane = self._lanes.get((ticket.key.origin, ticket.key.room_id))
        if lane is not None and ticket.key in self._tickets and ticket.is_staged is not is_staged:
            lane.staged += 1 if is_staged else -1
        ticket.is_staged = is_staged

    def _add(self, ticket: Ticket) -> None:
        key = ticket.key
        lane = self._lanes.get((key.origin, key.room_id))
        if lane is None:
            lane = self._lanes[key.origin, key.room_id] = _Lane(key.origin, key.room_id)
        ticket.is_behind = lane.staged > 0
        lane.staged += ticket.is_staged
        self._tickets[key] = ticket
        self._places.take(key.origin, 1)
        self._rooms.setdefault(key.room_id, FairShares(PLACES_IN_ROOM)).take(key.origin, 1)
        lane.queue.append(ticket)
        self._give_turn(lane)

    # Working it off

    def _give_turn(self, lane: _Lane) -> None:
        if lane.has_turn or self._is_stopping:
            return
        lane.has_turn = True
        origin = self._origins.setdefault(lane.origin, _Origin())
        origin.ready.append(lane)
        if origin.workers < LANES_AT_ONCE:
            origin.workers += 1
            self._run(self._work_off(lane.origin, origin))

    async def _work_off(self, name: str, origin: _Origin) -> None:
        try:
            while origin.ready:
                lane = origin.ready.popleft()
                await self._take_next(lane)
                if lane.queue:
                    # One of each room in turn.
                    origin.ready.append(lane)
                else:
                    lane.has_turn = False
                    self._drop_if_empty(lane)
        finally:
            origin.workers -= 1
            if not origin.workers and not origin.ready:
                self._origins.pop(name, None)

    async def _take_next(self, lane: _Lane) -> None:
        if await self._take_run(lane):
            return
        ticket = lane.queue.popleft()
        try:
            result = await self._decide(ticket)
        except CancelledError:
            raise
        except (CommitFailed, StorageError) as error:
            self._failed(lane, ticket, error)
            return
        except Exception:
            # Whatever one PDU brings about must not keep the others from being worked off, nor come again and again.
            logger.exception("Receiving %s failed", ticket.key)
            result = Result(Fate.FAULT, "Internal server error.")
        if result.fate is Fate.UNPLACED and self._may_try_again(ticket):
            self._try_again(lane, ticket)
            return
        await self._finish(lane, ticket, result)

    async def _take_run(self, lane: _Lane) -> bool:
        """Whether the first ones could be worked off together."""
        run = [*takewhile(lambda ticket: ticket.pdu is not None, islice(lane.queue, MAX_RUN))]
        for _ in run:
            lane.queue.popleft()
        results: Sequence[Result] = ()
        try:
            pdus = [ticket.pdu for ticket in run]
            results = await self._place.place_run(lane.origin, lane.room_id, pdus) if run else ()
        except CancelledError:
            raise
        except (CommitFailed, StorageError) as error:
            logger.info("Events of %s are tried one by one: %s", lane.room_id, error)
        except Exception:
            logger.exception("Receiving events of %s together failed", lane.room_id)
        lane.queue.extendleft(reversed(run[len(results) :]))
        for ticket, result in zip(run, results, strict=False):
            await self._finish(lane, ticket, result)
        return bool(results)

    async def _decide(self, ticket: Ticket) -> Result:
        key = ticket.key
        pdu = ticket.pdu
        if pdu is None:
            json = await self._database.read(lambda tx: self._repository.find_pdu(tx, key))
            if json is None:
                return Result(Fate.KNOWN)
            pdu = decode_json(json)
        return await self._place.place(key.origin, key.room_id, pdu)

    def _failed(self, lane: _Lane, ticket: Ticket, error: Exception) -> None:
        if self._may_try_again(ticket):
            self._try_again(lane, ticket)
            return
        # What is staged stays on disk, for the next start.
        self._remove(lane, ticket)
        ticket.finish(None, error)

    def _may_try_again(self, ticket: Ticket) -> bool:
        # Nobody sends again what was answered with success.
        return ticket.is_staged and ticket.attempts + 1 < MAX_ATTEMPTS

    def _try_again(self, lane: _Lane, ticket: Ticket) -> None:
        pause_s = FIRST_PAUSE_S * 2**ticket.attempts
        ticket.attempts += 1
        lane.again.append(ticket)
        if lane.timer is None:
            lane.timer = self._platform.call_later(pause_s, lambda: self._resume_lane(lane))

    def _resume_lane(self, lane: _Lane) -> None:
        lane.timer = None
        # In front: what came later may stand on them.
        lane.queue.extendleft(reversed(lane.again))
        lane.again.clear()
        self._give_turn(lane)

    async def _finish(self, lane: _Lane, ticket: Ticket, result: Result) -> None:
        self._observer.pdu(result.fate.value)
        self._remove(lane, ticket)
        ticket.finish(result)
        if not ticket.is_staged:
            return
        if result.error is not None:
            logger.info("%s was answered, and is dropped: %s", ticket.key, result.error)
        try:
            await self._committer.commit(UnstagePdu(ticket.key))
        except CommitFailed as error:
            logger.warning("%s is done, and stays in the queue until the next start: %s", ticket.key, error)

    def _remove(self, lane: _Lane, ticket: Ticket) -> None:
        key = ticket.key
        del self._tickets[key]
        lane.staged -= ticket.is_staged
        self._places.give_back(key.origin, 1)
        room = self._rooms[key.room_id]
        room.give_back(key.origin, 1)
        if not room.used:
            del self._rooms[key.room_id]

    def _drop_if_empty(self, lane: _Lane) -> None:
        if not lane.queue and not lane.again:
            self._lanes.pop((lane.origin, lane.room_id), None)

    def _run(self, work: Any) -> None:
        running = Deferred.fromCoroutine(work)
        if running.called:
            running.addErrback(self._fault)
            return
        self._work.add(running)
        running.addErrback(self._fault)
        running.addBoth(lambda _: self._work.discard(running))

    def _fault(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            logger.error("Working off what other servers sent failed: %s", failure)
