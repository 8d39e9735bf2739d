"""Signed requests and the patience with servers that do not answer. One client, everything behind it faked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.canonical_json import encode_canonical
from federation.room_dag.signing import EventSigner, verify_bytes
from federation.transport.allowed_servers import AllowedServers
from federation.transport.back_off import BackOff
from federation.transport.discovery import Discovery
from federation.transport.errors import (
    FederationError,
    HttpRefusal,
    InvalidAnswer,
    NotFederated,
    NotTriedYet,
    TransportError,
    Unreachable,
)
from federation.transport.federation_client import FederationClient, api_path
from federation.transport.https import HttpRequest, HttpResponse
from federation.transport.route import Route
from federation.transport.server_requests import ServerRequests
from federation.transport.well_known import WellKnown
from federation.transport.x_matrix import parse_x_matrix, request_signed_bytes
from storage.committer import Committer
from storage.database import Database
from storage.engines.sqlite import SqliteEngine
from storage.log import Log, LogRepository
from storage.migrate import migrate
from storage.names import Names
from synapse_like_config.federation import FederationRetries
from tests.federation.transport.fakes import (
    START_S,
    FakeHttps,
    FakeNames,
    header_of,
    json_response,
    new_clock,
)
from tests.storage.storage_case import SilentObserver, synchronous

OWN, FAR = "own.example", "far.example:8448"
HOST = "far.example"
PATH = "/_matrix/federation/v1/x"
MINUTE_MS = 60_000
RETRIES = FederationRetries(
    client_timeout_ms=30_000,
    max_short_retries=2,
    max_short_retry_delay_ms=800,
    destination_min_retry_interval_ms=10 * MINUTE_MS,
    destination_retry_multiplier=3,
    destination_max_retry_interval_ms=60 * MINUTE_MS,
)


def open_database(path: Path, clock: Clock) -> tuple[Database, Committer, Log]:
    engine = SqliteEngine(path, readers=1, synchronous="OFF")
    database = Database(engine, synchronous, synchronous, Names(100))
    migrate(engine, database, lambda number: None)
    log = Log(1000)
    log.start_at(database.read_now(LogRepository().get_position))
    committer = Committer(database, log, SilentObserver(), lambda: int(clock.seconds() * 1000), clock.seconds)
    return database, committer, log


class ClientCase(SynchronousTestCase):
    whitelist: tuple[str, ...] | None = None

    def setUp(self) -> None:
        self.clock = new_clock()
        self.https = FakeHttps(self.clock)
        self.signer = EventSigner(OWN, "ed25519:k", SigningKey(b"k" * 32))
        self.path = Path(self.mktemp())
        self.open()

    def open(self) -> None:
        """Start, or start again, over what is on disk."""
        self.database, committer, self.log = open_database(self.path, self.clock)
        self.addCleanup(self.database.close)
        self.back_off = BackOff(self.database, committer, self.log, RETRIES, self.now_ms, lambda: 0.5)
        discovery = Discovery(
            FakeNames(), WellKnown(self.https, "test", self.now_ms), self.now_ms, lambda: 0.5
        )
        allowed = AllowedServers(OWN, self.whitelist)
        requests = ServerRequests(allowed, discovery, self.https, "test/1")
        self.client = FederationClient(self.signer, requests, self.back_off, self.clock, self.sleep, RETRIES)
        self.once = replace(self.client.waiting, max_retries=0)

    def now_ms(self) -> int:
        return int(self.clock.seconds() * 1000)

    async def sleep(self, delay_s: float) -> None:
        waiting: Deferred[None] = Deferred()
        self.clock.callLater(delay_s, waiting.callback, None)
        await waiting

    def result(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def failure(self, work: Any, *kinds: type[Exception]) -> Any:
        return self.failureResultOf(Deferred.fromCoroutine(work), *kinds).value

    def get(self, **options: Any) -> Any:
        return self.client.get(FAR, PATH, policy=options.get("policy", self.once))

    def retry_in_min(self) -> float | None:
        row = self.result(self.back_off.find(FAR))
        return None if row is None else (row.retry_at_ms - self.now_ms()) / MINUTE_MS


class RequestTests(ClientCase):
    def test_requests_are_signed_for_the_name_before_delegation(self) -> None:
        self.https.servers["two.example"] = json_response({})
        self.https.servers[HOST] = json_response({"m.server": "two.example:1"})
        self.result(self.client.get(HOST, api_path(PATH, "a/b", "$c?"), {"v": ["1", "\u00fc"], "k": "x y"}))
        route, request = self.https.requests[-1]
        self.assertEqual(route.host_header, "two.example:1")
        self.assertEqual(request.uri, f"{PATH}/a%2Fb/%24c%3F?v=1&v=%C3%BC&k=x+y")
        header = parse_x_matrix(header_of(request, "authorization") or "")
        self.assertEqual((header.origin, header.destination), (OWN, HOST))
        message = request_signed_bytes(OWN, HOST, "GET", request.uri, None)
        verify_bytes(message, header.signature, self.signer.verify_key)
        self.assertIsNone(request.body)
        self.assertEqual(header_of(request, "user-agent"), "test/1")

    def test_bodies_are_canonical_json(self) -> None:
        self.https.servers[HOST] = json_response({})
        self.result(self.client.put(FAR, PATH, {"b": 1, "a": 2}))
        self.assertEqual(self.https.requests[-1][1].body, b'{"a":2,"b":1}')
        self.result(self.client.post(FAR, PATH, encode_canonical({"c": 1})))
        self.assertEqual(self.https.requests[-1][1].body, b'{"c":1}')
        self.assertEqual(header_of(self.https.requests[-1][1], "content-type"), "application/json")

    def test_refusals_tell_what_the_other_server_says(self) -> None:
        self.https.servers[HOST] = json_response({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 50}, 429)
        error = self.failure(self.get(), HttpRefusal)
        self.assertEqual((error.status, error.errcode, error.retry_after_ms), (429, "M_LIMIT_EXCEEDED", 50))
        for response in (
            HttpResponse(404, {}, b"<html>"),
            json_response([], 404),
            json_response({"errcode": 5}, 404),
        ):
            self.https.servers[HOST] = response
            error = self.failure(self.get(), HttpRefusal)
            self.assertEqual((error.status, error.errcode), (404, None))

    def test_redirects_are_refusals(self) -> None:
        self.https.servers[HOST] = HttpResponse(302, {"location": "https://else.example/"}, b"{}")
        self.assertEqual(self.failure(self.get(), HttpRefusal).status, 302)
        self.assertEqual(len(self.https.requests), 1)

    def test_answers_that_are_no_json_object_are_invalid(self) -> None:
        for response in (
            json_response([]),
            json_response("x"),
            HttpResponse(200, {"content-type": "application/json"}, b"{"),
            HttpResponse(200, {"content-type": "application/json"}, b'{"a":"\xff"}'),
            HttpResponse(200, {"content-type": "text/html"}, b"{}"),
            HttpResponse(200, {}, b"{}"),
        ):
            self.https.servers[HOST] = response
            self.failure(self.get(), InvalidAnswer)
        self.https.servers[HOST] = json_response([200, {}], content_type="application/json; charset=utf-8")
        self.assertEqual(self.result(self.client.request("PUT", FAR, PATH, None, {})), [200, {}])

    def test_answers_are_read_up_to_a_limit(self) -> None:
        self.https.servers[HOST] = json_response({"x": "x" * 1000})
        self.failure(self.get(policy=replace(self.once, max_answer_bytes=1000)), InvalidAnswer)
        self.result(self.get(policy=replace(self.once, max_answer_bytes=1010)))

    def test_numbers_of_old_rooms_arrive_as_they_were_sent(self) -> None:
        text = b'{"big":123456789012345678901234567890}'
        self.https.servers[HOST] = HttpResponse(200, {"content-type": "application/json"}, text)
        self.assertEqual(self.result(self.get()), {"big": 123456789012345678901234567890})

    def test_what_is_no_server_name_is_not_even_looked_up(self) -> None:
        for name in ("", "a b", "\0", "x" * 300):
            self.failure(self.client.get(name, PATH), Unreachable)
            self.assertIsNone(self.result(self.back_off.find(name)))

    def test_nothing_is_sent_to_ourselves(self) -> None:
        self.failure(self.client.get(OWN, PATH), NotFederated)
        self.assertEqual(self.https.requests, [])


class WhitelistTests(ClientCase):
    whitelist = ("Friend.example",)

    def test_nothing_is_sent_to_those_who_are_not_listed(self) -> None:
        self.failure(self.get(), NotFederated)
        self.assertEqual(self.https.requests, [])
        self.assertIsNone(self.retry_in_min())
        self.failure(self.client.get("friend.example", PATH, policy=self.once), Unreachable)


class RetryTests(ClientCase):
    def test_what_may_be_repeated_is_tried_again_while_somebody_waits(self) -> None:
        pending = Deferred.fromCoroutine(self.client.get(FAR, PATH))
        self.assertEqual(len(self.https.requests), 1)
        self.clock.advance(0.5)
        self.assertEqual(len(self.https.requests), 2)
        self.https.servers[HOST] = json_response({"a": 1})
        self.clock.advance(0.7)
        self.assertNoResult(pending)
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(pending), {"a": 1})
        self.assertIsNone(self.retry_in_min())

    def test_gateways_without_a_server_behind_are_tried_again(self) -> None:
        self.https.servers[HOST] = json_response({}, 502)
        pending = Deferred.fromCoroutine(self.client.get(FAR, PATH))
        self.clock.pump([0.5, 0.8])
        self.failureResultOf(pending, HttpRefusal)
        self.assertEqual(len(self.https.requests), 3)

    def test_posts_are_sent_once(self) -> None:
        self.failure(self.client.post(FAR, PATH, {}), Unreachable)
        self.assertEqual(len(self.https.requests), 1)

    def test_a_stale_connection_costs_a_put_nothing_and_a_post_its_try(self) -> None:
        def answer(route: Route, request: HttpRequest) -> HttpResponse:
            if len(self.https.requests) % 2:
                raise TransportError("closed", was_stale=True)
            return json_response({})

        self.https.servers[HOST] = answer
        self.result(self.client.put(FAR, PATH, {}, policy=self.once))
        self.assertEqual(len(self.https.requests), 2)
        self.failure(self.client.post(FAR, PATH, {}), Unreachable)

    def test_everything_together_has_a_time_limit(self) -> None:
        self.https.held = []
        pending = Deferred.fromCoroutine(self.client.get(FAR, PATH))
        self.clock.advance(29)
        self.assertNoResult(pending)
        self.clock.advance(1.5)
        self.failureResultOf(pending, Unreachable)
        self.assertIsNotNone(self.retry_in_min())


class BackOffTests(ClientCase):
    def test_pauses_grow_up_to_the_longest(self) -> None:
        for pause_min in (10, 30, 60, 60):
            self.failure(self.get(), Unreachable)
            self.assertEqual(self.retry_in_min(), pause_min)
            self.clock.advance(pause_min * 60)

    def test_pauses_of_different_servers_end_at_different_times(self) -> None:
        for chance, seconds in ((0.0, 480), (1.0, 720)):
            database, committer, log = open_database(Path(self.mktemp()), self.clock)
            self.addCleanup(database.close)
            back_off = BackOff(database, committer, log, RETRIES, self.now_ms, lambda chance=chance: chance)  # type: ignore[misc]
            self.result(back_off.failed(FAR))
            row = self.result(back_off.find(FAR))
            assert row is not None
            self.assertEqual(row.retry_at_ms - self.now_ms(), seconds * 1000)

    def test_nothing_is_sent_during_a_pause(self) -> None:
        self.failure(self.get(), Unreachable)
        self.https.servers[HOST] = json_response({})
        error = self.failure(self.get(), NotTriedYet)
        self.assertEqual(error.retry_at_ms, (START_S + 600) * 1000)
        self.assertEqual(len(self.https.requests), 1)

    def test_pauses_outlast_a_restart(self) -> None:
        self.failure(self.get(), Unreachable)
        self.open()
        self.failure(self.get(), NotTriedYet)
        self.clock.advance(600)
        self.failure(self.get(), Unreachable)
        self.assertEqual(self.retry_in_min(), 30)
        self.assertEqual(self.result(self.back_off.find(FAR)).failing_since_ms, START_S * 1000)

    def test_an_urgent_request_goes_out_nevertheless_and_its_success_ends_the_pause(self) -> None:
        self.failure(self.get(), Unreachable)
        urgent = replace(self.client.urgent, max_retries=0)
        self.failure(self.get(policy=urgent), Unreachable)
        # That was no second failure: the first pause is not over.
        self.assertEqual(self.retry_in_min(), 10)
        self.https.servers[HOST] = json_response({})
        self.result(self.get(policy=urgent))
        self.assertIsNone(self.retry_in_min())
        self.result(self.get())

    def test_errors_of_the_server_count_and_refusals_do_not(self) -> None:
        self.https.servers[HOST] = json_response({}, 404)
        self.failure(self.get(), HttpRefusal)
        self.assertIsNone(self.retry_in_min())
        self.https.servers[HOST] = json_response({}, 500)
        self.failure(self.get(), HttpRefusal)
        self.assertEqual(self.retry_in_min(), 10)

    def test_changes_are_in_the_log(self) -> None:
        heard: list[tuple[str, tuple[str, ...]]] = []
        self.log.follow(lambda entries: heard.extend((entry.kind, entry.key) for entry in entries))
        self.failure(self.get(), Unreachable)
        self.result(self.back_off.answered(FAR))
        self.result(self.back_off.answered(FAR))
        self.assertEqual(heard, [("destination", (FAR,)), ("destination_back", (FAR,))])

    def test_what_another_process_wrote_is_read_again(self) -> None:
        self.failure(self.get(), Unreachable)
        other_database, other_committer, other_log = open_database(self.path, self.clock)
        self.addCleanup(other_database.close)
        other = BackOff(other_database, other_committer, other_log, RETRIES, self.now_ms, lambda: 0.5)
        other_log.follow(lambda entries: self.log.publish([replace(entry, change=None) for entry in entries]))
        self.result(other.answered(FAR))
        self.assertIsNone(self.retry_in_min())

    def test_servers_that_nobody_wants_are_forgotten(self) -> None:
        self.failure(self.get(), Unreachable)
        self.result(self.back_off.forget_old())
        self.clock.advance(31 * 86400)
        self.result(self.back_off.forget_old())
        self.open()
        self.assertIsNone(self.retry_in_min())

    def test_those_who_are_not_to_be_talked_to_are_not_backed_off_from(self) -> None:
        self.failure(self.client.get(OWN, PATH), FederationError)
        self.assertIsNone(self.result(self.back_off.find(OWN)))
