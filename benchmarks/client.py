"""A blocking client of the client-server API, the same for every server that is measured."""

import http.client
import json
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import quote, urlencode

_WAITS_MS = count(1)
V3 = "/_matrix/client/v3"
TIMEOUT_S = 300.0
PASSWORD = "a long password"  # noqa: S105 - of accounts that live as long as a measurement


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the server, logged in on one device."""

    user_id: str
    access_token: str
    device_id: str


def _account(answer: Any) -> Account:
    return Account(answer["user_id"], answer["access_token"], answer["device_id"])


class Client:
    """One keep-alive connection. Not for several threads."""

    def __init__(self, port: int, access_token: str | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        self._headers: dict[str, str] = {}
        if access_token is not None:
            self._headers["Authorization"] = f"Bearer {access_token}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer, which must be a success."""
        data = None if body is None else json.dumps(body).encode()
        return json.loads(self.fetch(method, path, data, "application/json"))

    def fetch(self, method: str, path: str, data: bytes | None = None, content_type: str = "") -> bytes:
        """The bytes of an answer, which must be a success."""
        headers = {**self._headers, "Content-Type": content_type} if content_type else self._headers
        try:
            response = self._exchange(method, path, data, headers)
        except (http.client.RemoteDisconnected, ConnectionError):
            # The server had closed the kept connection meanwhile; the next request opens a new one.
            self._connection.close()
            response = self._exchange(method, path, data, headers)
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {answer[:300]!r}")
        return answer

    def _exchange(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        self._connection.request(method, path, data, headers)
        return self._connection.getresponse()

    def close(self) -> None:
        self._connection.close()

    def register(self, name: str) -> Account:
        body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        return _account(self.call("POST", f"{V3}/register", body))

    def log_in(self, user_id: str) -> Account:
        """A new device of a user."""
        identifier = {"type": "m.id.user", "user": user_id}
        body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        return _account(self.call("POST", f"{V3}/login", body))

    def create_room(self, **options: Any) -> str:
        room_id: str = self.call("POST", f"{V3}/createRoom", {"preset": "public_chat", **options})["room_id"]
        return room_id

    def join(self, room_id: str) -> None:
        self.call("POST", f"{V3}/rooms/{quote(room_id)}/join", {})

    def join_through(self, server_name: str, room_id: str) -> None:
        """Join a room of another server."""
        query = urlencode({"server_name": server_name, "via": server_name})
        self.call("POST", f"{V3}/join/{quote(room_id)}?{query}", {})

    def leave(self, room_id: str) -> None:
        self.call("POST", f"{V3}/rooms/{quote(room_id)}/leave", {})

    def has_event(self, room_id: str, event_id: str) -> bool:
        """Whether the server has it, and the user may see it."""
        path = f"{V3}/rooms/{quote(room_id)}/event/{quote(event_id, safe='')}"
        response = self._exchange("GET", path, None, self._headers)
        response.read()
        return response.status == http.client.OK

    def send(self, room_id: str, txn_id: str, text: str) -> str:
        body = {"msgtype": "m.text", "body": text}
        path = f"{V3}/rooms/{room_id}/send/m.room.message/{txn_id}"
        event_id: str = self.call("PUT", path, body)["event_id"]
        return event_id

    def sync(self, since: str = "", timeout_ms: int = 0, sync_filter: Any = None) -> Any:
        query: dict[str, Any] = {"timeout": timeout_ms}
        if since:
            query["since"] = since
        if sync_filter is not None:
            query["filter"] = json.dumps(sync_filter)
        return self.call("GET", f"{V3}/sync?{urlencode(query)}")

    def token(self) -> str:
        """Where the server is now: what follows in the next sync is new."""
        # No two are asked for alike: for two minutes Synapse would give the same answer again, with its old token. A
        # first sync does not wait.
        token: str = self.sync(timeout_ms=next(_WAITS_MS))["next_batch"]
        return token
