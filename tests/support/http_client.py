"""A small blocking Matrix client: each request one call.

    alice = MatrixClient(base_url, witness=witness)
    alice.register("alice")
    room_id = alice.post("/createRoom", {}).expect(200)["room_id"]

A path that names no other API is one of `/_matrix/client/v3`.
"""

import http.client
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

from tests.support.witness import Witness

CLIENT_PREFIX = "/_matrix/client/v3"
OUTSIDE_CLIENT_API = ("/_", "/.", "/health", "/ping", "/metrics")
ANSWER_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What the server said. `json` is the parsed body, or None if the body is not JSON."""

    request: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any

    def expect(self, status: int) -> Any:
        """The JSON body, if the status is the expected one; else the test fails with what was answered."""
        if self.status != status:
            shown = self.body[:2000].decode(errors="replace")
            raise AssertionError(f"{self.request} answered {self.status}, not {status}: {shown}")
        return self.json

    def expect_error(self, status: int, errcode: str) -> Any:
        body = self.expect(status)
        if body.get("errcode") != errcode:
            raise AssertionError(f"{self.request} answered {body}, not {errcode}")
        return body


class MatrixClient:
    """One user's (or nobody's) requests over one connection.

    Without a witness nobody compares the answers with the specification: for load, and for a walk over all.
    """

    def __init__(
        self,
        base_url: str,
        access_token: str | None = None,
        *,
        witness: Witness | None = None,
    ) -> None:
        self.base_url = base_url
        self.access_token = access_token
        self.user_id = ""
        self.device_id = ""
        self._witness = witness
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Answer:
        return self.request("GET", path, query=query)

    def put(self, path: str, body: Any, query: Mapping[str, Any] | None = None) -> Answer:
        return self.request("PUT", path, body, query=query)

    def post(self, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> Answer:
        return self.request("POST", path, {} if body is None else body, query=query)

    def delete(self, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> Answer:
        return self.request("DELETE", path, body, query=query)

    def request(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, Any] | None = None
    ) -> Answer:
        """Send JSON and read the answer. Raises SpecificationViolation if the answer is not as promised."""
        data = None if body is None else json.dumps(body).encode()
        return self.request_bytes(method, path, data, "application/json", query=query, json_body=body)

    def request_bytes(
        self,
        method: str,
        path: str,
        data: bytes | None,
        content_type: str,
        *,
        query: Mapping[str, Any] | None = None,
        json_body: Any = None,
    ) -> Answer:
        """Like `request`, for a body that is anything, well-formed or not."""
        target = path if path.startswith(OUTSIDE_CLIENT_API) else CLIENT_PREFIX + path
        if query:
            target += "?" + urlencode(query, doseq=True)
        headers = {"Content-Type": content_type} if data is not None else {}
        if self.access_token is not None:
            headers["Authorization"] = f"Bearer {self.access_token}"
        answer = self._exchange(method, target, data, headers)
        if self._witness is not None:
            self._witness.saw(method, target, json_body, answer.status, answer.headers, answer.json)
        return answer

    def _exchange(self, method: str, target: str, data: bytes | None, headers: Mapping[str, str]) -> Answer:
        if self._connection is None:
            address = urlsplit(self.base_url).netloc
            self._connection = http.client.HTTPConnection(address, timeout=ANSWER_DEADLINE_S)
        try:
            self._connection.request(method, target, data, dict(headers))
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        answer_headers = {name.lower(): value for name, value in response.getheaders()}
        is_json = answer_headers.get("content-type", "").startswith("application/json")
        return Answer(
            request=f"{method} {target}",
            status=response.status,
            headers=answer_headers,
            body=content,
            json=json.loads(content) if is_json and content else None,
        )

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What nearly every test begins with.

    def register(self, username: str, password: str = "correct horse battery") -> Self:
        """Register by the dummy stage of interactive authentication, and use the token from now on."""
        body: dict[str, Any] = {"username": username, "password": password}
        session = self.post("/register", body).expect(401)["session"]
        body["auth"] = {"type": "m.login.dummy", "session": session}
        return self._adopt(self.post("/register", body).expect(200))

    def log_in(self, username: str, password: str = "correct horse battery") -> Self:
        identifier = {"type": "m.id.user", "user": username}
        body = {"type": "m.login.password", "identifier": identifier, "password": password}
        return self._adopt(self.post("/login", body).expect(200))

    def _adopt(self, session: Mapping[str, Any]) -> Self:
        self.access_token = session["access_token"]
        self.user_id = session["user_id"]
        self.device_id = session["device_id"]
        return self

    def create_room(self, **options: Any) -> str:
        room_id: str = self.post("/createRoom", options).expect(200)["room_id"]
        return room_id

    def send_text(self, room_id: str, text: str, txn_id: str | None = None) -> str:
        """The ID of the event sent."""
        path = f"/rooms/{quote(room_id)}/send/m.room.message/{quote(txn_id or uuid.uuid4().hex)}"
        event_id: str = self.put(path, {"msgtype": "m.text", "body": text}).expect(200)["event_id"]
        return event_id
