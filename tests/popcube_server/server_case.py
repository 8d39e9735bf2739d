"""The base of tests that call a server inside the test's own process: two organisations, a clock, no threads.

class RoomSendTests(ServerTestCase):
    def test_stranger_is_forbidden(self) -> None:
        alice = self.given_user("alice")
        ...
        status, body = self.put(f"/_matrix/client/v3/rooms/{room}/send/m.room.message/1", {...}, alice)
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
from nacl.signing import SigningKey
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import FileBodyProducer, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from federation.room_dag.signing import EventSigner
from popcube_server.organisation import Organisation, Threads, build_core, build_organisation
from popcube_server.rest.front_door.door import FrontDoor, JsonLimits
from popcube_server.rest.front_door.limited_request import MAX_SIGNED_BYTES
from popcube_server.rest.front_door.root import RootResource
from popcube_server.rest.front_door.site import Site
from popcube_server.services.platform import Platform
from storage.engines.engine import Engine
from storage.engines.sqlite import SqliteEngine
from synapse_like_config.config import ServerConfig
from synapse_like_config.load import parse_config
from tests.storage.storage_case import synchronous
from tests.support.loop_network import LoopNetwork

ONE = "one.example"
TWO = "two.example"

# Noon of some day; tests move on from here with `self.clock.advance`.
START_S = 1_700_000_000.0

CONFIGURATION = """
server_name: {server_name}
public_baseurl: https://{server_name}/
signing_key: "ed25519 test 0000000000000000000000000000000000000000000"
enable_registration: true
enable_registration_without_verification: true
registration_shared_secret: shared secret
macaroon_secret_key: macaroon secret
form_secret: form secret
media_store_path: {directory}/media
bcrypt_rounds: 4
popcube:
  argon2: {{time_cost: 1, memory: 8192}}
{limits}
{extra}
"""

# Tests of other things send more than people do.
NO_LIMITS = """
rc_message: {per_second: 10000, burst_count: 10000}
rc_registration: {per_second: 10000, burst_count: 10000}
rc_room_creation: {per_second: 10000, burst_count: 10000}
rc_login:
  address: {per_second: 10000, burst_count: 10000}
  account: {per_second: 10000, burst_count: 10000}
  failed_attempts: {per_second: 10000, burst_count: 10000}
rc_joins:
  local: {per_second: 10000, burst_count: 10000}
  remote: {per_second: 10000, burst_count: 10000}
rc_federation: {sleep_limit: 10000, reject_limit: 10000, concurrent: 10000}
rc_joins_per_room: {per_second: 10000, burst_count: 10000}
rc_invites:
  per_room: {per_second: 10000, burst_count: 10000}
  per_user: {per_second: 10000, burst_count: 10000}
  per_issuer: {per_second: 10000, burst_count: 10000}
