"""Server discovery: every step of it, and what is remembered."""

from email.utils import formatdate
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from federation.transport.discovery import Discovery
from federation.transport.errors import Unreachable
from federation.transport.https import HttpRequest, HttpResponse
from federation.transport.names import ServiceRecord
from federation.transport.route import Route, Target
from federation.transport.well_known import WellKnown
from tests.federation.transport.fakes import START_S, FakeHttps, FakeNames, json_response, new_clock

HOST = "one.example"
MINUTE_S, HOUR_S = 60, 3600


class DiscoveryCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = new_clock()
        self.names = FakeNames()
        self.https = FakeHttps(self.clock)

        def now_ms() -> int:
            return int(self.clock.seconds() * 1000)

        self.lots = [0.5] * 100
        self.well_known = WellKnown(self.https, "test", now_ms)
        self.discovery = Discovery(self.names, self.well_known, now_ms, lambda: self.lots.pop(0))

    def route(self, server_name: str) -> Route:
        return self.successResultOf(Deferred.fromCoroutine(self.discovery.find_route(server_name)))

    def delegate(self, name: Any, status: int = 200, **headers: Any) -> None:
        self.https.servers[HOST] = json_response({"m.server": name}, status, **headers)


class StepTests(DiscoveryCase):
    def test_addresses_need_no_lookup(self) -> None:
        for name, target, header in (
            ("192.0.2.1", Target("192.0.2.1", 8448), "192.0.2.1"),
            ("192.0.2.1:80", Target("192.0.2.1", 80), "192.0.2.1:80"),
            ("[2001:db8::1]", Target("2001:db8::1", 8448), "[2001:db8::1]"),
            ("[2001:db8::1]:80", Target("2001:db8::1", 80), "[2001:db8::1]:80"),
        ):
            self.assertEqual(self.route(name), Route((target,), header, target.host))
        self.assertEqual((self.names.asked, self.https.requests), ([], []))

    def test_an_explicit_port_needs_no_lookup(self) -> None:
        self.assertEqual(self.route(f"{HOST}:1234"), Route((Target(HOST, 1234),), f"{HOST}:1234", HOST))
        self.assertEqual((self.names.asked, self.https.requests), ([], []))

    def test_delegated_address(self) -> None:
        self.delegate("192.0.2.1")
        self.assertEqual(self.route(HOST), Route((Target("192.0.2.1", 8448),), "192.0.2.1", "192.0.2.1"))
        self.assertEqual(self.https.urls, [f"{HOST}/.well-known/matrix/server"])
        self.assertEqual(self.https.requests[0][0], Route((Target(HOST, 443),), HOST, HOST))

    def test_delegated_name_with_port(self) -> None:
        self.delegate("two.example:443")
        self.assertEqual(
            self.route(HOST), Route((Target("two.example", 443),), "two.example:443", "two.example")
        )
        self.assertEqual(self.names.asked, [])

    def test_delegated_name_with_service_records(self) -> None:
        self.delegate("two.example")
        self.names.services["_matrix-fed._tcp.two.example"] = [ServiceRecord(0, 0, 99, "three.example", 60)]
        self.assertEqual(
            self.route(HOST), Route((Target("three.example", 99),), "two.example", "two.example")
        )

    def test_delegated_name_alone(self) -> None:
        self.delegate("two.example")
        self.assertEqual(
            self.route(HOST), Route((Target("two.example", 8448),), "two.example", "two.example")
        )
        self.assertEqual(self.names.asked, ["_matrix-fed._tcp.two.example", "_matrix._tcp.two.example"])

    def test_a_delegation_is_not_followed_twice(self) -> None:
        self.delegate("two.example")
        self.https.servers["two.example"] = json_response({"m.server": "three.example:1"})
        self.assertEqual(self.route(HOST).host_header, "two.example")

    def test_service_records_of_the_name_itself(self) -> None:
        self.names.services[f"_matrix-fed._tcp.{HOST}"] = [ServiceRecord(0, 0, 99, "three.example", 60)]
        self.names.services[f"_matrix._tcp.{HOST}"] = [ServiceRecord(0, 0, 1, "old.example", 60)]
        self.assertEqual(self.route(HOST), Route((Target("three.example", 99),), HOST, HOST))

    def test_deprecated_service_records(self) -> None:
        self.names.services[f"_matrix._tcp.{HOST}"] = [ServiceRecord(0, 0, 1, "old.example", 60)]
        self.assertEqual(self.route(HOST), Route((Target("old.example", 1),), HOST, HOST))

    def test_nothing_but_the_name(self) -> None:
        self.assertEqual(self.route(HOST), Route((Target(HOST, 8448),), HOST, HOST))

    def test_service_records_are_tried_by_priority_and_lot(self) -> None:
        self.lots = [0.9, 0.5, 0.5]
        self.names.services[f"_matrix-fed._tcp.{HOST}"] = [
            ServiceRecord(20, 100, 1, "last.example", 60),
            ServiceRecord(10, 1, 2, "light.example", 60),
            ServiceRecord(10, 9, 3, "heavy.example", 60),
        ]
        self.assertEqual([target.port for target in self.route(HOST).targets], [3, 2, 1])

    def test_a_service_that_is_decidedly_not_there(self) -> None:
        self.names.services[f"_matrix-fed._tcp.{HOST}"] = [ServiceRecord(0, 0, 0, "", 60)]
        self.failureResultOf(Deferred.fromCoroutine(self.discovery.find_route(HOST)), Unreachable)

    def test_a_failed_lookup_is_no_obstacle_and_not_remembered(self) -> None:
        self.names.services[f"_matrix-fed._tcp.{HOST}"] = None
        self.assertEqual(self.route(HOST).targets, (Target(HOST, 8448),))
        self.names.services[f"_matrix-fed._tcp.{HOST}"] = [ServiceRecord(0, 0, 9, HOST, 60)]
        self.assertEqual(self.route(HOST).targets, (Target(HOST, 9),))

    def test_service_records_are_remembered_for_their_time(self) -> None:
        name = f"_matrix-fed._tcp.{HOST}"
        self.names.services[name] = [ServiceRecord(0, 0, 9, HOST, 300)]
        self.route(HOST)
        self.clock.advance(299)
        self.route(HOST)
        self.assertEqual(self.names.asked.count(name), 1)
        self.clock.advance(2)
        self.route(HOST)
        self.assertEqual(self.names.asked.count(name), 2)

    def test_what_is_no_server_name_is_unreachable(self) -> None:
        for name in ("", "a b", "a/b", "[::1", "x" * 300, "one.example:99999", "user@host"):
            self.failureResultOf(Deferred.fromCoroutine(self.discovery.find_route(name)), Unreachable)


