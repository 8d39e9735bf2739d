"""Servers of the test's own, which know all about some rooms: they let others in, send them events and answer for them.

    with Resident(("127.0.0.3", "127.0.0.4"), authority) as resident:
        resident.hold(room)  # a RoomBuilder whose users are of `resident.names`
        user.join(room.room_id, resident.names[0])
        resident.send(resident.names[1], user.peer.server_name, events)

Each listens on its own address with TLS and signs with the key of `make_signer`. They answer as a server should that
has every event that the RoomBuilder has at that moment, and ask nobody anything. What they do not know is a 404.
"""

import http.client
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.parse import quote as percent_encode

import orjson

from federation.room_dag.canonical_json import decode_json, encode_lenient
from federation.room_dag.event import Event, decode_pdu, parse_event
from federation.transport.x_matrix import build_x_matrix
from tests.federation.room_dag.builders import RoomBuilder, make_signer
from tests.integration.federation.authority import Authority, Identity
from tests.integration.federation.peers import free_port

PREFIX = "/_matrix/federation"
KEY_LIFETIME_MS = 86_400_000
ANSWER_DEADLINE_S = 120.0
# How soon a listener sees that it is to stop.
POLL_S = 0.05
# "The maximum number of events to retrieve. Defaults to 10."
DEFAULT_MISSING = 10
MOST_EVENTS = 100


class Unknown(Exception):
    """There is no such room, event or endpoint here."""


class Request:
    """What another server asks."""

    def __init__(self, target: str, body: Any) -> None:
        parts = urlsplit(target)
        self.path = parts.path
        self.query: Mapping[str, list[str]] = parse_qs(parts.query)
        self.body = body


