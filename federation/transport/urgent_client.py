"""Requests that are made although the server did not answer lately: a user does something, and waits for it.

A server that was away may be back, and nothing else may tell so for a long time.
"""

from typing import Any

from federation.transport.federation_client import Body, FederationClient, Query


class UrgentClient:
    """`FederationClient` without heed of the back-off. Raises the same."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def get(self, destination: str, path: str, query: Query | None = None) -> dict[str, Any]:
        return await self._client.get(destination, path, query, policy=self._client.urgent)

    async def put(
        self, destination: str, path: str, body: Body, query: Query | None = None
    ) -> dict[str, Any]:
        return await self._client.put(destination, path, body, query, policy=self._client.urgent)

    async def post(
        self, destination: str, path: str, body: Body, query: Query | None = None
    ) -> dict[str, Any]:
        return await self._client.post(destination, path, body, query, policy=self._client.urgent)

    async def request(
        self, method: str, destination: str, path: str, query: Query | None, body: Body | None
    ) -> Any:
        return await self._client.request(method, destination, path, query, body, self._client.urgent)
