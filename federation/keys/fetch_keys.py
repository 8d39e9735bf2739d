"""Asking a server for its own keys, and notaries for those of others."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from federation.keys.server_keys import InvalidKeyDocument, ServerKeys, parse_server_keys
from federation.room_dag.canonical_json import NotCanonical, decode_json, encode_lenient
from federation.room_dag.signing import InvalidSignature, verify_signature
from federation.transport.errors import InvalidAnswer
from federation.transport.https import HttpRequest, ResponseLimits
from federation.transport.server_requests import ServerRequests
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

SERVER_PATH = "/_matrix/key/v2/server"
QUERY_PATH = "/_matrix/key/v2/query"
DIRECT_LIMITS = ResponseLimits(timeout_s=20.0, max_bytes=128 * 1024)
NOTARY_LIMITS = ResponseLimits(timeout_s=30.0, max_bytes=4 * 1024 * 1024)
MAX_SERVERS_ASKED = 100
MAX_DOCUMENTS_PER_SERVER = 20

KeyTimes = Mapping[str, int | None]
"""By key ID, the time (milliseconds since 1970) at which the key must be valid; None if that does not matter."""


@dataclass(frozen=True, slots=True)
class Notary:
    """A server that is asked for the keys of others.

    `verify_keys` are its own keys by ID (32 bytes each) if they were configured. If not, they are asked of itself.
    """

    server_name: str
    verify_keys: Mapping[str, bytes]


class FetchKeys:
    """Fetches and checks; stores nothing. Requests are not signed, so they need no keys themselves."""

    def __init__(self, requests: ServerRequests, now_ms: Callable[[], int]) -> None:
        self._requests = requests
        self._now_ms = now_ms

    async def fetch_directly(self, server_name: str) -> ServerKeys:
        """What a server says of itself; raises `FederationError` or `InvalidKeyDocument`."""
        value = await self._ask(server_name, HttpRequest("GET", SERVER_PATH), DIRECT_LIMITS)
        return parse_server_keys(value, server_name, self._now_ms())

    async def fetch_from_notary(self, notary: Notary, wanted: Mapping[str, KeyTimes]) -> list[ServerKeys]:
        """What a notary knows of at most `MAX_SERVERS_ASKED` servers; raises `FederationError`.

        A document that is not signed by the notary, or not by its own server, is left out.
        """
        query = {
            server_name: {
                # "If not supplied, the notary server MUST use the current time": for old events anything will do.
                key_id: {"minimum_valid_until_ts": min(time_ms or 0, self._now_ms())}
                for key_id, time_ms in times.items()
            }
            for server_name, times in wanted.items()
        }
        body = encode_lenient({"server_keys": query})
        request = HttpRequest("POST", QUERY_PATH, {"Content-Type": "application/json"}, body)
        value = await self._ask(notary.server_name, request, NOTARY_LIMITS)
        documents = value.get("server_keys") if isinstance(value, dict) else None
        if not isinstance(documents, list):
            raise InvalidAnswer(notary.server_name, "server_keys is not a list")
        return list(self._checked(notary, wanted, documents))

    def _checked(
        self, notary: Notary, wanted: Mapping[str, KeyTimes], documents: Sequence[Any]
    ) -> Iterator[ServerKeys]:
        counts = dict.fromkeys(wanted, 0)
        for document in documents:
            server_name = document.get("server_name") if isinstance(document, dict) else None
            # What nobody asked for is not even looked at.
            if not isinstance(server_name, str) or counts.get(server_name, MAX_DOCUMENTS_PER_SERVER) >= (
                MAX_DOCUMENTS_PER_SERVER
            ):
                continue
            counts[server_name] += 1
            try:
                _check_notary_signature(document, notary)
                yield parse_server_keys(document, server_name, self._now_ms())
            except (InvalidKeyDocument, InvalidSignature, NotCanonical) as error:
                logger.warning(
                    "The notary %s told wrong keys of %s: %s", notary.server_name, server_name, error
                )

    async def _ask(self, server_name: str, request: HttpRequest, limits: ResponseLimits) -> Any:
        response = await self._requests.send(server_name, request, limits)
        if response.status != 200:
            raise InvalidAnswer(server_name, f"status {response.status}")
        try:
            return decode_json(response.body)
        except ValueError:
            raise InvalidAnswer(server_name, "the answer is not JSON") from None


def _check_notary_signature(document: Mapping[str, Any], notary: Notary) -> None:
    # A notary may have keys that we were not told of: one that we know must have signed, and be right.
    for key_id, key in notary.verify_keys.items():
        try:
            verify_signature(document, notary.server_name, key_id, key)
        except InvalidSignature:
            continue
        return
    raise InvalidSignature(f"not signed by {notary.server_name}")
