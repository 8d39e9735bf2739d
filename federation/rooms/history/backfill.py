"""Fill holes in rooms' timelines with what other servers have.

Source: server-server API, "Backfilling and retrieving missing events". One request is under way per room. Where servers
have nothing more, or do not answer, nobody is asked again for a while: how often clients look makes no difference.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine
from dataclasses import field
from enum import Enum
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredLock

from federation.coalescing import Coalescing
from federation.rooms.event_store import EventStore
from federation.rooms.history.choose_servers import choose_servers
from federation.rooms.history.patience import Patience
from federation.rooms.history.place_history import PlaceHistory
from federation.rooms.history.room_holes import RoomHoles
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.receiving.check_pdu import CheckPdus
from federation.rooms.receiving.fetch_missing import StateUnavailable
from federation.rooms.receiving.remote import MAX_BACKFILL, AskServers
from federation.transport.errors import FederationError, HttpRefusal, InvalidAnswer
from storage.change import Change
from storage.committer import CommitFailed, Committer
from storage.events import OUTLIER
from storage.gaps import CloseGap, Hole
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_SERVERS = 5
"""Asked one after the other before a hole is left alone for a while."""
SERVER_TIMEOUT_S = 15.0
AROUND = 20
"""Events that come along with one that is asked for by itself."""
MAX_WANTED = 20
"""Events that one request begins at."""
FIRST_REST_S = 30.0
LONGEST_REST_S = 3600.0
REMEMBERED = 10_000
"""Holes that rest, and rooms of which it is known who helped."""


class Filled(Enum):
    """What became of a hole."""

    MORE = "more"
    """It is another one now, or none: look again."""
    NOTHING = "nothing"
    """Every server that was asked has nothing to put there."""
    UNREACHABLE = "unreachable"
    """Somebody who may have it did not answer."""


@dataclass(slots=True)
class _Rest:
    """Why a hole is left alone, and how long."""

    until_s: float
    outcome: Filled
    length_s: float
    tried: set[str] = field(default_factory=set)
    """Who could not help: the next time, others come first."""


_HoleKey = tuple[str, int]


class Backfill:
    """Asks for what is missing right below a place."""

    def __init__(
        self,
        rooms: LiveRooms,
        events: EventStore,
        holes: RoomHoles,
        ask: AskServers,
        check: CheckPdus,
        place: PlaceHistory,
        patience: Patience,
        committer: Committer,
        clock: Any,
        server_name: str,
    ) -> None:
        """`clock` is twisted's IReactorTime."""
        self._rooms = rooms
        self._events = events
        self._holes = holes
        self._ask = ask
        self._check = check
        self._place = place
        self._patience = patience
        self._committer = committer
        self._clock = clock
        self._server_name = server_name
        self._under_way: Coalescing[_HoleKey, Filled] = Coalescing()
        self._locks: dict[str, DeferredLock] = {}
        self._rests: OrderedDict[_HoleKey, _Rest] = OrderedDict()
        self._helped: OrderedDict[str, str] = OrderedDict()
        self._runs: set[Deferred[Any]] = set()

    def start(self) -> None:
        return

    async def stop(self) -> None:
        """Give up what waits for others, and wait for what is being stored."""
        self._patience.end()
        await DeferredList(list(self._runs), consumeErrors=True)

    async def fill(self, room_id: str, place: int) -> Filled:
        """Put up to `MAX_BACKFILL` events into the hole at a place. Goes on when who waits for it gives up.

        What goes wrong with other servers is in the answer; raises `CommitFailed`.
        """
        rest = self._rests.get((room_id, place))
        if rest is not None and self._clock.seconds() < rest.until_s:
            return rest.outcome
        return await self._under_way.run(
            (room_id, place), lambda: self._tracked(room_id, lambda: self._once(room_id, place))
        )

    async def reach(self, server: str, room_id: str, event_id: str) -> bool:
        """Whether an event that a server named is part of the room's timeline now, with some of what is before it.

        What goes wrong with the other server is a no; raises `CommitFailed`.
        """
        return await self._tracked(room_id, lambda: self._reach(server, room_id, event_id))

    async def _reach(self, server: str, room_id: str, event_id: str) -> bool:
        stored = await self._events.find(event_id)
        if stored is not None and not stored.flags & OUTLIER:
            return stored.event.room_id == room_id
        try:
            rules = (await self._rooms.get(room_id)).rules
            pdus = await self._patience.wait(
                self._ask.backfill(server, room_id, [event_id], AROUND), SERVER_TIMEOUT_S
            )
            given = await self._patience.wait(self._check.check_many(pdus, rules, room_id), SERVER_TIMEOUT_S)
            event = given.get(event_id)
            return event is not None and await self._place.place_apart(server, rules, event, given)
        except (FederationError, StateUnavailable, UnknownRoom, CancelledError) as error:
            logger.info("No history of %s from %s: %s", room_id, server, error)
            return False

    async def _tracked(self, room_id: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        run = Deferred.fromCoroutine(self._locked(room_id, work))
        self._runs.add(run)
        try:
            return await run
        finally:
            self._runs.discard(run)

    async def _locked(self, room_id: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        # Two holes of a room may be after the same events.
        lock = self._locks.setdefault(room_id, DeferredLock())
        await lock.acquire()
        try:
            return await work()
        finally:
            lock.release()
            if not lock.locked:
                self._locks.pop(room_id, None)

    async def _once(self, room_id: str, place: int) -> Filled:
        hole = next((each for each in await self._holes.of(room_id) if each.place == place), None)
        if hole is None:
            return Filled.MORE
        wanted = await self._place.missing(hole)
        if not wanted:
            # All of it came by itself.
            closed: list[Change] = [CloseGap(room_id, event_id) for event_id in hole.gaps]
            await self._committer.commit(*closed)
            return Filled.MORE
        rest = self._rests.get((room_id, place))
        tried = set() if rest is None else rest.tried
        outcome = await self._ask_servers(room_id, hole, wanted[:MAX_WANTED], tried)
        if outcome is Filled.MORE:
            self._rests.pop((room_id, place), None)
        else:
            self._leave_alone((room_id, place), outcome, tried)
        return outcome

    async def _ask_servers(
        self, room_id: str, hole: Hole, wanted: Collection[str], tried: set[str]
    ) -> Filled:
        servers = await self._servers(room_id, hole, tried)
        if tried.issuperset(servers):
            tried.clear()
        outcome = Filled.NOTHING
        for server in servers[:MAX_SERVERS]:
            if self._patience.is_over:
                return Filled.UNREACHABLE
            try:
                if await self._try(server, room_id, hole, wanted):
                    self._remember_help(room_id, server)
                    return Filled.MORE
            except (HttpRefusal, InvalidAnswer, StateUnavailable) as error:
                logger.info("No history of %s: %s", room_id, error)
                if isinstance(error, HttpRefusal) and error.status >= 500:
                    outcome = Filled.UNREACHABLE
            except (FederationError, CancelledError) as error:
                logger.info("No history of %s from %s: %s", room_id, server, error)
                outcome = Filled.UNREACHABLE
            tried.add(server)
        return Filled.UNREACHABLE if len(servers) > MAX_SERVERS else outcome

    async def _try(self, server: str, room_id: str, hole: Hole, wanted: Collection[str]) -> bool:
        try:
            rules = (await self._rooms.get(room_id)).rules
        except UnknownRoom:
            return False
        pdus = await self._patience.wait(
            self._ask.backfill(server, room_id, list(wanted), MAX_BACKFILL), SERVER_TIMEOUT_S
        )
        given = await self._patience.wait(self._check.check_many(pdus, rules, room_id), SERVER_TIMEOUT_S)
        try:
            return await self._place.place(server, rules, room_id, hole, given)
        except CommitFailed:
            # Most likely one of the events was stored by somebody else in this moment: all of it is looked at again.
            logger.info("History of %s was not stored", room_id, exc_info=True)
            return False

    async def _servers(self, room_id: str, hole: Hole, tried: Collection[str]) -> list[str]:
        try:
            members = (await self._rooms.get(room_id)).committed.servers
        except UnknownRoom:
            return []
        children = await self._events.get_many(hole.gaps)
        senders = [child.event.sender for child in children.values()]
        return choose_servers(room_id, members, senders, self._helped.get(room_id), tried, self._server_name)

    def _leave_alone(self, key: _HoleKey, outcome: Filled, tried: set[str]) -> None:
        known = self._rests.pop(key, None)
        length_s = FIRST_REST_S if known is None else min(2 * known.length_s, LONGEST_REST_S)
        self._rests[key] = _Rest(self._clock.seconds() + length_s, outcome, length_s, tried)
        if len(self._rests) > REMEMBERED:
            self._rests.popitem(last=False)

    def _remember_help(self, room_id: str, server: str) -> None:
        self._helped[room_id] = server
        self._helped.move_to_end(room_id)
        if len(self._helped) > REMEMBERED:
            self._helped.popitem(last=False)
