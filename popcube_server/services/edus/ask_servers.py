"""What is asked of other servers about their users and rooms. Source: server-server API, "Device Management",
"End-to-End Encryption", "Querying for information", "Published Room Directory" and "Spaces".
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from federation.room_dag.identifiers import domain_of
from federation.transport.federation_client import FederationClient, api_path

PREFIX: Final = "/_matrix/federation/v1"
MAX_ANSWER_BYTES: Final = 10 * 1024 * 1024
# A profile has 64 KiB at most.
MAX_PROFILE_BYTES: Final = 256 * 1024
# 500 rooms with long topics; a space with thousands of children; all servers of the largest room.
MAX_ROOMS_BYTES: Final = 4 * 1024 * 1024


class AskServers:
    """Every method raises `FederationError`, and gives the JSON object of the answer unchecked."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client
        self._policy = replace(client.waiting, max_answer_bytes=MAX_ANSWER_BYTES)
        self._profile_policy = replace(client.waiting, max_answer_bytes=MAX_PROFILE_BYTES)
        self._rooms_policy = replace(client.waiting, max_answer_bytes=MAX_ROOMS_BYTES)

    async def devices(self, user_id: str) -> Mapping[str, Any]:
        path = api_path(f"{PREFIX}/user/devices", user_id)
        # A server that just said something is asked, whatever it did before.
        policy = replace(self._policy, heeds_back_off=False)
        return await self._client.get(domain_of(user_id), path, policy=policy)

    async def query_keys(
        self, destination: str, users: Mapping[str, Sequence[str]], timeout_ms: int
    ) -> Mapping[str, Any]:
        return await self._client.post(
            destination,
            f"{PREFIX}/user/keys/query",
            {"device_keys": {user_id: list(devices) for user_id, devices in users.items()}},
            policy=replace(self._policy, timeout_s=self._timeout_s(timeout_ms)),
        )

    async def claim_keys(
        self, destination: str, users: Mapping[str, Mapping[str, str]], timeout_ms: int
    ) -> Mapping[str, Any]:
        return await self._client.post(
            destination,
            f"{PREFIX}/user/keys/claim",
            {"one_time_keys": {user_id: dict(devices) for user_id, devices in users.items()}},
            policy=replace(self._policy, timeout_s=self._timeout_s(timeout_ms)),
        )

    async def profile(self, user_id: str) -> Mapping[str, Any]:
        return await self._client.get(
            domain_of(user_id), f"{PREFIX}/query/profile", {"user_id": user_id}, policy=self._profile_policy
        )

    async def directory(self, alias: str) -> Mapping[str, Any]:
        return await self._client.get(
            domain_of(alias), f"{PREFIX}/query/directory", {"room_alias": alias}, policy=self._rooms_policy
        )

    async def public_rooms(self, server: str, query: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._client.post(server, f"{PREFIX}/publicRooms", query, policy=self._rooms_policy)

    async def hierarchy(self, server: str, room_id: str) -> Mapping[str, Any]:
        # All children, whoever wants to see which: one answer is for everybody.
        path = api_path(f"{PREFIX}/hierarchy", room_id)
        return await self._client.get(server, path, policy=self._rooms_policy)

    def _timeout_s(self, timeout_ms: int) -> float:
        return max(1.0, min(self._policy.timeout_s, timeout_ms / 1000))
