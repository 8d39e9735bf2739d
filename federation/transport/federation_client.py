"""Signed requests to other servers.

    answer = await client.get(destination, api_path("/_matrix/federation/v1/event", event_id))
    await client.put(destination, path, body, policy=replace(client.background, timeout_s=120))

The queues that send use `background`; what a user waits for uses `waiting`; what is worth a try although the server did
not answer lately (a join, a resync because of a message from there) uses `urgent`. Event JSON need not be parsed to be
sent: a body may be bytes of canonical JSON, put together from stored events.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from federation.room_dag.canonical_json import decode_json, encode_lenient
from federation.room_dag.identifiers import is_server_name
from federation.room_dag.signing import EventSigner
from federation.transport.back_off import BackOff
from federation.transport.errors import HttpRefusal, InvalidAnswer, Unreachable
from federation.transport.https import HttpRequest, HttpResponse, ResponseLimits
from federation.transport.server_requests import ServerRequests
from federation.transport.x_matrix import build_x_matrix
from synapse_like_config.federation import FederationRetries
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

Query = Mapping[str, str | Sequence[str]]
Body = Mapping[str, Any] | bytes

MAX_ANSWER_BYTES = 50 * 1024 * 1024
"""What a resident server tells of a large room in answer to a join."""
FIRST_RETRY_DELAY_S = 0.5


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """How patient a request is. `timeout_s` is for discovery, all tries and the pauses between them together."""

    timeout_s: float
    max_retries: int
    max_retry_delay_s: float
    heeds_back_off: bool = True
    """False: the server is asked although it did not answer lately."""
    max_answer_bytes: int = MAX_ANSWER_BYTES


class Sleep(Protocol):
    async def __call__(self, delay_s: float) -> None: ...


def api_path(prefix: str, *segments: str) -> str:
    """A path with each of `segments` encoded: room IDs, event IDs and names may hold slashes and worse."""
    return "/".join((prefix, *(quote(segment, safe="") for segment in segments)))


class FederationClient:
    """Talks to other servers in the name of this one. Redirects are refusals: nothing signed is sent elsewhere.

    Every method raises
    `NotFederated`: the server is not to be talked to, or is this one;
    `Unreachable` (of which `NotTriedYet` is one): no answer; the destination is backed off from;
    `HttpRefusal`: an error status, with error code; 5xx counts as no answer for the back-off;
    `InvalidAnswer`: not the JSON object that it should be, or too large.
    """

    def __init__(
        self,
        signer: EventSigner,
        requests: ServerRequests,
        back_off: BackOff,
        clock: Any,
        sleep: Sleep,
        retries: FederationRetries,
    ) -> None:
        """`clock` is twisted's IReactorTime."""
        self._signer = signer
        self._requests = requests
        self._back_off = back_off
        self._clock = clock
        self._sleep = sleep
        timeout_s = retries.client_timeout_ms / 1000
        self.waiting = RequestPolicy(
            timeout_s, retries.max_short_retries, retries.max_short_retry_delay_ms / 1000
        )
        self.urgent = replace(self.waiting, heeds_back_off=False)
        self.background = RequestPolicy(
            timeout_s, retries.max_long_retries, retries.max_long_retry_delay_ms / 1000
        )

    async def get(
        self, destination: str, path: str, query: Query | None = None, *, policy: RequestPolicy | None = None
    ) -> dict[str, Any]:
        """The JSON object that a GET gives. `path` is encoded, see `api_path`."""
        return _object(destination, await self.request("GET", destination, path, query, None, policy))

    async def put(
        self,
        destination: str,
        path: str,
        body: Body,
        query: Query | None = None,
        *,
        policy: RequestPolicy | None = None,
    ) -> dict[str, Any]:
        """The JSON object that a PUT gives. It may be sent twice: PUTs of this API do no harm the second time."""
        return _object(destination, await self.request("PUT", destination, path, query, body, policy))

    async def post(
        self,
        destination: str,
        path: str,
        body: Body,
        query: Query | None = None,
        *,
        policy: RequestPolicy | None = None,
    ) -> dict[str, Any]:
        """The JSON object that a POST gives. It is sent once, as it may do something."""
        return _object(destination, await self.request("POST", destination, path, query, body, policy))

    async def request(
        self,
        method: str,
        destination: str,
        path: str,
        query: Query | None,
        body: Body | None,
        policy: RequestPolicy | None = None,
    ) -> Any:
        """As the others, for answers that are not objects (invites of version 1 give a list)."""
        policy = policy or self.waiting
        if not is_server_name(destination):
            # Not even looked up in the database, which does not take just any text.
            raise Unreachable(destination[:255], "is not a server name")
        if policy.heeds_back_off:
            await self._back_off.check(destination)
        request = self._signed(method, destination, path, query, body)
        work = Deferred.fromCoroutine(self._send(destination, request, policy))
        try:
            response = await work.addTimeout(policy.timeout_s, self._clock)
        except DeferredTimeout:
            await self._back_off.failed(destination)
            raise Unreachable(destination, "no answer in time") from None
        except Unreachable:
            await self._back_off.failed(destination)
            raise
        except InvalidAnswer:
            # It is there, whatever it says.
            await self._back_off.answered(destination)
            raise
        return await self._read(destination, response)

    def _signed(
        self, method: str, destination: str, path: str, query: Query | None, body: Body | None
    ) -> HttpRequest:
        uri = path if not query else f"{path}?{urlencode(query, doseq=True)}"
        content = body if isinstance(body, bytes) or body is None else encode_lenient(body)
        headers = {"Authorization": build_x_matrix(self._signer, destination, method, uri, content)}
        if content is not None:
            headers["Content-Type"] = "application/json"
        return HttpRequest(method, uri, headers, content)

    async def _send(self, destination: str, request: HttpRequest, policy: RequestPolicy) -> HttpResponse:
        limits = ResponseLimits(policy.timeout_s, policy.max_answer_bytes)
        retries = 0 if request.method == "POST" else policy.max_retries
        delay_s = FIRST_RETRY_DELAY_S
        for _ in range(retries):
            try:
                response = await self._requests.send(destination, request, limits)
            except Unreachable as error:
                logger.debug("Trying again in %.1f s: %s", delay_s, error)
            else:
                if response.status not in (502, 503, 504):
                    return response
            await self._sleep(min(delay_s, policy.max_retry_delay_s))
            delay_s *= 2
        return await self._requests.send(destination, request, limits)

    async def _read(self, destination: str, response: HttpResponse) -> Any:
        if response.status >= 500:
            await self._back_off.failed(destination)
        else:
            await self._back_off.answered(destination)
        if not 200 <= response.status < 300:
            raise HttpRefusal(destination, response.status, _error_body(response.body))
        # "servers must include a `Content-Type` header of `application/json` for all JSON responses"
        if response.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise InvalidAnswer(destination, "the answer is not called JSON")
        try:
            return decode_json(response.body)
        except ValueError:
            raise InvalidAnswer(destination, "the answer is not JSON") from None


def _object(destination: str, answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise InvalidAnswer(destination, "the answer is not a JSON object")
    return answer


def _error_body(body: bytes) -> Mapping[str, Any]:
    try:
        value = decode_json(body[: 64 * 1024])
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
