"""Whatever is sent to any endpoint, the answer is one of the specification's, never an error inside."""

import logging
import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from popcube_server.rest.endpoint import Access
from popcube_server.rest.router import Route
from tests.popcube_server.server_case import ServerTestCase, TestUser

# What a path variable, a query parameter or a string in a body may be, besides what fits.
STRINGS = (
    "",
    " ",
    "x",
    "\x00",
    "%00",
    "..",
    "../../etc/passwd",
    "!:",
    "@:",
    "#:",
    "$",
    "@alice:one.example",
    "@nobody:one.example",
    "@bob:far.example",
    "!nowhere:one.example",
    "#nowhere:one.example",
    "m.room.member",
    "m.room.create",
    "m.room.power_levels",
    "global",
    "main",
    "-1",
    "999999999999999999999999",
    "true",
    "s1.main",
    "t5",
    "{",
    "{}",
    "[]",
    '{"room":{"timeline":{"limit":-1,"types":[1]}}}',
    "a" * 300,
    "\u202e\U0001f600",
    "ed25519:x",
)

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**53,
    2**63,
    10**30,
    [],
    {},
    [[]],
    [{}],
    {"": ""},
    {"a": {"b": {"c": []}}},
    *STRINGS,
)

# Keys that endpoints look for, so that bodies get past the first check.
KEYS = (
    *("type", "state_key", "content", "user_id", "reason", "visibility", "preset", "invite", "initial_state"),
    *("creation_content", "power_level_content_override", "room_version", "room_alias_name", "name", "topic"),
    *(
        "username",
        "password",
        "auth",
        "identifier",
        "device_id",
        "token",
        "session",
        "refresh_token",
        "new_password",
    ),
    *("device_keys", "one_time_keys", "fallback_keys", "master_key", "self_signing_key", "user_signing_key"),
    *(
        "messages",
        "algorithm",
        "auth_data",
        "version",
        "rooms",
        "sessions",
        "session_data",
        "first_message_index",
    ),
    *(
        "is_verified",
        "forwarded_count",
        "m.fully_read",
        "m.read",
        "m.read.private",
        "thread_id",
        "typing",
        "timeout",
    ),
    *("presence", "status_msg", "actions", "conditions", "pattern", "enabled", "kind", "key", "membership"),
    *(
        "displayname",
        "avatar_url",
        "order",
        "room_id",
        "new_version",
        "additional_creators",
        "devices",
        "redacts",
    ),
    *(
        "m.relates_to",
        "event_id",
        "rel_type",
        "body",
        "msgtype",
        "filter",
        "limit",
        "since",
        "room",
        "event_fields",
    ),
    *(
        "app_id",
        "pushkey",
        "data",
        "lang",
        "nonce",
        "mac",
        "admin",
        "locked",
        "suspended",
        "alias",
        "alt_aliases",
    ),
    *(
        "history_visibility",
        "join_rule",
        "allow",
        "users",
        "events",
        "displayname",
        "m.mentions",
        "third_party_invite",
    ),
)

QUERIES = (
    *(
        "from",
        "to",
        "dir",
        "limit",
        "filter",
        "at",
        "membership",
        "not_membership",
        "since",
        "timeout",
        "full_state",
    ),
    *(
        "ts",
        "via",
        "version",
        "before",
        "after",
        "only",
        "include",
        "recurse",
        "max_depth",
        "suggested_only",
        "format",
    ),
    *(
        "width",
        "height",
        "method",
        "animated",
        "timeout_ms",
        "allow_remote",
        "filename",
        "kind",
        "token",
        "username",
    ),
    *("set_presence", "use_state_after", "user_id", "access_token_", "server", "session"),
)


class HostileInputTests(ServerTestCase):
    rounds = 12

    def setUp(self) -> None:
        super().setUp()
        self.chance = random.Random(4)
        self.user = self.given_user("alice")
        self.room = self.given_room(self.user)
        self.event = self.given_message(self.user, self.room)
        self.faults: list[str] = []
        handler = _Collector(self.faults)
        logging.getLogger().addHandler(handler)
        self.addCleanup(logging.getLogger().removeHandler, handler)

    def test_no_endpoint_fails_inside(self) -> None:
        routes = [
            route
            for route in self.organisations["one.example"].site.router.routes()
            # These end the session that the test calls with.
            if not any(word in route.mark.path for word in ("logout", "deactivate", "account/password"))
        ]
        self.assertGreater(len(routes), 100)
        for route in routes:
            for _ in range(self.rounds):
                self._call(route)
        self.assertEqual(self.faults, [])

    def test_broken_bodies_get_errors_and_change_nothing(self) -> None:
        path = f"/_matrix/client/v3/rooms/{self.room}/state/m.room.topic"
        for body, errcode in (
            (b"", "M_NOT_JSON"),
            (b"{", "M_NOT_JSON"),
            (b"\xff", "M_NOT_JSON"),
            (b"[]", "M_BAD_JSON"),
            (b'"text"', "M_BAD_JSON"),
            (b'{"a":' * 200 + b"{}" + b"}" * 200, "M_BAD_JSON"),
        ):
            self.assert_refused(self.put(path, body, self.user), 400, errcode)
        self.assert_refused(self.get(path, self.user), 404, "M_NOT_FOUND")

    def test_body_beyond_the_limit_is_refused(self) -> None:
        body = {"topic": "x" * (5 * 1024 * 1024)}
        path = f"/_matrix/client/v3/rooms/{self.room}/state/m.room.topic"
        self.assert_refused(self.put(path, body, self.user), 413, "M_TOO_LARGE")

    def _call(self, route: Route) -> None:
        method, path = route.mark.method, route.mark.path
        for variable in route.variables:
            path = path.replace("{" + variable + "}", quote(self._string(variable), safe=""), 1)
        query = "&".join(
            f"{name}={quote(self.chance.choice(STRINGS), safe='')}" for name in self.chance.sample(QUERIES, 3)
        )
        body: Mapping[str, Any] | bytes | None = None
        if method in ("PUT", "POST", "DELETE"):
            body = self._body(3)
        user: TestUser | None = None if route.mark.access is Access.OPEN else self.user
        before = len(self.faults)
        pending = self.begin(method, f"{path}?{query}", body, user)
        # Long-polls and waiting downloads end by time.
        self.clock.advance(1)
        self.clock.advance(10_000)
        status, answer = self.finish(pending)
        if status >= 500 and status not in (502, 504):
            self.faults.append(f"{status} {method} {path}?{query} {body!r} {answer!r}")
        del self.faults[before + 1 :]

    def _string(self, variable: str) -> str:
        fitting = {
            "room_id": self.room,
            "room_id_or_alias": self.room,
            "event_id": self.event,
            "user_id": self.user.user_id,
            "device_id": self.user.device_id,
        }
        if variable in fitting and self.chance.random() < 0.7:
            return fitting[variable]
        return self.chance.choice(STRINGS)

    def _body(self, depth: int) -> dict[str, Any]:
        body: dict[str, Any] = {}
        for key in self.chance.sample(KEYS, self.chance.randrange(9)):
            chance = self.chance.random()
            if depth and chance < 0.35:
                body[key] = self._body(depth - 1)
            elif depth and chance < 0.5:
                body[key] = [self._body(depth - 1)]
            elif chance < 0.6:
                body[key] = self.chance.choice(
                    (self.room, self.event, self.user.user_id, self.user.device_id)
                )
            else:
                value = self.chance.choice(VALUES)
                body[key] = value if _fits(value) else 0
        return body


class _Collector(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._faults = faults
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self._faults.append(self.format(record))


def _fits(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True
