"""Specification module account registration: register, and whether a name is free."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.client.device_choice import parse_device_choice, tokens_answer
from popcube_server.rest.client.user_interactive_auth import without_auth
from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import find_object, find_string, get_bool, query_choice, query_string
from popcube_server.services.accounts.sign_up import SignUp, Wanted
from popcube_server.services.auth.interactive_auth import InteractiveAuth
from popcube_server.services.auth.login_bans import address_key
from popcube_server.services.rate_limits import RateLimiter


class Register:
    def __init__(
        self,
        server_name: str,
        interactive_auth: InteractiveAuth,
        sign_up: SignUp,
        name_checks: RateLimiter,
    ) -> None:
        self._interactive_auth = interactive_auth
        self._server_name = server_name
        self._sign_up = sign_up
        self._name_checks = name_checks

    @endpoint("POST", "/_matrix/client/v3/register", Access.OPEN)
    async def register(self, call: Call) -> Mapping[str, Any]:
        kind = query_choice(call, "kind", ("user", "guest"))
        if kind == "guest":
            device = parse_device_choice(call.body)
            tokens = await self._sign_up.register_guest(device, call.client_address)
            return tokens_answer(tokens, self._server_name)
        body = self._interactive_auth.remembered(call.body)
        wanted = Wanted(
            name=find_string(body, "username"),
            password=find_string(body, "password"),
            device=parse_device_choice(body),
            inhibit_login=get_bool(body, "inhibit_login", False),
            auth=find_object(body, "auth"),
            parameters=without_auth(body),
        )
        user_id, started = await self._sign_up.register(wanted, call.endpoint_name, call.client_address)
        if started is None:
            return {"user_id": user_id, "home_server": self._server_name}
        return tokens_answer(started, self._server_name)

    @endpoint("GET", "/_matrix/client/v3/register/available", Access.OPEN)
    async def available(self, call: Call) -> Mapping[str, Any]:
        self._name_checks.spend(address_key(call.client_address))
        name = query_string(call, "username")
        await self._sign_up.check_name(name)
        return {"available": True}
