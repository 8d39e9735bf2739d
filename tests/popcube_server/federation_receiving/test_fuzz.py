"""Whatever a server signs and sends, the answer is one of the specification's, and nothing gets in that may not."""

import copy
import logging
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson

from federation.room_dag.base64 import encode_base64
from federation.room_dag.canonical_json import NotCanonical, decode_exact, encode_lenient
from federation.room_dag.hashes import content_hash, signed_bytes
from federation.room_dag.room_versions import get_room_rules
from popcube_server.rest.endpoint import Access
from popcube_server.rest.router import Route
from tests.popcube_server.federation_receiving.far_server import V1, V2, FarRoom, ReceivingCase
from tests.popcube_server.server_case import ONE

STRINGS = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "..",
    "!:",
    "@:",
    "$",
    "@alice:one.example",
    "@nobody:one.example",
    "@eve:far.example",
    "@eve:[::1]:99999",
    "@bob:other.example",
    "!nowhere:one.example",
    "#nowhere:one.example",
    "one.example",
    "m.room.member",
    "m.room.create",
    "m.room.power_levels",
    "m.typing",
    "join",
    "-1",
    "99999999999999999999",
    "12",
    "1",
    "a" * 256,
    "\u0101" * 200,
    "\u202e\U0001f600\u2028",
    "ed25519:far",
    "*",
)

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e308,
    -0.0,
    2**53,
    2**63,
    2**64,
    10**30,
    -(10**30),
    [],
    {},
    [[]],
    [{}],
    [None],
    {"": ""},
    {"": None},
    {"\x00": {"\x00": "\x00"}},
    {"a": {"b": {"c": [1.5]}}},
    *STRINGS,
)

NESTED = [[[[[[[[[[[[[[[["deep"]]]]]]]]]]]]]]]]


