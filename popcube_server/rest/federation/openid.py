"""Specification module openid of the server-server API."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.services.errors import MissingToken
from popcube_server.services.federation.openid_tokens import OpenIdTokens


class OpenIdUserInfo:
    def __init__(self, tokens: OpenIdTokens) -> None:
        self._tokens = tokens

    @endpoint("GET", "/_matrix/federation/v1/openid/userinfo", Access.OPEN)
    async def userinfo(self, call: Call) -> Mapping[str, Any]:
        token = call.query_one("access_token")
        if not token:
            raise MissingToken("The query parameter 'access_token' is missing.")
        return {"sub": await self._tokens.get_user(token)}
