"""The base of tests of queries: `two.example` as a server that asks, and servers that a test writes."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from federation.room_dag.canonical_json import encode_canonical
from federation.transport.https import HttpRequest, HttpResponse
from federation.transport.route import Route
from federation.transport.x_matrix import build_x_matrix
from tests.popcube_server.rooms.rooms_case import RoomsTestCase
from tests.popcube_server.server_case import ONE, TWO

FEDERATION = "/_matrix/federation/v1"
FAR = "far.example"


class FarAnswers:
    """A server that answers each path in a way of its own; 404 for all others."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        """By path, without the query, decoded: the JSON of a success, or a whole response."""
        self.asked: list[tuple[str, Any]] = []
        """Path with query, decoded, and the JSON of the body. Discovery is not counted."""

    def __call__(self, route: Route, request: HttpRequest) -> HttpResponse:
        path = unquote(urlsplit(request.uri).path)
        if not path.startswith("/_matrix/"):
            return refusal(404, "M_NOT_FOUND")
        self.asked.append(
            (unquote(request.uri), None if request.body is None else orjson.loads(request.body))
        )
        answer = self.answers.get(path, refusal(404, "M_NOT_FOUND"))
        return answer if isinstance(answer, HttpResponse) else success(answer)


def success(body: Any) -> HttpResponse:
    return HttpResponse(200, {"content-type": "application/json"}, orjson.dumps(body))


def refusal(status: int, errcode: str) -> HttpResponse:
    body = orjson.dumps({"errcode": errcode, "error": "because"})
    return HttpResponse(status, {"content-type": "application/json"}, body)


class QueriesTestCase(RoomsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.carol = self.given_user("carol", TWO)

    def given_far(self, name: str = FAR) -> FarAnswers:
        far = self.network.far_servers[name] = FarAnswers()
        return far

    def ask(self, method: str, url: str, body: Any = None) -> tuple[int, Any]:
        """A request of `two.example` to `one.example`."""
        content = None if body is None else encode_canonical(body)
        signer = self.organisations[TWO].core.signer
        header = build_x_matrix(signer, ONE, method, url, content)
        return self.call(method, url, body, headers={"Authorization": header})

    def wait(self, call: Callable[[], Any], seconds: int = 90) -> Any:
        """What `call` (a `begin`) is answered while time goes by."""
        pending = call()
        for _ in range(seconds):
            self.clock.advance(1)
            self.network.flush()
        return self.finish(pending)

    def sent_to(self, server: str, part: str) -> int:
        """How many requests with this in their path went to a server."""
        return sum(host == server and part in uri for host, _, uri in self.network.requests)
