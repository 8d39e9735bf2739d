"""Sites and witnesses that vote, each with a clock of its own, in a network that loses and delays what they say."""

import random
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from federation.sites.duties.decided_duty import DecidedDuty, Decisions
from federation.sites.duties.duty import Hold
from federation.sites.duties.known_voters import KnownVoters
from federation.sites.duties.leased_duty import DutyTime, LeasedDuty
from federation.sites.duties.shared_duty import SharedDuty
from federation.sites.duties.voter import Comparison, LeaseRequest, Vote, Voter
from federation.sites.duties.voter_sets import VoterSets
from federation.sites.peer import PeerUnreachable
from storage.duties import Decision
from storage.engines.sqlite import SqliteEngine
from tests.storage.replication.sites_case import StoredSite

T = TypeVar("T")

DUTY = "federation"
TERM_S = 10.0
GIVEN_UP_AFTER_S = 60.0


class DriftingClock:
    """Runs faster or slower than the true one."""

    def __init__(self, true: Clock, rate: float, began_s: float) -> None:
        self._true = true
        self._rate = rate
        self._began_s = began_s

    def seconds(self) -> float:
        return self._began_s + self._rate * self._true.seconds()

    def callLater(self, delay_s: float, function: Callable[..., Any], /, *arguments: Any) -> Any:
        return self._true.callLater(delay_s / self._rate, function, *arguments)


class Worker:
    """Notes whether the duty is had, as the work sees it."""

    def __init__(self) -> None:
        self.hold: Hold | None = None
        self.epochs: list[int] = []

    def gained(self, hold: Hold) -> None:
        assert self.hold is None
        self.hold = hold
        self.epochs.append(hold.epoch)

    def lost(self) -> None:
        assert self.hold is not None
        self.hold = None

    @property
    def is_at_work(self) -> bool:
        return self.hold is not None and self.hold.is_held()


class Node:
    """A voter; with `wants`, a site that wants the duty. What is on its disk outlives a restart."""

    def __init__(self, world: "World", name: str, wants: bool, rate: float) -> None:
        self._world = world
        self.name = name
        self._wants = wants
        self._clock = DriftingClock(world.clock, rate, world.chance.uniform(0, 1e6))
        self.stored = StoredSite(name, SqliteEngine(world.directory / f"{name}.db", 1, synchronous="OFF"))
        self.is_up = False
        self.wanted = frozenset(world.names)
        """Who the sites are by its configuration."""
        self.worker = Worker()
        self.life = 0

    def start(self) -> None:
        self.is_up = True
        self.life += 1
        self.worker = Worker()
        stored = self.stored
        known = KnownVoters(lambda: self.wanted, stored.database, stored.committer)
        self.voter = Voter(
            self.name,
            self.name,
            round(TERM_S * 1000),
            known,
            stored.database,
            stored.committer,
            self._clock.seconds,
        )
        self._decisions = Decisions(stored.database, stored.committer)
        self._duty: SharedDuty | None = None
        if self._wants:
            self._duty = SharedDuty(DUTY, self.name, self.voter, self._leased, self._decided, self._time())
            self._duty.start()

    async def learn(self, duty: str, decision: Decision | None) -> Decision | None:
        return await self._decisions.learn(duty, decision)

    def reload(self, wanted: frozenset[str]) -> None:
        """The operator changes who the sites are."""
        self.wanted = wanted
        if self._duty is not None:
            self._duty.peers_changed()

    def _time(self) -> DutyTime:
        return DutyTime(self._clock, self._clock.seconds, self._world.chance.random, TERM_S)

    def _peers(self) -> dict[str, "Wire"]:
        return {name: Wire(self._world, self.name, name) for name in sorted(self.wanted - {self.name})}

    def _leased(self, settled: Callable[[], None]) -> LeasedDuty:
        return LeasedDuty(DUTY, self.name, self.voter, self._peers(), self._time(), self.worker, settled)

    def _decided(self, since: int) -> DecidedDuty:
        sites = sorted(name for name in self.wanted if name.startswith("site"))
        return DecidedDuty(
            DUTY,
            self.name,
            self.name,
            sites[0],
            sites,
            since,
            self._decisions,
            self._peers(),
            self._time(),
            self.worker,
        )

    def crash(self) -> None:
        """Nothing is told to anybody."""
        self.is_up = False
        self.worker = Worker()
        shared, self._duty = self._duty, None
        if shared is not None:
            for duty in (shared, shared._present):
                if duty is None:
                    continue
                duty._is_stopped = True
                if not isinstance(duty, SharedDuty):
                    duty._lose()
                running, duty._running = duty._running, None
                if running is not None:
                    running.cancel()
                if isinstance(duty, LeasedDuty):
                    duty._give_up_rounds()

    def stop(self) -> None:
        """In peace: the others are told."""
        if self._duty is not None:
            Deferred.fromCoroutine(self._duty.stop())
            self._duty = None
        self.is_up = False


