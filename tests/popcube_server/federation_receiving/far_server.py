"""A server that a test plays itself: it signs what it likes and answers what it likes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import orjson
from nacl.signing import SigningKey
from twisted.internet.defer import Deferred

from federation.room_dag.canonical_json import encode_lenient
from federation.room_dag.event import Event, EventTemplate, build_event, parse_event, reference_hash_base64
from federation.room_dag.room_versions import get_room_rules
from federation.room_dag.signing import EventSigner
from federation.transport.https import HttpRequest, HttpResponse
from federation.transport.route import Route
from federation.transport.x_matrix import build_x_matrix
from tests.popcube_server.server_case import ONE, START_S, ServerTestCase

V1 = "/_matrix/federation/v1/"
V2 = "/_matrix/federation/v2/"
DAY_MS = 24 * 3600 * 1000
JSON = {"content-type": "application/json"}

Answer = Callable[[HttpRequest], "HttpResponse | Deferred[HttpResponse]"]


def found(value: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(status, JSON, value if isinstance(value, bytes) else encode_lenient(value))


def silence(request: HttpRequest) -> "Deferred[HttpResponse]":
    """No answer, ever."""
    return Deferred()


class FarServer:
    """Answers with its keys, and with what stands in `answers` by the beginning of the path."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.user = f"@eve:{name}"
        self.signer = EventSigner(name, "ed25519:far", SigningKey(sha256(name.encode()).digest()))
        self.answers: dict[str, Answer] = {}
        self.requests: list[HttpRequest] = []

    def __call__(self, route: Route, request: HttpRequest) -> "HttpResponse | Deferred[HttpResponse]":
        self.requests.append(request)
        for beginning, answer in self.answers.items():
            if request.uri.startswith(beginning):
                return answer(request)
        if request.uri == "/_matrix/key/v2/server":
            return found(self.keys())
        return found({"errcode": "M_UNRECOGNIZED"}, 404)

    def keys(self) -> Mapping[str, Any]:
        return self.signer.sign_json(
            {
                "server_name": self.name,
                "valid_until_ts": int(START_S * 1000) + 2 * DAY_MS,
                "verify_keys": {"ed25519:far": {"key": self.signer.verify_key_base64}},
                "old_verify_keys": {},
            }
        )

    def asked(self, beginning: str) -> int:
        """How many requests came for paths that begin so."""
        return sum(request.uri.startswith(beginning) for request in self.requests)


class FarRoom:
    """A room as the far server has it: it builds on the state that it was given when it joined."""

    def __init__(self, far: FarServer, version: str, joined: Mapping[str, Any], member: Event) -> None:
        self.far = far
        self.rules = get_room_rules(version)
        self.member = member
        self.room_id = member.room_id
        events = [parse_event(pdu, self.rules) for pdu in (*joined["state"], *joined["auth_chain"])]
        self.events = {event.event_id: event for event in events} | {member.event_id: member}
        self.state = {event.state_pair: event for event in events} | {member.state_pair: member}
        self._number = 0

    def build(
        self,
        event_type: str = "m.room.message",
        content: Mapping[str, Any] | None = None,
        *,
        prev: Sequence[Event] | None = None,
        sender: str | None = None,
        state_key: str | None = None,
        signer: EventSigner | None = None,
        **changes: Any,
    ) -> Event:
        """An event on `prev` (the join if not given); `changes` are fields of the template."""
        self._number += 1
        prev = (self.member,) if prev is None else prev
        pairs = [("m.room.power_levels", ""), ("m.room.member", sender or self.far.user)]
        if self.rules.room_create_in_auth_events:
            pairs.append(("m.room.create", ""))
        auth = [self.state[pair] for pair in pairs if pair in self.state]
        template = EventTemplate(
            type=event_type,
            sender=sender or self.far.user,
            room_id=self.room_id,
            state_key=state_key,
            content={"body": f"number {self._number}", "msgtype": "m.text"} if content is None else content,
            origin_server_ts=int(START_S * 1000) + self._number,
            depth=1 + max(event.depth for event in prev),
            prev_events=[event.event_id for event in prev],
            auth_events=[event.event_id for event in auth],
            reference_hashes={event.event_id: reference_hash_base64(event) for event in (*prev, *auth)},
        )
        template = replace(template, **changes)
        event = build_event(template, self.rules, signer or self.far.signer, f"n{self._number}")
        self.events[event.event_id] = event
        return event


