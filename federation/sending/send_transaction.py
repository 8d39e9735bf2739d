"""One transaction over HTTPS. Source: server-server API, PUT /_matrix/federation/v1/send/{txnId}."""

from collections.abc import Mapping
from typing import Any, Final

from federation.transport.errors import InvalidAnswer
from federation.transport.federation_client import FederationClient, api_path

SEND: Final = "/_matrix/federation/v1/send"


class SendTransaction:
    """Sends with the patience of background work; the transport keeps the pauses of who does not answer."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def send(self, destination: str, txn_id: str, body: bytes) -> Mapping[str, Any]:
        """The answer. Raises `FederationError`."""
        answer = await self._client.put(
            destination, api_path(SEND, txn_id), body, policy=self._client.background
        )
        if not isinstance(answer.get("pdus"), dict):
            raise InvalidAnswer(destination, "the answer to a transaction has no 'pdus'")
        return answer