class Wire:
    """`AskVoter`: what one node says to another."""

    def __init__(self, world: "World", source: str, target: str) -> None:
        self._world = world
        self._source = source
        self._target = target

    async def vote(self, request: LeaseRequest) -> Vote:
        return await self._carry(lambda node: node.voter.vote(request))

    async def release(self, duty: str, epoch: int) -> None:
        await self._carry(lambda node: node.voter.release(duty, epoch, self._source))

    async def compare(self, duty: str, sets: VoterSets) -> Comparison:
        return await self._carry(lambda node: node.voter.compare(duty, sets))

    async def tell_decision(self, duty: str, decision: Decision | None) -> Decision | None:
        return await self._carry(lambda node: node.learn(duty, decision))

    async def _carry(self, ask: Callable[[Node], Coroutine[Any, Any, T]]) -> T:
        world = self._world
        await world.sleep(world.delay_s())
        # A site does not listen to what is none by its configuration.
        if not world.reaches(self._source, self._target) or not world.knows(self._target, self._source):
            await world.sleep(world.chance.choice((0.0, GIVEN_UP_AFTER_S)))
            raise PeerUnreachable("cut off")
        answer = await ask(world.nodes[self._target])
        await world.sleep(world.delay_s())
        # The answer may get lost although the request arrived.
        if not world.reaches(self._target, self._source):
            raise PeerUnreachable("cut off")
        return answer


class World:
    """True time, and who reaches whom."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        sites: int,
        witnesses: int,
        drift: float,
        first: Iterable[str] | None = None,
    ) -> None:
        """`first` are those that there are at the beginning; None: all."""
        self.directory = directory
        self.chance = random.Random(seed)
        self.clock = Clock()
        self.cut: set[frozenset[str]] = set()
        self.slowness_s = 0.05
        names = [f"site{number}" for number in range(sites)]
        names += [f"witness{number}" for number in range(witnesses)]
        self.names = set(names)
        self.nodes = {
            name: Node(self, name, name.startswith("site"), self.chance.uniform(1 - drift, 1 + drift))
            for name in names
        }
        self.present = frozenset(self.names if first is None else first)
        self.started = set(self.present)
        """Those that have ever been there."""
        for name in sorted(self.present):
            self.nodes[name].wanted = self.present
            self.nodes[name].start()

    def reaches(self, source: str, target: str) -> bool:
        return self.nodes[target].is_up and frozenset((source, target)) not in self.cut

    def knows(self, target: str, source: str) -> bool:
        return source in self.nodes[target].wanted

    def delay_s(self) -> float:
        return self.chance.uniform(0, self.slowness_s)

    async def sleep(self, delay_s: float) -> None:
        call: Any = None
        waiting: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self.clock.callLater(delay_s, waiting.callback, None)
        await waiting

    def holders(self) -> list[str]:
        """Who is at work now."""
        return [name for name, node in self.nodes.items() if node.worker.is_at_work]

    def close(self) -> None:
        for node in self.nodes.values():
            if node.is_up:
                node.crash()
            node.stored.database.close()