class WellKnownTests(DiscoveryCase):
    def asked(self) -> int:
        return len(self.https.requests)

    def test_invalid_documents_delegate_nothing(self) -> None:
        for response in (
            json_response({"m.server": "two.example"}, 500),
            json_response({"m.server": "two.example"}, 404),
            json_response({"m.server": 5}),
            json_response({"m.server": "no name"}),
            json_response({"m.server": ""}),
            json_response({}),
            json_response([]),
            HttpResponse(200, {}, b"<html>"),
            HttpResponse(200, {}, b"[" * 10_000),
            HttpResponse(200, {}, b'{"m.server": "two.example", "x": "' + b"x" * 60_000 + b'"}'),
        ):
            self.setUp()
            self.https.servers[HOST] = response
            self.assertEqual(self.route(HOST).host_header, HOST, response.body[:50])

    def test_a_document_need_not_be_called_json(self) -> None:
        self.https.servers[HOST] = HttpResponse(
            200, {"content-type": "text/plain"}, b'{"m.server":"two.example"}'
        )
        self.assertEqual(self.route(HOST).host_header, "two.example")

    def test_redirects_are_followed(self) -> None:
        self.https.servers[HOST] = HttpResponse(302, {"location": "https://web.example:444/a?b=c"}, b"")
        self.https.servers["web.example"] = json_response({"m.server": "two.example"})
        self.assertEqual(self.route(HOST).host_header, "two.example")
        route, request = self.https.requests[1]
        self.assertEqual(route, Route((Target("web.example", 444),), "web.example:444", "web.example"))
        self.assertEqual(request.uri, "/a?b=c")

    def test_relative_redirects_are_followed(self) -> None:
        def answer(route: Route, request: HttpRequest) -> HttpResponse:
            if request.uri == "/.well-known/matrix/server":
                return HttpResponse(308, {"location": "other"}, b"")
            return json_response({"m.server": "two.example"})

        self.https.servers[HOST] = answer
        self.assertEqual(self.route(HOST).host_header, "two.example")
        self.assertEqual(self.https.urls[1], f"{HOST}/.well-known/matrix/other")

    def test_redirects_in_a_circle_and_without_end_are_given_up(self) -> None:
        self.https.servers[HOST] = HttpResponse(
            301, {"location": f"https://{HOST}/.well-known/matrix/server"}, b""
        )
        self.assertEqual(self.route(HOST).host_header, HOST)
        self.assertEqual(self.asked(), 1)
        self.setUp()
        self.https.servers[HOST] = lambda route, request: HttpResponse(
            302, {"location": f"{request.uri}x"}, b""
        )
        self.assertEqual(self.route(HOST).host_header, HOST)
        self.assertEqual(self.asked(), 6)

    def test_redirects_elsewhere_than_https_are_not_followed(self) -> None:
        for location in (
            "http://web.example/",
            "file:///etc/passwd",
            "https://user@web.example/",
            "https://web.example:99999/",
            "https://[",
            "//[::1",
            "https://web.example/\r\nX: y",
            "https://w\u00e9b.example/",
        ):
            self.setUp()
            self.https.servers[HOST] = HttpResponse(302, {"location": location}, b"")
            self.assertEqual(self.route(HOST).host_header, HOST)
            self.assertEqual(self.asked(), 1, location)

    def check_lifetime(self, lifetime_s: int, **headers: Any) -> None:
        self.setUp()
        self.delegate("two.example:1", **headers)
        self.route(HOST)
        self.clock.advance(lifetime_s - 1)
        self.route(HOST)
        self.assertEqual(self.asked(), 1, headers)
        self.clock.advance(2)
        self.route(HOST)
        self.assertEqual(self.asked(), 2, headers)

    def test_documents_are_remembered_as_their_headers_say_within_limits(self) -> None:
        self.check_lifetime(24 * HOUR_S)
        self.check_lifetime(2 * HOUR_S, cache_control="public, Max-Age=7200")
        self.check_lifetime(48 * HOUR_S, cache_control="max-age=9999999999")
        self.check_lifetime(5 * MINUTE_S, cache_control="max-age=0")
        self.check_lifetime(5 * MINUTE_S, cache_control="no-store")
        self.check_lifetime(3 * HOUR_S, expires=formatdate(START_S + 3 * HOUR_S, usegmt=True))
        self.check_lifetime(5 * MINUTE_S, expires="0")
        self.check_lifetime(
            2 * HOUR_S, cache_control="max-age=7200", expires=formatdate(START_S + 9 * HOUR_S, usegmt=True)
        )

    def test_errors_are_remembered_longer_each_time_up_to_an_hour(self) -> None:
        for number, pause_s in enumerate((120, 240, 480, 960, 1920, 3600, 3600), 1):
            self.route(HOST)
            self.clock.advance(pause_s - 1)
            self.route(HOST)
            self.assertEqual(self.asked(), number)
            self.clock.advance(1)

    def test_an_outage_of_the_web_server_does_not_move_the_matrix_server(self) -> None:
        self.delegate("two.example:1")
        self.route(HOST)
        del self.https.servers[HOST]
        self.clock.advance(25 * HOUR_S)
        self.assertEqual(self.route(HOST).host_header, "two.example:1")
        self.clock.advance(24 * HOUR_S)
        self.assertEqual(self.route(HOST).host_header, HOST)

    def test_a_delegation_that_is_withdrawn_ends(self) -> None:
        self.delegate("two.example:1")
        self.route(HOST)
        self.delegate("two.example:1", 404)
        self.clock.advance(25 * HOUR_S)
        self.assertEqual(self.route(HOST).host_header, HOST)

    def test_two_who_ask_at_once_share_one_request(self) -> None:
        self.delegate("two.example:1")
        self.https.held = []
        first = Deferred.fromCoroutine(self.discovery.find_route(HOST))
        second = Deferred.fromCoroutine(self.discovery.find_route(HOST.upper()))
        self.assertEqual(self.asked(), 1)
        # One who gives up does not take the other along.
        first.cancel()
        self.failureResultOf(first)
        self.https.held[0].callback(None)
        self.assertEqual(self.successResultOf(second).host_header, "two.example:1")
