"""Specification module third-party invites: what identity servers and other servers say about them."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.services.federation.exchange_invites import AcceptBinding, ExchangeInvites
from popcube_server.services.rate_limits import RateLimiter


class ThirdPartyInvites:
    def __init__(self, exchange: ExchangeInvites, binding: AcceptBinding, limiter: RateLimiter) -> None:
        """`limiter` is by address of the client."""
        self._exchange = exchange
        self._binding = binding
        self._limiter = limiter

    @endpoint("PUT", "/_matrix/federation/v1/exchange_third_party_invite/{room_id}", Access.SERVER)
    async def exchange(self, call: Call) -> Mapping[str, Any]:
        await self._exchange.exchange(call.origin, call.path["room_id"], call.body)
        return {}

    @endpoint("PUT", "/_matrix/federation/v1/3pid/onbind", Access.OPEN)
    async def onbind(self, call: Call) -> Mapping[str, Any]:
        # Identity servers have no name to sign with: what they say is believed only as far as the room's keys go, and
        # nobody makes this server ask others more often than so.
        self._limiter.spend(call.client_address)
        await self._binding.bound(call.body)
        return {}
