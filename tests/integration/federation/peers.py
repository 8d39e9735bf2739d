"""Servers that federate, as processes, and their users.

alice = here.register("alice")
room_id = alice.post("/createRoom", {"preset": "public_chat"})["room_id"]
bob.call("POST", f"/join/{quote(room_id)}", {}, {"server_name": here.server_name}).ok()
"""

import http.client
import json
import random
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote as percent_encode
from urllib.parse import urlencode, urlsplit

from tests.integration.federation.authority import Authority
from tests.integration.federation.relay import Relay
from tests.support.configuration import NO_LIMIT, Database, write_configuration
from tests.support.server_process import ServerProcess
from tests.support.synapse_process import SynapseProcess, write_log_configuration

T = TypeVar("T")

CLIENT_PREFIX = "/_matrix/client/v3"
FIRST_POLL_S = 0.02
LONGEST_POLL_S = 0.3
ANSWER_DEADLINE_S = 120.0
MAX_IDLE_S = 20.0
# Below the ports that systems give to outgoing connections: a server that was stopped finds its port free.
FIXED_PORTS = range(12_000, 32_000)
PASSWORD = "correct horse battery"

# Beyond what tests/support/configuration.py turns off, and the same on both kinds of server.
COMMON: Mapping[str, Any] = {
    "rc_room_creation": NO_LIMIT,
    "rc_media_create": NO_LIMIT,
    "rc_key_requests": NO_LIMIT,
    "rc_reports": NO_LIMIT,
    "rc_user_directory": NO_LIMIT,
    "rc_third_party_invite": NO_LIMIT,
    "rc_federation": {"window_size": 1000, "sleep_limit": 100_000, "reject_limit": 100_000, "concurrent": 20},
    "ip_range_blacklist": [],
    "allow_public_rooms_over_federation": True,
    "max_upload_size": "50M",
    "federation": {
        # In milliseconds. A server that was cut off is tried again at once.
        "destination_min_retry_interval": 100,
        "destination_retry_multiplier": 1,
        "destination_max_retry_interval": 500,
        "client_timeout": "20s",
        "max_short_retry_delay": 100,
        "max_long_retry_delay": 200,
        "max_short_retries": 2,
        "max_long_retries": 2,
    },
}
OURS: Mapping[str, Any] = {"popcube": {"argon2": {"time_cost": 1, "memory": "2M"}, "log": {"level": "INFO"}}}
SYNAPSE: Mapping[str, Any] = {
    "bcrypt_rounds": 4,
    "report_stats": False,
    "rc_presence": {"per_user": NO_LIMIT},
    "room_list_publication_rules": [{"action": "allow"}],
    "suppress_key_server_warning": True,
    "federation_ip_range_blacklist": [],
    # Else a first sync asked for twice is answered with what was so two minutes ago.
    "caches": {"sync_response_cache_duration": 0},
    # Tests that count heads of rooms make them.
    "cleanup_extremities_with_dummy_events": False,
}


@dataclass(frozen=True)
class Answer:
    """What a server said. `json` is None if the body is not JSON."""

    request: str
    status: int
    body: bytes
    json: Any
    headers: Mapping[str, str]

    def ok(self, status: int = 200) -> Any:
        """The JSON body. Raises AssertionError if the status is another one."""
        if self.status != status:
            shown = self.body[:1000].decode(errors="replace")
            raise AssertionError(f"{self.request} answered {self.status}, not {status}: {shown}")
        return self.json