class _Collector(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._faults = faults
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self._faults.append(self.format(record))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with each of its keys."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


class FuzzCase(ReceivingCase):
    def setUp(self) -> None:
        super().setUp()
        self.chance = random.Random(11)
        self.faults: list[str] = []
        handler = _Collector(self.faults)
        logging.getLogger().addHandler(handler)
        self.addCleanup(logging.getLogger().removeHandler, handler)

    def mutated(self, value: Any) -> Any:
        """A copy with one to three things wrong."""
        value = copy.deepcopy(value)
        for _ in range(self.chance.choice((1, 1, 1, 2, 3))):
            found = list(places(value))
            if not found:
                return value
            container, key = self.chance.choice(found)
            chance = self.chance.random()
            if chance < 0.15 and isinstance(container, dict):
                del container[key]
            elif chance < 0.25 and isinstance(container, dict):
                container[self.chance.choice(STRINGS)] = container[key]
            elif chance < 0.35 and isinstance(container, list):
                container.extend(copy.deepcopy(container[key]) for _ in range(self.chance.choice((1, 30))))
            elif chance < 0.4:
                container[key] = copy.deepcopy(NESTED)
            else:
                container[key] = copy.deepcopy(self.chance.choice(VALUES))
        return value

    def try_ask(self, method: str, url: str, body: Any) -> tuple[int, Any]:
        """Signed as it is. What no JSON can hold is not sent."""
        before = len(self.faults)
        pending = self.begin_ask(self.far, method, url, body)
        for _ in range(3):
            self.clock.advance(30)
            self.network.flush()
        status, answer = self.finish(pending)
        if status >= 500 and status not in (502, 504):
            self.faults.append(f"{status} {method} {url} {body!r:.1500} {answer!r}")
        del self.faults[before + 1 :]
        return status, answer


class RoutesTests(FuzzCase):
    """Any endpoint, with what fits no endpoint."""

    rounds = 25

    def test_no_endpoint_for_servers_fails_inside(self) -> None:
        self.room = self.given_far_room()
        routes = [
            route
            for route in self.organisations[ONE].site.router.routes()
            if route.mark.access is Access.SERVER or route.mark.path.startswith("/_matrix/key")
        ]
        self.assertGreater(len(routes), 20)
        for route in routes:
            for _ in range(self.rounds):
                self.call_once(route)
        self.assertEqual(self.faults, [])

    def call_once(self, route: Route) -> None:
        path = route.mark.path
        fitting = {"room_id": self.room.room_id, "event_id": self.room.member.event_id}
        for variable in route.variables:
            text = fitting.get(variable, self.far.user)
            if self.chance.random() < 0.4:
                text = self.chance.choice(STRINGS)
            path = path.replace("{" + variable + "}", quote(text, safe=""), 1)
        names = (
            "ver",
            "v",
            "limit",
            "event_id",
            "ts",
            "dir",
            "user_id",
            "field",
            "room_alias",
            "omit_members",
        )
        query = "&".join(
            f"{name}={quote(self.chance.choice(STRINGS), safe='')}" for name in self.chance.sample(names, 3)
        )
        body: Any = None
        if route.mark.method in ("PUT", "POST"):
            body = self.mutated({"room_version": "12", "event": {}, "pdus": [], "edus": [{}], "x": {}})
        self.try_ask(route.mark.method, f"{path}?{query}", body)


class BodiesTests(FuzzCase):
    """Bytes that are hardly JSON."""

    def test_broken_bodies_are_refused_by_every_endpoint(self) -> None:
        bodies = (
            b"",
            b"[]",
            b"null",
            b'"x"',
            b"{",
            b'{"a":NaN}',
            b'{"a":Infinity}',
            b'{"a":-Infinity,"b":1.5}',
            b'{"a":"\xff\xfe"}',
            b'{"a":"\\ud800"}',
            b'{"a":1.5,"b":"\\ud800"}',
            b'{"\\ud800":1.5}',
            b"\xef\xbb\xbf{}",
            b'{"a":1}}',
            b'{"a":01}',
            b'{"a":' + b"9" * 5000 + b"}",
            b'{"a":1.5,"b":' + b"9" * 5000 + b"}",
            b'{"a":1e999}',
            b'{"a":1e-9999999}',
            b'{"pdus":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            b'{"a":1.5,"pdus":' + b"[" * 900 + b"]" * 900 + b"}",
            b'{"pdus":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}",
            b"{" + b",".join(b'"k%d":{}' % number for number in range(20_000)) + b"}",
        )
        routes = [
            route
            for route in self.organisations[ONE].site.router.routes()
            if route.mark.access is Access.SERVER and route.mark.method in ("PUT", "POST")
        ]
        for route in routes:
            path = route.mark.path
            for variable in route.variables:
                path = path.replace("{" + variable + "}", "x", 1)
            for body in bodies:
                self.try_ask(route.mark.method, path, body)
        self.assertEqual(self.faults, [])

    def test_key_that_stands_twice_counts_once(self) -> None:
        # Which one counts is the same for the signature and for what is done.
        room = self.given_far_room()
        twice = b'{"edus":[],"pdus":[],"pdus":[%b]}' % room.build().json
        url = f"{V1}send/1"
        # Signed is what is canonical: one of them.
        self.assert_refused(self.ask(self.far, "PUT", url, twice), 401, "M_UNAUTHORIZED")
        self.assertEqual(self.bodies(room.room_id), [])

    def test_number_of_any_length_costs_nothing_much(self) -> None:
        room = self.given_far_room()
        long = b'{"pdus":[{"room_id":"%b","depth":%b,"x":1.5}]}' % (room.room_id.encode(), b"9" * 1_000_000)
        status, _ = self.try_ask("PUT", f"{V1}send/1", long)
        self.assertLess(status, 500)
        self.assertEqual(self.faults, [])


class ValidRequestsTests(FuzzCase):
    """Requests that are right but for one thing, of every kind."""

    rounds = 120

    def test_changed_requests_do_nothing_that_they_may_not(self) -> None:
        room = self.given_far_room()
        members = self.members(room)
        for method, url, body in self.requests(room):
            for _ in range(self.rounds):
                self.try_ask(method, url.replace("TXN", str(self.chance.getrandbits(60))), self.mutated(body))
        self.assertEqual(self.faults, [])
        self.assertEqual(self.members(room), members)
        self.assertEqual(self.bodies(room.room_id), [])

    def requests(self, room: FarRoom) -> Iterator[tuple[str, str, Any]]:
        room_id, event_id = quote(room.room_id), quote(room.member.event_id)
        yield "PUT", f"{V1}send/TXN", self.transaction([], list(self.edus(room)))
        for edu in self.edus(room):
            yield "PUT", f"{V1}send/TXN", self.transaction([], [edu])
        join = orjson.loads(room.build("m.room.member", {"membership": "join"}, state_key=room.far.user).json)
        join["sender"] = join["state_key"] = "@frank:far.example"
        yield "PUT", f"{V2}send_join/{room_id}/{event_id}", join
        yield "PUT", f"{V2}send_leave/{room_id}/{event_id}", join
        yield "PUT", f"{V1}send_knock/{room_id}/{event_id}", join
        invite = {"room_version": "12", "event": join, "invite_room_state": [join]}
        yield "PUT", f"{V2}invite/{room_id}/{event_id}", invite
        yield "PUT", f"{V1}invite/{room_id}/{event_id}", join
        missing = {"earliest_events": [room.member.event_id], "latest_events": [], "limit": 5, "min_depth": 0}
        yield "POST", f"{V1}get_missing_events/{room_id}", missing
        alice = self.alice.user_id
        yield "POST", f"{V1}user/keys/query", {"device_keys": {alice: []}}
        claim = {"one_time_keys": {alice: {self.alice.device_id: "signed_curve25519"}}}
        yield "POST", f"{V1}user/keys/claim", claim

    def edus(self, room: FarRoom) -> Iterator[dict[str, Any]]:
        eve, alice = room.far.user, self.alice.user_id
        contents: dict[str, Any] = {
            "m.typing": {"room_id": room.room_id, "user_id": eve, "typing": True},
            "m.receipt": {
                room.room_id: {
                    "m.read": {
                        eve: {"event_ids": [room.member.event_id], "data": {"ts": 1, "thread_id": "main"}}
                    }
                }
            },
            "m.presence": {"push": [{"user_id": eve, "presence": "online", "last_active_ago": 1}]},
            "m.device_list_update": {
                "user_id": eve,
                "device_id": "DEVICE",
                "stream_id": 5,
                "prev_id": [4],
                "keys": {
                    "user_id": eve,
                    "device_id": "DEVICE",
                    "algorithms": [],
                    "keys": {},
                    "signatures": {},
                },
            },
            "m.signing_key_update": {
                "user_id": eve,
                "master_key": {
                    "user_id": eve,
                    "usage": ["master"],
                    "keys": {"ed25519:" + "A" * 43: "A" * 43},
                },
            },
            "m.direct_to_device": {
                "sender": eve,
                "type": "m.test",
                "message_id": "message",
                "messages": {alice: {self.alice.device_id: {"x": 1}}},
            },
        }
        for edu_type, content in contents.items():
            yield {"edu_type": edu_type, "content": content}

    def members(self, room: FarRoom) -> Any:
        path = f"/_matrix/client/v3/rooms/{quote(room.room_id)}/joined_members"
        return self.ok(self.get(path, self.alice))


class ChangedEventsTests(FuzzCase):
    """Events with something wrong, hashed and signed again by the server that sends them."""

    rounds = 250

    def check_version(self, version: str) -> None:
        room = self.given_far_room(version=version)
        rules = get_room_rules(version)
        before = self.state(room)
        for _ in range(self.rounds):
            pdu = orjson.loads(room.build().json)
            if self.chance.random() < 0.5:
                pdu = orjson.loads(room.build("m.room.topic", {"topic": "mine"}, state_key="").json)
            changed = self.mutated(pdu)
            changed.setdefault("room_id", room.room_id)
            if not isinstance(changed["room_id"], str):
                changed["room_id"] = room.room_id
            self.sign_again(room, changed, rules)
            try:
                body = self.transaction([changed])
                decode_exact(encode_lenient(body))
            except NotCanonical:
                continue
            self.try_ask("PUT", f"{V1}send/{self.chance.getrandbits(60)}", body)
        self.assertEqual(self.faults, [])
        # Nobody but the creator may change the state.
        self.assertEqual(self.state(room), before)
        # And the room goes on.
        last = room.build()
        self.assertEqual(self.results(self.far, "last", [last]), {last.event_id: {}})

    def sign_again(self, room: FarRoom, pdu: dict[str, Any], rules: Any) -> None:
        if self.chance.random() < 0.2:
            return
        pdu.pop("unsigned", None)
        try:
            pdu["hashes"] = {"sha256": encode_base64(content_hash(pdu, rules))}
            pdu["signatures"] = {}
            signature = room.far.signer.sign_bytes(signed_bytes(pdu, rules))
        except (NotCanonical, ValueError, KeyError, TypeError, AttributeError):
            return
        pdu["signatures"] = {room.far.name: {room.far.signer.key_id: signature}}

    def state(self, room: FarRoom) -> Any:
        path = f"/_matrix/client/v3/rooms/{quote(room.room_id)}/state"
        events = self.ok(self.get(path, self.alice))
        return {
            (event["type"], event["state_key"]): event["event_id"]
            for event in events
            # What the far server's own user does is its own affair.
            if event["sender"] != room.far.user or event["type"] != "m.room.member"
        }

    def test_version_1(self) -> None:
        self.check_version("1")

    def test_version_5(self) -> None:
        self.check_version("5")

    def test_version_10(self) -> None:
        self.check_version("10")

    def test_version_12(self) -> None:
        self.check_version("12")
