"""Specification module refresh: a new access token for a refresh token."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import get_string
from popcube_server.services.auth.refresh_session import RefreshSession


class Refresh:
    def __init__(self, refresh_session: RefreshSession) -> None:
        self._refresh_session = refresh_session

    @endpoint("POST", "/_matrix/client/v3/refresh", Access.OPEN)
    async def refresh(self, call: Call) -> Mapping[str, Any]:
        tokens = await self._refresh_session.refresh(get_string(call.body, "refresh_token"))
        answer: dict[str, Any] = {"access_token": tokens.access_token}
        if tokens.refresh_token is not None:
            answer["refresh_token"] = tokens.refresh_token
        if tokens.expires_in_ms is not None:
            answer["expires_in_ms"] = tokens.expires_in_ms
        return answer