class Peer:
    """A server under its name, which holds the port of a relay before it.

    `stop`, `kill9` and `start` are about the process; `cut` and `heal` about its connections with other servers: while
    it is cut nobody reaches it, but it may reach others. Clients are served all the time that the process runs.
    """

    def __init__(self, name: str, host: str) -> None:
        self.name = name
        port, self._federation_port = free_port(), free_port()
        self.server_name = f"{host}:{port}"
        self.starts = 0
        """How often the process was started: connections to it do not outlive it."""
        address = "127.0.0.1" if host == "localhost" else host.strip("[]")
        self._relay = Relay(address, port, self._federation_port)

    @property
    def waits_for_life(self) -> bool:
        """Whether it tries a server that did not answer only once it hears of it, or has something new for it."""
        return False

    @property
    def base_url(self) -> str:
        """Where clients are served. It changes when the process starts again."""
        raise NotImplementedError

    def start(self) -> None:
        """Returns when it answers clients and other servers."""
        self.starts += 1
        self._start_process()
        eventually(self._is_federation_open, f"{self.name} listens to other servers")
        self._relay.open()

    def stop(self) -> None:
        """Ask the process to stop, and wait until it has."""
        raise NotImplementedError

    def kill9(self) -> None:
        """End the process at once."""
        raise NotImplementedError

    def log_text(self) -> str:
        """The last lines that the server printed."""
        raise NotImplementedError

    def cut(self) -> None:
        """Let no server reach this one."""
        self._relay.cut()

    def heal(self) -> None:
        """End `cut`."""
        self._relay.open()

    def register(self, localpart: str) -> "User":
        """A new user, whose name begins with `localpart` and is unique."""
        user = User(self, "", "")
        body: dict[str, Any] = {"username": f"{localpart}-{uuid.uuid4().hex[:8]}", "password": PASSWORD}
        session = user.call("POST", "/register", body).ok(401)["session"]
        body["auth"] = {"type": "m.login.dummy", "session": session}
        account = user.call("POST", "/register", body).ok()
        return User(self, account["user_id"], account["access_token"])

    def capabilities(self) -> Any:
        """What /capabilities says to a user."""
        return self.register("asking").get("/capabilities")["capabilities"]

    def _start_process(self) -> None:
        raise NotImplementedError

    def _is_federation_open(self) -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self._federation_port)) == 0

    def _overrides(self, client_port: int, authority: Authority, own: Mapping[str, Any]) -> Mapping[str, Any]:
        host = self.server_name.rpartition(":")[0]
        identity = authority.issue(self.name, [host.strip("[]")])
        listeners = [
            {
                "port": client_port,
                "type": "http",
                "tls": False,
                "bind_addresses": ["127.0.0.1"],
                "resources": [{"names": ["client"]}],
            },
            {
                "port": self._federation_port,
                "type": "http",
                "tls": True,
                "bind_addresses": ["127.0.0.1"],
                "resources": [{"names": ["federation"]}],
            },
        ]
        return {
            **COMMON,
            **own,
            "listeners": listeners,
            "tls_certificate_path": str(identity.certificate),
            "tls_private_key_path": str(identity.private_key),
            "federation_custom_ca_list": [str(authority.certificate)],
        }


class OurPeer(Peer):
    """`popcube-server serve` of this checkout."""

    def __init__(
        self, name: str, host: str, database: Database, directory: Path, authority: Authority
    ) -> None:
        super().__init__(name, host)
        overrides = self._overrides(0, authority, OURS)
        self._process = ServerProcess(
            write_configuration(directory / name, database, server_name=self.server_name, overrides=overrides)
        )

    @property
    def base_url(self) -> str:
        return self._process.base_url

    def stop(self) -> None:
        self._process.terminate()

    def kill9(self) -> None:
        self._process.kill9()

    def log_text(self) -> str:
        return self._process.log_text()

    @property
    def pid(self) -> int:
        """Of the process, for who measures."""
        return self._process.pid

    def _start_process(self) -> None:
        self._process.start()


class SynapsePeer(Peer):
    """The main process of Synapse."""

    @property
    def waits_for_life(self) -> bool:
        return True

    def __init__(
        self, name: str, host: str, database: Database, directory: Path, authority: Authority, python: Path
    ) -> None:
        super().__init__(name, host)
        own_directory = directory / name
        own_directory.mkdir(parents=True)
        port = free_port()
        self._base_url = f"http://127.0.0.1:{port}"
        own = {
            **SYNAPSE,
            "log_config": str(write_log_configuration(own_directory, "INFO")),
            "pid_file": str(own_directory / "homeserver.pid"),
        }
        overrides = self._overrides(port, authority, own)
        configuration = write_configuration(
            own_directory, database, server_name=self.server_name, overrides=overrides
        )
        self._process = SynapseProcess(python, configuration, port)

    @property
    def base_url(self) -> str:
        return self._base_url

    def stop(self) -> None:
        self._process.terminate()

    def kill9(self) -> None:
        self._process.kill9()

    def log_text(self) -> str:
        return self._process.log_text()

    @property
    def pid(self) -> int:
        """Of the process, for who measures."""
        return self._process.pid

    def _start_process(self) -> None:
        self._process.start()


