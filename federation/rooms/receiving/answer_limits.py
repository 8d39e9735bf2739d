"""How large an answer about rooms may be: as large as what was asked for can be, and no larger."""

from dataclasses import replace
from typing import Any

from federation.rooms.receiving.remote import MAX_BACKFILL, MAX_MISSING_EVENTS, V1
from federation.transport.federation_client import Body, FederationClient, Query, RequestPolicy

_EVENT_BYTES = 65_536
_SLACK_BYTES = 64 * 1024
"""For what stands around the events, and white space."""

_MAX_BYTES = {
    # With `unsigned`, which is not part of the event's own size.
    V1 + "event/": 2 * _EVENT_BYTES + _SLACK_BYTES,
    V1 + "get_missing_events/": MAX_MISSING_EVENTS * _EVENT_BYTES + _SLACK_BYTES,
    V1 + "backfill/": MAX_BACKFILL * _EVENT_BYTES + _SLACK_BYTES,
    # As many IDs as are looked at, twice.
    V1 + "state_ids/": 24 * 1024 * 1024,
}


class LimitedAnswers:
    """The `RemoteServers` of a server that federates. What is not in the table has the client's own limit."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def get(self, destination: str, path: str, query: Query | None = None) -> dict[str, Any]:
        return await self._client.get(destination, path, query, policy=self._policy(path))

    async def put(
        self, destination: str, path: str, body: Body, query: Query | None = None
    ) -> dict[str, Any]:
        return await self._client.put(destination, path, body, query, policy=self._policy(path))

    async def post(
        self, destination: str, path: str, body: Body, query: Query | None = None
    ) -> dict[str, Any]:
        return await self._client.post(destination, path, body, query, policy=self._policy(path))

    def _policy(self, path: str) -> RequestPolicy:
        for beginning, max_bytes in _MAX_BYTES.items():
            if path.startswith(beginning):
                return replace(self._client.waiting, max_answer_bytes=max_bytes)
        return self._client.waiting
