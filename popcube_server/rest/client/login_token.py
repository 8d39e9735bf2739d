"""Specification module login_token: a client that is logged in lets another one in."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.client.user_interactive_auth import Confirmation
from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.services.auth.login_tokens import LoginTokens
from popcube_server.services.errors import NotAllowed


class LoginToken:
    """`is_enabled` and `asks_again` come from the configuration; the specification demands to ask each time."""

    def __init__(
        self, login_tokens: LoginTokens, confirmation: Confirmation, is_enabled: bool, asks_again: bool
    ) -> None:
        self._is_enabled = is_enabled
        self._login_tokens = login_tokens
        self._confirmation = confirmation
        self._asks_again = asks_again

    @endpoint("POST", "/_matrix/client/v1/login/get_token")
    async def get_token(self, call: Call) -> Mapping[str, Any]:
        if not self._is_enabled:
            raise NotAllowed("Login tokens are not offered on this server.")
        # "servers MUST always re-prompt the user for verification"; `require_ui_auth: false` is the operator's wish.
        if self._asks_again:
            await self._confirmation.confirm_anew(call, "")
        token = await self._login_tokens.make(call.requester.user_id)
        return {"login_token": token, "expires_in_ms": self._login_tokens.lifetime_ms}