class User:
    """Somebody on a server. A path that names no other API is one of `/_matrix/client/v3`.

    `call` takes any answer, the others only success. One user is for one thread; `another_connection` is for a second.
    """

    def __init__(self, peer: Peer, user_id: str, token: str) -> None:
        self.peer = peer
        self.user_id = user_id
        self.token = token
        self._connection: http.client.HTTPConnection | None = None
        self._connected_to = ("", 0)
        self._used_s = 0.0

    def another_connection(self) -> "User":
        """The same user with the same session."""
        return User(self.peer, self.user_id, self.token)

    def call(
        self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None
    ) -> Answer:
        """Send JSON, take any answer. `path` is quoted already."""
        data = None if body is None else json.dumps(body).encode()
        return self.call_bytes(method, path, data, "application/json", query)

    def call_bytes(
        self,
        method: str,
        path: str,
        data: bytes | None,
        content_type: str,
        query: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Like `call`, for a body that is not JSON."""
        target = path if path.startswith("/_") else CLIENT_PREFIX + path
        if query:
            target += "?" + urlencode(query, doseq=True)
        headers = {"Content-Type": content_type} if data is not None else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        connection = self._open_connection()
        try:
            connection.request(method, target, data, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        is_json = (response.getheader("Content-Type") or "").startswith("application/json")
        return Answer(
            request=f"{self.user_id or 'nobody'} on {self.peer.name}: {method} {target}",
            status=response.status,
            body=content,
            json=json.loads(content) if is_json and content else None,
            headers={name.lower(): value for name, value in response.getheaders()},
        )

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self.call("GET", path, None, query).ok()

    def put(self, path: str, body: Any) -> Any:
        return self.call("PUT", path, body).ok()

    def post(self, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> Any:
        return self.call("POST", path, {} if body is None else body, query).ok()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open_connection(self) -> http.client.HTTPConnection:
        # Servers close what was idle for a minute, and everything when they stop.
        is_old = time.monotonic() - self._used_s > MAX_IDLE_S
        self._used_s = time.monotonic()
        to = (self.peer.base_url, self.peer.starts)
        if self._connection is None or self._connected_to != to or is_old:
            self.close()
            self._connected_to = to
            address = urlsplit(self.peer.base_url).netloc
            self._connection = http.client.HTTPConnection(address, timeout=ANSWER_DEADLINE_S)
        return self._connection

    # What nearly every test does.

    def create_room(self, **options: Any) -> str:
        room_id: str = self.post("/createRoom", options)["room_id"]
        return room_id

    def join(self, room: str, via: str | None = None) -> str:
        """Join by room ID, through the server `via`, or by alias."""
        query = {} if via is None else {"server_name": via, "via": via}
        room_id: str = self.post(f"/join/{quote(room)}", {}, query)["room_id"]
        return room_id

    def leave(self, room_id: str) -> None:
        self.post(f"/rooms/{quote(room_id)}/leave")

    def send_text(self, room_id: str, text: str) -> str:
        """The ID of the event sent."""
        path = f"/rooms/{quote(room_id)}/send/m.room.message/{uuid.uuid4().hex}"
        event_id: str = self.put(path, {"msgtype": "m.text", "body": text})["event_id"]
        return event_id

    def send_state(self, room_id: str, event_type: str, content: Any, state_key: str = "") -> str:
        """The ID of the event sent."""
        path = f"/rooms/{quote(room_id)}/state/{event_type}/{quote(state_key)}"
        event_id: str = self.put(path, content)["event_id"]
        return event_id

    def change_membership(self, room_id: str, action: str, user: "User", **more: Any) -> Answer:
        """`action` is invite, kick, ban or unban."""
        return self.call("POST", f"/rooms/{quote(room_id)}/{action}", {"user_id": user.user_id, **more})

    def state(self, room_id: str) -> dict[tuple[str, str], str]:
        """The current state: (type, state key) to event ID."""
        events = self.get(f"/rooms/{quote(room_id)}/state")
        return {(event["type"], event["state_key"]): event["event_id"] for event in events}

    def state_content(self, room_id: str, event_type: str, state_key: str = "") -> Any:
        """None if there is no such state, or it may not be seen."""
        path = f"/rooms/{quote(room_id)}/state/{event_type}/{quote(state_key)}"
        answer = self.call("GET", path)
        return answer.json if answer.status == http.client.OK else None

    def membership(self, room_id: str, user: "User") -> str | None:
        """As this user sees it from inside the room."""
        content = self.state_content(room_id, "m.room.member", user.user_id)
        return None if content is None else content["membership"]

    def timeline(self, room_id: str, limit: int = 100) -> list[Any]:
        """The newest events, oldest first, by /messages."""
        query = {"dir": "b", "limit": limit}
        chunk: list[Any] = self.get(f"/rooms/{quote(room_id)}/messages", query)["chunk"]
        return chunk[::-1]

    def texts(self, room_id: str) -> list[str]:
        """What was said lately, oldest first."""
        return [
            event["content"]["body"]
            for event in self.timeline(room_id)
            if event["type"] == "m.room.message" and "body" in event["content"]
        ]

    def rooms(self, section: str) -> Mapping[str, Any]:
        """A section of a first /sync: join, invite, knock or leave; room ID to what is in it."""
        include = '{"room":{"include_leave":true}}'
        answer = self.get("/sync", {"timeout": 0, "filter": include})
        found: Mapping[str, Any] = answer.get("rooms", {}).get(section, {})
        return found


def eventually(condition: Callable[[], T | None], description: str, timeout_s: float = 60.0) -> T:
    """Ask again until the answer is true, and return it. An AssertionError of the condition is a no, too.

    Raises AssertionError, with the description and the last answer, when it did not become so in time.
    """
    deadline_s = time.monotonic() + timeout_s
    pause_s = FIRST_POLL_S
    while True:
        try:
            last: Any = condition()
            if last:
                return last
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline_s:
            raise AssertionError(f"Not within {timeout_s:g} s: {description}. The last answer: {last!r}")
        time.sleep(pause_s)
        pause_s = min(1.5 * pause_s, LONGEST_POLL_S)


def quote(text: str) -> str:
    """An identifier as a part of a path: event IDs of room version 3 hold slashes."""
    return percent_encode(text, safe="")


def free_port() -> int:
    """A port that nobody uses, and that no outgoing connection takes."""
    while True:
        port = random.choice(FIXED_PORTS)
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