class ReceivingCase(ServerTestCase):
    """`one.example` has alice; `far.example` and others are played by the test."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.far = self.given_far("far.example")

    def given_far(self, name: str) -> FarServer:
        far = FarServer(name)
        self.network.far_servers[name] = far
        return far

    def ask(
        self, far: FarServer, method: str, url: str, body: Any = None, destination: str = ONE
    ) -> tuple[int, Any]:
        return self.finish(self.begin_ask(far, method, url, body, destination))

    def begin_ask(
        self, far: FarServer, method: str, url: str, body: Any = None, destination: str = ONE
    ) -> "Deferred[Any]":
        """`body` may be bytes, which are sent and signed as they are."""
        content = body if isinstance(body, bytes) or body is None else encode_lenient(body)
        header = build_x_matrix(far.signer, destination, method, url, content)
        return self.begin(method, url, content, headers={"Authorization": header}, server_name=destination)

    def given_far_room(self, far: FarServer | None = None, version: str = "12", **options: Any) -> FarRoom:
        """A room of alice's in which the far server's user is."""
        room_id = self.given_room(self.alice, room_version=version, **options)
        return self.given_far_join(far or self.far, room_id, version)

    def given_far_join(self, far: FarServer, room_id: str, version: str = "12") -> FarRoom:
        room = quote(room_id)
        template = self.ok(self.ask(far, "GET", f"{V1}make_join/{room}/{quote(far.user)}?ver={version}"))
        rules = get_room_rules(version)
        event = template["event"]
        built = build_event(
            EventTemplate(
                type=event["type"],
                sender=event["sender"],
                room_id=room_id,
                state_key=event["state_key"],
                content=event["content"],
                origin_server_ts=event["origin_server_ts"],
                depth=event["depth"],
                prev_events=_ids(event["prev_events"]),
                auth_events=_ids(event["auth_events"]),
                reference_hashes=_hashes(event["prev_events"]) | _hashes(event["auth_events"]),
            ),
            rules,
            far.signer,
            "join",
        )
        url = f"{V2}send_join/{room}/{quote(built.event_id)}"
        joined = self.ok(self.ask(far, "PUT", url, orjson.loads(built.json)))
        return FarRoom(far, version, joined, built)

    def transaction(
        self, pdus: Sequence[Any] = (), edus: Sequence[Any] = (), origin: str = "far.example"
    ) -> dict[str, Any]:
        return {
            "origin": origin,
            "origin_server_ts": int(START_S * 1000),
            "pdus": [orjson.loads(pdu.json) if isinstance(pdu, Event) else pdu for pdu in pdus],
            "edus": list(edus),
        }

    def begin_send(
        self, far: FarServer, txn_id: str, pdus: Sequence[Any] = (), edus: Sequence[Any] = ()
    ) -> "Deferred[Any]":
        body = self.transaction(pdus, edus, far.name)
        return self.begin_ask(far, "PUT", f"{V1}send/{quote(txn_id, safe='')}", body)

    def send(
        self, far: FarServer, txn_id: str, pdus: Sequence[Any] = (), edus: Sequence[Any] = ()
    ) -> tuple[int, Any]:
        return self.finish(self.begin_send(far, txn_id, pdus, edus))

    def results(
        self, far: FarServer, txn_id: str, pdus: Sequence[Any] = (), edus: Sequence[Any] = ()
    ) -> dict[str, dict[str, str]]:
        """What the answer says of each PDU."""
        results: dict[str, dict[str, str]] = self.ok(self.send(far, txn_id, pdus, edus))["pdus"]
        return results

    def bodies(self, room_id: str) -> list[str]:
        """The messages that alice sees, oldest first."""
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/messages?dir=b&limit=100"
        chunk = self.ok(self.get(path, self.alice))["chunk"]
        return [event["content"]["body"] for event in reversed(chunk) if "body" in event["content"]]

    def wait(self, seconds: float, step: float = 1.0) -> None:
        passed = 0.0
        while passed < seconds:
            self.clock.advance(min(step, seconds - passed))
            self.network.flush()
            passed += step


def _ids(references: Sequence[Any]) -> list[str]:
    return [each if isinstance(each, str) else each[0] for each in references]


def _hashes(references: Sequence[Any]) -> dict[str, str]:
    return {each[0]: each[1]["sha256"] for each in references if not isinstance(each, str)}
