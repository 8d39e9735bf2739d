"""What sites ask each other about duties: see `federation/sites/duties/votes.py`."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.services.sites.take_over import TakeOverDuties
from popcube_server.services.sites.vote_on_duties import VoteOnDuties

_LINK = "/_popcube/sites/v1/"


class SiteDutiesServlet:
    def __init__(self, votes: VoteOnDuties) -> None:
        self._votes = votes

    @endpoint("POST", _LINK + "leases", Access.SERVER)
    async def lease(self, call: Call) -> Mapping[str, Any]:
        vote = await self._votes.vote(call.origin, call.body)
        assert vote.sets is not None
        return {"granted": vote.is_granted, "epoch": vote.epoch, "sets": vote.sets.to_json()}

    @endpoint("POST", _LINK + "voters", Access.SERVER)
    async def voters(self, call: Call) -> Mapping[str, Any]:
        comparison = await self._votes.compare(call.body)
        return {"may_vote": comparison.may_vote, "sets": comparison.sets.to_json()}

    @endpoint("POST", _LINK + "releases", Access.SERVER)
    async def release(self, call: Call) -> Mapping[str, Any]:
        await self._votes.release(call.origin, call.body)
        return {}

    @endpoint("POST", _LINK + "decisions", Access.SERVER)
    async def decision(self, call: Call) -> Mapping[str, Any]:
        return await self._votes.decide(call.body)


class TakeOverServlet:
    """For this site's own operator."""

    def __init__(self, take_over: TakeOverDuties) -> None:
        self._take_over = take_over

    @endpoint("POST", _LINK + "take_over", Access.SERVER)
    async def take_over(self, call: Call) -> Mapping[str, Any]:
        taken = await self._take_over.take_over(call.origin)
        return {"duties": {one.duty: one.epoch for one in taken}}