class Resident:
    """All of them; each thread of a listener reads the rooms, and only a join changes one."""

    def __init__(self, hosts: Sequence[str], authority: Authority) -> None:
        self._rooms: dict[str, RoomBuilder] = {}
        self._joining = threading.Lock()
        self.asked: dict[str, int] = {}
        """How often each of the answers was given."""
        self._routes: Sequence[tuple[str, re.Pattern[str], Callable[..., Any]]] = (
            ("GET", _path("/v1/make_join/{}/{}"), self._make_join),
            ("PUT", _path("/v2/send_join/{}/{}"), self._send_join),
            ("POST", _path("/v1/get_missing_events/{}"), self._get_missing_events),
            ("GET", _path("/v1/backfill/{}"), self._backfill),
            ("GET", _path("/v1/state/{}"), self._state),
            ("GET", _path("/v1/state_ids/{}"), self._state_ids),
            ("GET", _path("/v1/event_auth/{}/{}"), self._event_auth),
            ("GET", _path("/v1/event/{}"), self._event),
            ("PUT", _path("/v1/send/{}"), self._take_transaction),
        )
        self._trust = ssl.create_default_context(cafile=str(authority.certificate))
        identity = authority.issue("resident", hosts)
        self._listeners = [Listener(host, free_port(), identity, self._answer) for host in hosts]
        self.names = tuple(listener.name for listener in self._listeners)
        self._connections = threading.local()

    def __enter__(self) -> Self:
        for listener in self._listeners:
            listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listener in self._listeners:
            listener.stop()

    def hold(self, room: RoomBuilder) -> None:
        """Answer for a room from now on."""
        self._rooms[room.create.room_id] = room

    def forget(self, room: RoomBuilder) -> None:
        """End `hold`."""
        del self._rooms[room.create.room_id]

    def send(self, origin: str, destination: str, events: Iterable[Event]) -> Mapping[str, str]:
        """One transaction, taken in when this returns: what was wrong, by event ID."""
        body = {
            "origin": origin,
            "origin_server_ts": _now_ms(),
            "pdus": [decode_pdu(event) for event in events],
        }
        uri = f"{PREFIX}/v1/send/{uuid.uuid4().hex}"
        answer = self._request("PUT", origin, destination, uri, encode_lenient(body))
        return {name: said["error"] for name, said in answer["pdus"].items() if "error" in said}

    def ask_state(self, origin: str, destination: str, room_id: str, event_id: str) -> frozenset[str]:
        """The event IDs of the state before an event, as another server gives it."""
        uri = f"{PREFIX}/v1/state_ids/{_quote(room_id)}?event_id={_quote(event_id)}"
        return frozenset(self._request("GET", origin, destination, uri, None)["pdu_ids"])

    def _request(self, method: str, origin: str, destination: str, uri: str, content: bytes | None) -> Any:
        headers = {
            "Authorization": build_x_matrix(make_signer(origin), destination, method, uri, content),
            "Content-Type": "application/json",
        }
        connection = self._connection(destination)
        try:
            connection.request(method, uri, content, headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        if response.status != http.client.OK:
            raise AssertionError(f"{destination} answered {response.status}: {answer[:1000]!r}")
        return orjson.loads(answer)

    def _connection(self, destination: str) -> http.client.HTTPSConnection:
        kept: dict[str, http.client.HTTPSConnection] = self._connections.__dict__.setdefault("kept", {})
        if destination not in kept:
            kept[destination] = http.client.HTTPSConnection(
                destination, timeout=ANSWER_DEADLINE_S, context=self._trust
            )
        return kept[destination]

    def _answer(self, name: str, method: str, request: Request) -> Any:
        if request.path == "/_matrix/key/v2/server":
            return _keys(name)
        for its_method, pattern, answer in self._routes:
            match = pattern.fullmatch(request.path)
            if match is not None and its_method == method:
                verb = answer.__name__.removeprefix("_")
                self.asked[verb] = self.asked.get(verb, 0) + 1
                return answer(name, request, *(unquote(part) for part in match.groups()))
        raise Unknown(request.path)

    def _room(self, room_id: str) -> RoomBuilder:
        try:
            return self._rooms[room_id]
        except KeyError:
            raise Unknown(room_id) from None

    def _make_join(self, name: str, request: Request, room_id: str, user_id: str) -> Any:
        room = self._room(room_id)
        template = decode_pdu(room.build("m.room.member", user_id, {"membership": "join"}, user_id))
        for key in ("hashes", "signatures", "event_id"):
            template.pop(key, None)
        return {"room_version": room.rules.version, "event": template}

    def _send_join(self, name: str, request: Request, room_id: str, event_id: str) -> Any:
        room = self._room(room_id)
        with self._joining:
            event = parse_event(request.body, room.rules)
            room.add(event)
            if event.event_id in room.rejected:
                raise AssertionError(f"{event.event_id} is not allowed in {room_id}")
            room.heads = (event.event_id,)
        return {
            "origin": name,
            "members_omitted": False,
            "event": decode_pdu(event),
            **self._state_before(room, event),
        }

    def _get_missing_events(self, name: str, request: Request, room_id: str) -> Any:
        room, body = self._room(room_id), request.body
        latest = [parent for each in body["latest_events"] for parent in _find(room, each).prev_events]
        limit = min(body.get("limit", DEFAULT_MISSING), MOST_EVENTS)
        known = set(body["earliest_events"])
        found = [
            event
            for event in _walk_back(room, latest, known, limit)
            if event.depth >= body.get("min_depth", 0)
        ]
        return {"events": [decode_pdu(event) for event in reversed(found)]}

    def _backfill(self, name: str, request: Request, room_id: str) -> Any:
        room = self._room(room_id)
        limit = min(int(request.query["limit"][0]), MOST_EVENTS)
        return _transaction(name, _walk_back(room, request.query["v"], set(), limit))

    def _state(self, name: str, request: Request, room_id: str) -> Any:
        room = self._room(room_id)
        return self._state_before(room, _find(room, request.query["event_id"][0]))

    def _state_ids(self, name: str, request: Request, room_id: str) -> Any:
        room = self._room(room_id)
        state = room.state_before(_find(room, request.query["event_id"][0]).prev_events)
        chain = _auth_chain(room, state.values())
        return {
            "pdu_ids": list(state.values()),
            "auth_chain_ids": [event.event_id for event in chain],
        }

    def _state_before(self, room: RoomBuilder, event: Event) -> dict[str, Any]:
        state = room.state_before(event.prev_events)
        return {
            "auth_chain": [decode_pdu(each) for each in _auth_chain(room, state.values())],
            "pdus": [decode_pdu(room.events.get(event_id)) for event_id in state.values()],
            # What /send_join calls it.
            "state": [decode_pdu(room.events.get(event_id)) for event_id in state.values()],
        }

    def _event_auth(self, name: str, request: Request, room_id: str, event_id: str) -> Any:
        room = self._room(room_id)
        return {
            "auth_chain": [decode_pdu(each) for each in _auth_chain(room, [_find(room, event_id).event_id])]
        }

    def _event(self, name: str, request: Request, event_id: str) -> Any:
        for room in list(self._rooms.values()):
            if event_id in room.events.by_id:
                return _transaction(name, [room.events.get(event_id)])
        raise Unknown(event_id)

    def _take_transaction(self, name: str, request: Request, transaction_id: str) -> Any:
        # Presence, devices and whatever else servers tell each other.
        return {"pdus": {}}


class Listener(ThreadingHTTPServer):
    """One address with TLS. `name` is the server's."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(
        self, host: str, port: int, identity: Identity, answer: Callable[[str, str, Request], Any]
    ) -> None:
        super().__init__((host, port), Connection)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.private_key)
        # A handshake happens in the thread of its connection, not in the one that waits for the next.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.name = f"{host}:{port}"
        self._answer = answer
        self._serving = threading.Thread(
            target=self.serve_forever, args=(POLL_S,), name=self.name, daemon=True
        )

    def answer(self, method: str, request: Request) -> Any:
        return self._answer(self.name, method, request)

    def start(self) -> None:
        self._serving.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._serving.join()


class Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listener

    def handle(self) -> None:
        # The other end may go at any time.
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def do_GET(self) -> None:
        self._respond()

    def do_PUT(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing to standard error."""

    def _respond(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        request = Request(self.path, decode_json(content) if content else None)
        try:
            status, answer = 200, self.server.answer(self.command, request)
        except Unknown as error:
            status, answer = 404, {"errcode": "M_NOT_FOUND", "error": str(error)}
        body = encode_lenient(answer)
        # In one piece: the second of two would wait for the acknowledgment of the first.
        self._headers_buffer = [
            f"HTTP/1.1 {status} \r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode(),
            body,
        ]
        self.flush_headers()


def _path(template: str) -> re.Pattern[str]:
    return re.compile((PREFIX + template).replace("{}", "([^/]*)") + "/?")


def _keys(name: str) -> Any:
    signer = make_signer(name)
    document = {
        "server_name": name,
        "valid_until_ts": _now_ms() + KEY_LIFETIME_MS,
        "verify_keys": {signer.key_id: {"key": signer.verify_key_base64}},
        "old_verify_keys": {},
    }
    return signer.sign_json(document)


def _transaction(name: str, events: Iterable[Event]) -> Any:
    return {"origin": name, "origin_server_ts": _now_ms(), "pdus": [decode_pdu(event) for event in events]}


def _find(room: RoomBuilder, event_id: str) -> Event:
    try:
        return room.events.get(event_id)
    except KeyError:
        raise Unknown(event_id) from None


def _walk_back(room: RoomBuilder, begin: Iterable[str], known: set[str], limit: int) -> list[Event]:
    """Breadth first from these events, up to what is known, newest first."""
    found: dict[str, Event] = {}
    pending = list(begin)
    for event_id in pending:
        if len(found) < limit and event_id not in found and event_id not in known:
            found[event_id] = _find(room, event_id)
            pending.extend(found[event_id].prev_events)
    return list(found.values())


def _auth_chain(room: RoomBuilder, begin: Iterable[str]) -> list[Event]:
    """The auth events of these, theirs, and so on."""
    found: dict[str, Event] = {}
    pending = [each for event_id in begin for each in room.events.get(event_id).auth_events]
    for event_id in pending:
        if event_id not in found:
            found[event_id] = room.events.get(event_id)
            pending.extend(found[event_id].auth_events)
    return list(found.values())


def _quote(text: str) -> str:
    return percent_encode(text, safe="")


def _now_ms() -> int:
    return int(time.time() * 1_000)
