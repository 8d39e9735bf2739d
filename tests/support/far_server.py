"""A server that a test writes: it has keys, signs what it asks, and answers what the test tells it to answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from federation.room_dag.canonical_json import decode_json, encode_canonical
from federation.transport.errors import TransportError
from federation.transport.https import HttpRequest, HttpResponse
from federation.transport.route import Route
from federation.transport.x_matrix import build_x_matrix
from tests.federation.room_dag.builders import make_signer

VALID_UNTIL_MS = 4_000_000_000_000


class Refused(Exception):
    """Raised by an answer of a test: the status and error code to give."""

    def __init__(self, status: int, errcode: str, error: str = "No.") -> None:
        super().__init__(errcode)
        self.status = status
        self.body = {"errcode": errcode, "error": error}


class Gone(Exception):
    """Raised by an answer of a test: the connection breaks before the answer comes."""


class FarCall:
    """One request as a test's answer gets it. `arguments` are the decoded parts of the path behind the verb."""

    def __init__(self, request: HttpRequest, verb: str, arguments: Sequence[str]) -> None:
        self.verb = verb
        self.arguments = arguments
        self.uri = request.uri
        self.query: Mapping[str, list[str]] = parse_qs(urlsplit(request.uri).query)
        self.headers = request.headers
        self.body: Any = None if request.body is None else decode_json(request.body)


FarAnswer = Callable[[FarCall], Any]


class FarServer:
    """Answers by verb: `v2/invite` and `v1/make_join` of federation, `identity/lookup` and `policy/sign` of others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.signer = make_signer(name)
        self.answers: dict[str, FarAnswer] = {"v1/send": lambda call: {"pdus": {}}}
        self.more_keys: dict[str, dict[str, str]] = {}
        """Published besides its own."""
        self.asked: list[str] = []
        self.calls: list[FarCall] = []

    def __call__(self, route: Route, request: HttpRequest) -> HttpResponse:
        path = urlsplit(request.uri).path
        if path == "/_matrix/key/v2/server":
            return _json(200, self.signer.sign_json(self._keys()))
        if path.startswith("/.well-known/"):
            return _json(404, {})
        verb, arguments = _parse(path)
        self.asked.append(verb)
        answer = self.answers.get(verb)
        if answer is None:
            return _json(404, {"errcode": "M_UNRECOGNIZED", "error": "No such endpoint."})
        call = FarCall(request, verb, arguments)
        self.calls.append(call)
        try:
            return _json(200, answer(call))
        except Refused as refused:
            return _json(refused.status, refused.body)
        except Gone:
            raise TransportError("the connection broke") from None

    def authorization(self, destination: str, method: str, uri: str, body: Any = None) -> dict[str, str]:
        """Headers of a request in this server's name."""
        content = None if body is None else encode_canonical(body)
        return {"Authorization": build_x_matrix(self.signer, destination, method, uri, content)}

    def _keys(self) -> dict[str, Any]:
        return {
            "server_name": self.name,
            "valid_until_ts": VALID_UNTIL_MS,
            "verify_keys": {
                self.signer.key_id: {"key": self.signer.verify_key_base64},
                **self.more_keys,
            },
            "old_verify_keys": {},
        }


def _parse(path: str) -> tuple[str, list[str]]:
    parts = [unquote(part) for part in path.split("/")[2:]]
    if parts[:1] == ["federation"]:
        return "/".join(parts[1:3]), parts[3:]
    # /_matrix/policy/v1/sign, /_matrix/identity/v2/lookup
    return "/".join((parts[0], *parts[2:])), []


def _json(status: int, body: Any) -> HttpResponse:
    return HttpResponse(status, {"content-type": "application/json"}, orjson.dumps(body))
