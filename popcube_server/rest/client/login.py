"""Specification module login: the ways in, and the way in."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.client.device_choice import parse_device_choice, tokens_answer
from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import find_object, find_string, get_string
from popcube_server.services.auth.log_in import LogIn
from popcube_server.services.auth.start_session import NewTokens
from popcube_server.services.errors import InvalidParam, MissingParam, NotAllowed, WithCode

PASSWORD = "m.login.password"  # noqa: S105
TOKEN = "m.login.token"  # noqa: S105


class Login:
    """`is_password_enabled` and `is_token_enabled` come from the configuration."""

    def __init__(
        self,
        server_name: str,
        base_url: str,
        is_password_enabled: bool,
        is_token_enabled: bool,
        log_in: LogIn,
    ) -> None:
        self._server_name = server_name
        self._well_known = {"m.homeserver": {"base_url": base_url}}
        self._is_password_enabled = is_password_enabled
        self._is_token_enabled = is_token_enabled
        self._log_in = log_in

    @endpoint("GET", "/_matrix/client/v3/login", Access.OPEN)
    async def flows(self, call: Call) -> Mapping[str, Any]:
        flows: list[dict[str, Any]] = []
        if self._is_password_enabled:
            flows.append({"type": PASSWORD})
        if self._is_token_enabled:
            flows.append({"type": TOKEN, "get_login_token": True})
        return {"flows": flows}

    @endpoint("POST", "/_matrix/client/v3/login", Access.OPEN)
    async def login(self, call: Call) -> Mapping[str, Any]:
        login_type = get_string(call.body, "type")
        if login_type == PASSWORD and self._is_password_enabled:
            tokens = await self._with_password(call)
        elif login_type == TOKEN and self._is_token_enabled:
            tokens = await self._log_in.with_token(
                get_string(call.body, "token"), parse_device_choice(call.body), call.client_address
            )
        else:
            raise WithCode(400, "M_UNKNOWN", "This way to log in is not offered: see GET /login.")
        return {**tokens_answer(tokens, self._server_name), "well_known": self._well_known}

    async def _with_password(self, call: Call) -> NewTokens:
        name = _named_user(call.body)
        password = get_string(call.body, "password")
        return await self._log_in.with_password(
            name, password, parse_device_choice(call.body), call.client_address
        )


def _named_user(body: Mapping[str, Any]) -> str:
    identifier = find_object(body, "identifier")
    if identifier is None:
        # COMPAT: the deprecated `user`, `medium` and `address` at the top level.
        if "medium" in body or "address" in body:
            raise _no_third_parties()
        name = find_string(body, "user")
        if name is None:
            raise MissingParam("'identifier' is missing.")
        return name
    kind = get_string(identifier, "type")
    if kind in ("m.id.thirdparty", "m.id.phone"):
        raise _no_third_parties()
    if kind != "m.id.user":
        raise InvalidParam("Identifiers of this type are not known.")
    return get_string(identifier, "user")


def _no_third_parties() -> NotAllowed:
    return NotAllowed("This server knows no e-mail addresses or phone numbers: log in with the user name.")
