"""What sites ask of each other about duties, over the links' listener.

    POST /_popcube/sites/v1/leases       {"duty", "epoch", "holder", "term_ms", "voters", "sets"}
                                         -> {"granted", "epoch", "sets"}
    POST /_popcube/sites/v1/voters       {"duty", "sets"} -> {"may_vote", "sets"}
    POST /_popcube/sites/v1/releases     {"duty", "epoch", "holder"} -> {}
    POST /_popcube/sites/v1/decisions    {"duty", "epoch", "holder", "log"} -> the newest that is known there

A site asks for itself only: `holder` of a lease is whoever signed the request. `sets` is what a site knows of who
votes (`voter_sets.py`).
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from federation.sites.duties.voter import Comparison, LeaseRequest, Vote
from federation.sites.duties.voter_sets import VoterSets, parse_sets
from federation.sites.peer import PeerUnreachable
from federation.sites.site_client import LINK, SiteClient
from federation.transport.errors import FederationError
from storage.duties import Decision

MAX_TERM_MS: Final = 600_000


class AskVoter(Protocol):
    """Another site, or a witness. All raise `PeerUnreachable`."""

    async def vote(self, request: LeaseRequest) -> Vote: ...

    async def release(self, duty: str, epoch: int) -> None: ...

    async def compare(self, duty: str, sets: VoterSets) -> Comparison:
        """What is known here of who votes, for what is known there then."""

    async def tell_decision(self, duty: str, decision: Decision | None) -> Decision | None:
        """What is known here, for the newest that is known there then."""


class VoterClient:
    """`AskVoter` over a `SiteClient`."""

    def __init__(self, site: str, client: SiteClient) -> None:
        """`site` is this one's name."""
        self._site = site
        self._client = client

    async def vote(self, request: LeaseRequest) -> Vote:
        body = {
            "duty": request.duty,
            "epoch": request.epoch,
            "holder": request.holder,
            "term_ms": request.term_ms,
            "voters": sorted(request.voters),
            "sets": request.sets.to_json(),
        }
        answer = await self._ask("leases", body)
        epoch = answer.get("epoch")
        if not isinstance(epoch, int) or isinstance(epoch, bool):
            raise PeerUnreachable("the answer has no epoch")
        return Vote(answer.get("granted") is True, epoch, _sets(answer))

    async def compare(self, duty: str, sets: VoterSets) -> Comparison:
        answer = await self._ask("voters", {"duty": duty, "sets": sets.to_json()})
        return Comparison(answer.get("may_vote") is True, _sets(answer))

    async def release(self, duty: str, epoch: int) -> None:
        await self._ask("releases", {"duty": duty, "epoch": epoch, "holder": self._site})

    async def tell_decision(self, duty: str, decision: Decision | None) -> Decision | None:
        known = decision or NO_DECISION
        answer = await self._ask("decisions", {"duty": duty, **decision_json(known)})
        try:
            return parse_decision(answer)
        except ValueError as error:
            raise PeerUnreachable(str(error)) from None

    async def _ask(self, what: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return await self._client.post(self._client.peer, LINK + what, body)
        except FederationError as error:
            raise PeerUnreachable(str(error)) from error


def _sets(answer: Mapping[str, Any]) -> VoterSets:
    try:
        return parse_sets(answer.get("sets"))
    except ValueError as error:
        raise PeerUnreachable(str(error)) from None


NO_DECISION: Final = Decision(0, "", "")


def decision_json(decision: Decision) -> Mapping[str, Any]:
    return {"epoch": decision.epoch, "holder": decision.holder, "log": decision.log}


def parse_decision(body: Mapping[str, Any]) -> Decision | None:
    """None if nothing was decided yet. Raises ValueError."""
    epoch, holder, log = body.get("epoch"), body.get("holder"), body.get("log")
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
        raise ValueError("a decision has no epoch")
    if not isinstance(holder, str) or not isinstance(log, str):
        raise ValueError("a decision names no holder")
    return Decision(epoch, holder, log) if epoch else None
