"""One round of voting: all peers are asked at once, and the answer is known once enough have answered."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred

from federation.sites.duties.voter import LeaseRequest, Vote
from federation.sites.duties.voter_sets import VoterSets
from federation.sites.duties.votes import AskVoter
from federation.sites.peer import PeerUnreachable

logger = logging.getLogger(__name__)


IsEnough = Callable[[frozenset[str], VoterSets], bool]
"""Whether these are enough votes, by what is known of who votes."""


class Clock(Protocol):
    """Part of twisted's IReactorTime."""

    def callLater(self, delay_s: float, function: Any, /, *arguments: Any) -> Any: ...  # noqa: N802


class Round:
    """Asks for votes. Those that come late still come: a vote keeps others from the lease."""

    def __init__(self, peers: Mapping[str, AskVoter], clock: Clock, patience_s: float) -> None:
        self._peers = peers
        self._clock = clock
        self._patience_s = patience_s
        self._asking: set[Deferred[None]] = set()
        self._granted: frozenset[str] = frozenset()
        self._open: frozenset[str] = frozenset(peers)
        self._is_enough: IsEnough = _never
        self._timer: Any = None
        self._decided: Deferred[bool] = Deferred()
        self.highest_epoch = 0
        """Of all answers that came so far."""
        self.heard: VoterSets | None = None
        """What all who answered so far know of who votes."""

    async def ask(self, request: LeaseRequest, is_enough: IsEnough) -> bool:
        """Whether enough voted for the request in time; whoever asks has voted for itself."""
        self._granted = frozenset((request.holder,))
        self.heard = request.sets
        self._is_enough = is_enough
        self._timer = self._clock.callLater(self._patience_s, self.give_up)
        for name, peer in self._peers.items():
            self._begin(self._ask(name, peer, request))
        self._look()
        return await self._decided

    def give_up(self) -> None:
        """Wait for nobody any more."""
        for asking in tuple(self._asking):
            asking.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        asking = Deferred.fromCoroutine(work)
        self._asking.add(asking)
        asking.addErrback(lambda failure: logger.error("A vote could not be asked for: %s", failure))
        asking.addCallback(lambda _: self._ended(asking))

    def _ended(self, asking: "Deferred[None]") -> None:
        self._asking.discard(asking)
        if not self._asking and self._timer.active():
            self._timer.cancel()
        self._look()

    async def _ask(self, name: str, peer: AskVoter, request: LeaseRequest) -> None:
        try:
            vote = await peer.vote(request)
        except (PeerUnreachable, CancelledError):
            vote = Vote(False, 0)
        self.highest_epoch = max(self.highest_epoch, vote.epoch)
        if vote.sets is not None and self.heard is not None:
            self.heard = self.heard.heard(vote.sets)
        self._open -= {name}
        if vote.is_granted:
            self._granted |= {name}

    def _look(self) -> None:
        if self._decided.called or self.heard is None:
            return
        if self._is_enough(self._granted, self.heard):
            self._decided.callback(True)
        elif not self._is_enough(self._granted | self._open, self.heard):
            self._decided.callback(False)


def _never(names: frozenset[str], heard: VoterSets) -> bool:
    return False
