"""Specification module openid of the client-server API."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.services.federation.openid_tokens import LIFETIME_S, OpenIdTokens


class OpenId:
    def __init__(self, tokens: OpenIdTokens, server_name: str) -> None:
        self._tokens = tokens
        self._server_name = server_name

    @endpoint("POST", "/_matrix/client/v3/user/{user_id}/openid/request_token")
    async def request_token(self, call: Call) -> Mapping[str, Any]:
        return {
            "access_token": await self._tokens.request(call.requester, call.path["user_id"]),
            "token_type": "Bearer",
            "matrix_server_name": self._server_name,
            "expires_in": LIFETIME_S,
        }
