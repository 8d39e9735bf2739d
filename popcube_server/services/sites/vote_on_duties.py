"""What other sites ask about duties: votes, and who has what where nobody can vote."""

from collections.abc import Mapping
from typing import Any

from federation.sites.duties.decided_duty import Decisions
from federation.sites.duties.voter import Comparison, LeaseRequest, Vote, Voter
from federation.sites.duties.voter_sets import parse_sets, parse_voters
from federation.sites.duties.votes import MAX_TERM_MS, NO_DECISION, decision_json, parse_decision
from popcube_server.services.errors import BadJson, InvalidParam, NotAllowed

MAX_NAME_LENGTH = 100


class VoteOnDuties:
    def __init__(self, voter: Voter, decisions: Decisions) -> None:
        self._voter = voter
        self._decisions = decisions

    async def vote(self, site: str, body: Mapping[str, Any]) -> Vote:
        """On disk when it returns. Raises refusals."""
        duty, epoch = _checked(site, body)
        term_ms = body.get("term_ms")
        if not isinstance(term_ms, int) or isinstance(term_ms, bool) or not 0 < term_ms <= MAX_TERM_MS:
            raise InvalidParam(f"'term_ms' must be a number up to {MAX_TERM_MS}.")
        try:
            voters, sets = parse_voters(body.get("voters")), parse_sets(body.get("sets"))
        except ValueError as error:
            raise BadJson(str(error)) from None
        return await self._voter.vote(LeaseRequest(duty, epoch, site, term_ms, voters, sets))

    async def compare(self, body: Mapping[str, Any]) -> Comparison:
        """A site tells what it knows of who votes; what is known here then. Raises refusals."""
        duty = _duty(body)
        try:
            sets = parse_sets(body.get("sets"))
        except ValueError as error:
            raise BadJson(str(error)) from None
        return await self._voter.compare(duty, sets)

    async def release(self, site: str, body: Mapping[str, Any]) -> None:
        duty, epoch = _checked(site, body)
        await self._voter.release(duty, epoch, site)

    async def decide(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """A site tells what it knows to be decided; the newest decision that is known here then."""
        duty = _duty(body)
        try:
            decision = parse_decision(body)
        except ValueError as error:
            raise BadJson(str(error)) from None
        return decision_json(await self._decisions.learn(duty, decision) or NO_DECISION)


def _checked(site: str, body: Mapping[str, Any]) -> tuple[str, int]:
    epoch = body.get("epoch")
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 1:
        raise InvalidParam("'epoch' must be a positive number.")
    if body.get("holder") != site:
        raise NotAllowed("A site asks for itself only.")
    return _duty(body), epoch


def _duty(body: Mapping[str, Any]) -> str:
    duty = body.get("duty")
    if not isinstance(duty, str) or not 0 < len(duty) <= MAX_NAME_LENGTH:
        raise InvalidParam("'duty' must be a name.")
    return duty