"""


@dataclass(frozen=True, slots=True)
class TestUser:
    """An account of a test, logged in on one device."""

    __test__ = False

    server_name: str
    user_id: str
    access_token: str
    device_id: str


Body = Mapping[str, Any] | bytes | None


class ServerTestCase(SynchronousTestCase):
    """Builds `one.example` and `two.example` in one process; unless told otherwise, calls go to the first."""

    hosts: tuple[str, ...] = (ONE, TWO)
    """The Host headers that are answered; but in tests of sites, the names of organisations."""
    extra_configuration = ""
    """More YAML for both organisations."""
    limits = NO_LIMITS
    """YAML of the rate limits: set to "" to test them."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.clock.advance(START_S)
        self._random = random.Random(7)
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.organisations: dict[str, Organisation] = {}
        self.platform = Platform(self.clock, self._random.randbytes, synchronous)
        self.network = LoopNetwork(lambda host: self.find_site(host) is not None, _Eager(), self.clock)
        for host in self.hosts:
            self.open(host)
        door = FrontDoor(
            find_site=self.find_site,
            x_forwarded=False,
            is_trusted_proxy=lambda peer: False,
            is_served=lambda path: True,
            json_limits=JsonLimits(4 * 1024 * 1024, 100, MAX_SIGNED_BYTES),
            timer_s=self.clock.seconds,
            new_request_id=lambda: "test",
        )
        root = RootResource(door)
        self.network.connect(root)
        self._agent = RequestTraversalAgent(root)

    def find_site(self, host: str) -> Site | None:
        """What a listener of the test answers for a host name."""
        organisation = self.organisations.get(host)
        return None if organisation is None else organisation.site

    def configuration(self, host: str) -> ServerConfig:
        text = CONFIGURATION.format(
            server_name=self.server_name_of(host),
            directory=self.directory / host,
            limits=self.limits,
            extra=self.extra_configuration_of(host),
        )
        return parse_config([("test.yaml", text)], self.directory).config

    def extra_configuration_of(self, host: str) -> str:
        return self.extra_configuration

    def server_name_of(self, host: str) -> str:
        return host

    def signer_of(self, host: str) -> EventSigner:
        return EventSigner(host, "ed25519:test", SigningKey(host.encode().ljust(32, b"0")[:32]))

    def make_engine(self, host: str) -> Engine:
        return SqliteEngine(self.directory / host / "homeserver.db", readers=1, synchronous="OFF")

    def open(self, host: str) -> Organisation:
        """Start an organisation over what is on disk; used again, a restart."""
        (self.directory / host).mkdir(exist_ok=True)
        core = build_core(
            self.configuration(host),
            self.signer_of(host),
            self.make_engine(host),
            self.platform,
            Threads(synchronous, synchronous),
            lambda number: None,
        )
        organisation = build_organisation(core, self.network.network, lambda: self.configuration(host))
        organisation.start()
        self.organisations[host] = organisation
        self.addCleanup(self.close, organisation)
        return organisation

    def close(self, organisation: Organisation) -> None:
        for host, running in list(self.organisations.items()):
            if running is organisation:
                self.successResultOf(Deferred.fromCoroutine(organisation.stop()))
                organisation.close()
                del self.organisations[host]

    def restart(self, host: str = ONE) -> None:
        """Stop an organisation and start it again from its data."""
        self.close(self.organisations[host])
        self.open(host)

    # Calls

    def begin(
        self,
        method: str,
        path: str,
        body: Body = None,
        user: TestUser | None = None,
        headers: Mapping[str, str] | None = None,
        server_name: str = ONE,
    ) -> "Deferred[IResponse]":
        """Send a request; the answer may come later (a long-poll)."""
        names = Headers({"Host": [server_name if user is None else user.server_name]})
        if user is not None:
            names.setRawHeaders("Authorization", [f"Bearer {user.access_token}"])
        for name, value in (headers or {}).items():
            names.setRawHeaders(name, [value])
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        producer = None if data is None else FileBodyProducer(BytesIO(data), cooperator=_Eager())  # type: ignore[arg-type]
        pending = self._agent.request(
            method.encode(), f"https://{server_name}{path}".encode(), names, producer
        )
        self._agent.flush()
        return pending

    def finish(self, pending: "Deferred[IResponse]") -> tuple[int, Any]:
        """The status and JSON (or bytes) of a request that must be answered by now."""
        self.network.flush()
        self._agent.flush()
        response = self.successResultOf(pending)
        reading = readBody(response)
        self._agent.flush()
        data = self.successResultOf(reading)
        kind = (response.headers.getRawHeaders("Content-Type") or [""])[0]
        return response.code, orjson.loads(data) if kind == "application/json" else data

    def assert_waiting(self, pending: "Deferred[IResponse]") -> None:
        """The request has no answer yet."""
        self._agent.flush()
        self.assertNoResult(pending)

    def call(
        self,
        method: str,
        path: str,
        body: Body = None,
        user: TestUser | None = None,
        headers: Mapping[str, str] | None = None,
        server_name: str = ONE,
    ) -> tuple[int, Any]:
        """Send a request and take its answer."""
        return self.finish(self.begin(method, path, body, user, headers, server_name))

    def get(self, path: str, user: TestUser | None = None) -> tuple[int, Any]:
        return self.call("GET", path, None, user)

    def put(self, path: str, body: Body, user: TestUser | None = None) -> tuple[int, Any]:
        return self.call("PUT", path, body, user)

    def post(self, path: str, body: Body, user: TestUser | None = None) -> tuple[int, Any]:
        return self.call("POST", path, body, user)

    def delete(self, path: str, user: TestUser | None = None, body: Body = None) -> tuple[int, Any]:
        return self.call("DELETE", path, body, user)

    def ok(self, answer: tuple[int, Any]) -> Any:
        """The body of an answer that must be a success."""
        self.assertEqual(answer[0], 200, answer[1])
        return answer[1]

    def assert_refused(self, answer: tuple[int, Any], status: int, errcode: str) -> None:
        self.assertEqual((answer[0], answer[1].get("errcode")), (status, errcode), answer[1])

    # Givens

    def given_user(self, name: str, server_name: str = ONE) -> TestUser:
        """A new account, logged in."""
        body = {"username": name, "password": f"password of {name}", "auth": {"type": "m.login.dummy"}}
        answer = self.ok(self.call("POST", "/_matrix/client/v3/register", body, server_name=server_name))
        return TestUser(server_name, answer["user_id"], answer["access_token"], answer["device_id"])

    def given_login(self, user: TestUser, device_id: str | None = None) -> TestUser:
        """The same account on another device."""
        name = user.user_id[1:].partition(":")[0]
        body: dict[str, Any] = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": name},
            "password": f"password of {name}",
        }
        if device_id is not None:
            body["device_id"] = device_id
        answer = self.ok(self.call("POST", "/_matrix/client/v3/login", body, server_name=user.server_name))
        return replace(user, access_token=answer["access_token"], device_id=answer["device_id"])

    def given_room(self, user: TestUser, **options: Any) -> str:
        """A room made by the user; a public one unless the options say otherwise."""
        body = {"preset": "public_chat", **options}
        answer = self.ok(self.post("/_matrix/client/v3/createRoom", body, user))
        room_id: str = answer["room_id"]
        return room_id

    def given_joined(self, user: TestUser, room_id: str) -> None:
        self.ok(self.post(f"/_matrix/client/v3/rooms/{room_id}/join", {}, user))

    def given_message(
        self, user: TestUser, room_id: str, text: str = "hello", txn_id: str | None = None
    ) -> str:
        """The event ID of a new message."""
        transaction = txn_id or f"t{self._random.getrandbits(60)}"
        path = f"/_matrix/client/v3/rooms/{room_id}/send/m.room.message/{transaction}"
        event_id: str = self.ok(self.put(path, {"msgtype": "m.text", "body": text}, user))["event_id"]
        return event_id


class _Eager:
    """A cooperator that does all work at once: bodies in tests are small."""

    def cooperate(self, iterator: Any) -> Any:
        done: Deferred[Any] = Deferred()
        for _ in iterator:
            pass
        done.callback(iterator)
        return _Done(done)


class _Done:
    def __init__(self, done: "Deferred[Any]") -> None:
        self._done = done

    def whenDone(self) -> "Deferred[Any]":
        return self._done

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stop(self) -> None: ...
