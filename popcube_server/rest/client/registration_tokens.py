"""Specification module registration_tokens: whether a token would be accepted."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import query_string
from popcube_server.services.accounts.sign_up import SignUp
from popcube_server.services.auth.login_bans import address_key
from popcube_server.services.auth.registration_tokens import RegistrationTokens
from popcube_server.services.rate_limits import RateLimiter


class RegistrationTokenValidity:
    def __init__(self, tokens: RegistrationTokens, sign_up: SignUp, by_address: RateLimiter) -> None:
        self._tokens = tokens
        self._sign_up = sign_up
        self._by_address = by_address

    @endpoint("GET", "/_matrix/client/v1/register/m.login.registration_token/validity", Access.OPEN)
    async def validity(self, call: Call) -> Mapping[str, Any]:
        self._by_address.spend(address_key(call.client_address))
        token = query_string(call, "token")
        self._sign_up.check_enabled()
        return {"valid": await self._tokens.is_usable(token)}
