"""Specification module query of the server-server API: profiles and aliases."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import query_string
from popcube_server.services.federation.answer_queries import AnswerQueries


class Queries:
    def __init__(self, answer: AnswerQueries) -> None:
        self._answer = answer

    @endpoint("GET", "/_matrix/federation/v1/query/profile", Access.SERVER)
    async def profile(self, call: Call) -> Mapping[str, Any]:
        return await self._answer.profile(query_string(call, "user_id"), call.query_one("field"))

    @endpoint("GET", "/_matrix/federation/v1/query/directory", Access.SERVER)
    async def directory(self, call: Call) -> Mapping[str, Any]:
        room_id, servers = await self._answer.directory(query_string(call, "room_alias"))
        return {"room_id": room_id, "servers": list(servers)}
