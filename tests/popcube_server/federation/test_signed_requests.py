"""Requests between two organisations of one process: signed by one, authenticated by the other."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nacl.signing import SigningKey
from twisted.internet.defer import Deferred
from twisted.web.client import readBody
from twisted.web.http_headers import Headers

from federation.room_dag.canonical_json import encode_canonical, encode_lenient
from federation.room_dag.signing import EventSigner
from federation.transport.x_matrix import build_x_matrix
from popcube_server.building.federation import build_federation
from popcube_server.metrics import Metrics
from popcube_server.rest.endpoint import Access, Answer, Call, Payload, endpoint
from popcube_server.rest.front_door.site import Site
from popcube_server.rest.router import Router
from tests.popcube_server.federation.test_keys import DAY_MS, FAR, NOW_MS, FarKeys
from tests.popcube_server.server_case import ONE, TWO, ServerTestCase

PATH = "/_matrix/federation/v1/echo/{word}"
URL = "/_matrix/federation/v1/echo/a%2Fb"


class Echo:
    """An endpoint for servers, as the ones of rooms will be."""

    @endpoint("GET", PATH, Access.SERVER)
    async def get(self, call: Call) -> Mapping[str, Any]:
        return {"origin": call.origin, "word": call.path["word"], "q": call.query_one("q")}

    @endpoint("PUT", PATH, Access.SERVER)
    async def put(self, call: Call) -> Answer:
        # As with events: the numbers of old room versions are beyond what is written otherwise.
        return Answer(encode_lenient({"origin": call.origin, "body": call.body}))

    @endpoint("POST", PATH, Access.SERVER, Payload.OPTIONAL_JSON_OBJECT)
    async def post(self, call: Call) -> Mapping[str, Any]:
        return {"origin": call.origin, "body": call.body}


class SignedRequestsCase(ServerTestCase):
    """`two.example` answers Echo; `one.example` has a client."""

    def setUp(self) -> None:
        super().setUp()
        # Beside what the organisations have themselves, over the same data.
        self.one, self.two = (
            build_federation(
                replace(self.organisations[name].core, metrics=Metrics()), self.network.network, None
            )
            for name in (ONE, TWO)
        )
        organisation = self.organisations[TWO]
        site = organisation.site
        organisation.site = Site(
            Router([Echo(), *self.two.servlets]),
            site.authenticator,
            self.two.authenticator,
            self.two.turns,
            site.observer,
        )

    def result(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def signer(self, server_name: str = ONE) -> EventSigner:
        return self.organisations[server_name].core.signer

    def signed(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        signer: EventSigner | None = None,
        destination: str = TWO,
    ) -> str:
        content = None if body is None else encode_canonical(body)
        return build_x_matrix(signer or self.signer(), destination, method, url, content)

    def ask(self, method: str, url: str, header: str, body: Any = None) -> tuple[int, Any]:
        return self.call(method, url, body, headers={"Authorization": header}, server_name=TWO)


class AuthenticationTests(SignedRequestsCase):
    def test_signed_request_is_known_by_its_origin(self) -> None:
        url = f"{URL}?q=%20x"
        answer = self.ok(self.ask("GET", url, self.signed("GET", url)))
        self.assertEqual(answer, {"origin": ONE, "word": "a/b", "q": " x"})

    def test_body_is_part_of_what_is_signed(self) -> None:
        body = {"b": 1, "a": ["\u00e9"]}
        header = self.signed("PUT", URL, body)
        self.assertEqual(self.ok(self.ask("PUT", URL, header, body)), {"origin": ONE, "body": body})
        self.assert_refused(self.ask("PUT", URL, header, {**body, "c": 1}), 401, "M_UNAUTHORIZED")
        self.assert_refused(self.ask("PUT", URL, header), 401, "M_UNAUTHORIZED")

    def test_numbers_of_old_rooms_are_verified_as_they_were_sent(self) -> None:
        text = b'{"big":123456789012345678901234567890,"float":1.5}'
        header = build_x_matrix(self.signer(), TWO, "PUT", URL, text)
        answer = self.ok(self.ask("PUT", URL, header, text))
        self.assertEqual(answer["body"]["float"], 1.5)
        self.assert_refused(
            self.ask("PUT", URL, header, text.replace(b"890,", b"891,")), 401, "M_UNAUTHORIZED"
        )

    def test_everything_signed_counts(self) -> None:
        good = self.signed("GET", URL)
        self.ok(self.ask("GET", URL, good))
        self.assert_refused(self.ask("GET", f"{URL}?q=1", good), 401, "M_UNAUTHORIZED")
        self.assert_refused(self.ask("POST", URL, good), 401, "M_UNAUTHORIZED")
        stranger = EventSigner(ONE, "ed25519:test", SigningKey(b"x" * 32))
        self.assert_refused(
            self.ask("GET", URL, self.signed("GET", URL, signer=stranger)), 401, "M_UNAUTHORIZED"
        )
        # An unknown key of the origin.
        other = EventSigner(ONE, "ed25519:other", SigningKey(b"x" * 32))
        self.assert_refused(
            self.ask("GET", URL, self.signed("GET", URL, signer=other)), 401, "M_UNAUTHORIZED"
        )

    def test_request_for_another_server_is_refused(self) -> None:
        header = self.signed("GET", URL, destination="three.example")
        self.assert_refused(self.ask("GET", URL, header), 401, "M_UNAUTHORIZED")

    def test_nobody_is_this_server_itself(self) -> None:
        header = self.signed("GET", URL, signer=self.signer(TWO))
        self.assert_refused(self.ask("GET", URL, header), 401, "M_UNAUTHORIZED")

    def test_destination_may_be_missing(self) -> None:
        request = {"method": "GET", "uri": URL, "origin": ONE}
        signature = self.signer().sign_bytes(encode_canonical(request))
        header = f'X-Matrix origin={ONE},key="ed25519:test",sig="{signature}"'
        self.ok(self.ask("GET", URL, header))

    def test_requests_without_a_good_header_are_refused(self) -> None:
        self.assert_refused(self.call("GET", URL, server_name=TWO), 401, "M_UNAUTHORIZED")
        for header in (
            "Bearer token",
            "X-Matrix",
            'X-Matrix origin="no name",key="ed25519:test",sig="x"',
            f'X-Matrix origin="{ONE}",key="ed25519:test",sig="not base64!"',
            f'X-Matrix origin="{ONE}",key="rsa:test",sig="AAAA"',
            'X-Matrix origin="nobody.example",key="ed25519:test",sig="AAAA"',
        ):
            self.assert_refused(self.ask("GET", URL, header), 401, "M_UNAUTHORIZED")

    def test_one_of_several_headers_is_enough_if_they_agree_on_the_origin(self) -> None:
        good = self.signed("GET", URL)
        bad = f'X-Matrix origin="{ONE}",destination="{TWO}",key="ed25519:new",sig="AAAA"'
        other = f'X-Matrix origin="{TWO}",destination="{TWO}",key="ed25519:new",sig="AAAA"'
        self.assertEqual(self.ask_with([bad, good]), 200)
        self.assertEqual(self.ask_with([other, good]), 401)
        self.assertEqual(self.ask_with([bad] * 10 + [good]), 401)

    def ask_with(self, headers: list[str]) -> int:
        names = Headers({"Host": [TWO], "Authorization": headers})
        pending = self._agent.request(b"GET", f"https://{TWO}{URL}".encode(), names)
        self._agent.flush()
        response = self.successResultOf(pending)
        readBody(response)
        self._agent.flush()
        return int(response.code)

    def test_old_keys_are_for_events_only(self) -> None:
        far = FarKeys()
        old = EventSigner(FAR, "ed25519:old", SigningKey(b"o" * 32))
        far.document["old_verify_keys"] = {
            "ed25519:old": {"key": old.verify_key_base64, "expired_ts": NOW_MS + 10 * DAY_MS}
        }
        self.network.far_servers[FAR] = far
        self.ok(self.ask("GET", URL, self.signed("GET", URL, signer=far.signer)))
        self.assert_refused(self.ask("GET", URL, self.signed("GET", URL, signer=old)), 401, "M_UNAUTHORIZED")

    def test_key_is_fetched_once(self) -> None:
        for _ in range(3):
            self.ok(self.ask("GET", URL, self.signed("GET", URL)))
        fetches = [uri for _, _, uri in self.network.requests if uri == "/_matrix/key/v2/server"]
        self.assertEqual(len(fetches), 1)

    def test_key_that_is_valid_no_more_is_asked_for_again(self) -> None:
        self.ok(self.ask("GET", URL, self.signed("GET", URL)))
        self.network.down.add(ONE)
        self.ok(self.ask("GET", URL, self.signed("GET", URL)))
        self.clock.advance(3 * 86400)
        self.assert_refused(self.ask("GET", URL, self.signed("GET", URL)), 401, "M_UNAUTHORIZED")
        self.network.down.clear()
        # A server that did not answer is left in peace for a while.
        self.clock.advance(30)
        self.assert_refused(self.ask("GET", URL, self.signed("GET", URL)), 401, "M_UNAUTHORIZED")
        self.clock.advance(31)
        self.ok(self.ask("GET", URL, self.signed("GET", URL)))

    def test_body_that_is_no_object_is_refused(self) -> None:
        for body in (b"[]", b"{", b'{"a":NaN}'):
            status, answer = self.ask("PUT", URL, self.signed("PUT", URL, {}), body)
            self.assertEqual(status, 400, answer)


class ClientTests(SignedRequestsCase):
    def test_client_of_one_is_understood_by_the_other(self) -> None:
        answer = self.result(self.one.client.get(TWO, URL, {"q": "\u00e4 &"}))
        self.assertEqual(answer, {"origin": ONE, "word": "a/b", "q": "\u00e4 &"})
        body = {"z": [1, {"\u2028": None}], "a": True}
        for send in (self.one.client.put, self.one.client.post):
            self.assertEqual(self.result(send(TWO, URL, body)), {"origin": ONE, "body": body})
        self.assertEqual(
            self.result(self.one.client.put(TWO, URL, encode_canonical(body))), {"origin": ONE, "body": body}
        )

    def test_a_call_from_a_server_that_was_down_wakes_it(self) -> None:
        self.network.down.add(ONE)
        self.result(self.two.back_off.failed(ONE))
        self.assertIsNotNone(self.result(self.two.back_off.find(ONE)))
        self.network.down.clear()
        self.ok(self.ask("GET", URL, self.signed("GET", URL)))
        self.assertIsNone(self.result(self.two.back_off.find(ONE)))

    def test_a_call_that_is_not_signed_wakes_nobody(self) -> None:
        self.result(self.two.back_off.failed(ONE))
        header = f'X-Matrix origin="{ONE}",key="ed25519:test",sig="AAAA"'
        self.assert_refused(self.ask("GET", URL, header), 401, "M_UNAUTHORIZED")
        self.assertIsNotNone(self.result(self.two.back_off.find(ONE)))

    def test_trouble_of_one_organisation_is_not_that_of_the_other(self) -> None:
        self.result(self.one.back_off.failed("far.example"))
        self.assertIsNone(self.result(self.two.back_off.find("far.example")))


class WhitelistTests(SignedRequestsCase):
    extra_configuration = "federation_domain_whitelist: [three.example]"

    def test_servers_that_are_not_listed_are_refused(self) -> None:
        self.assert_refused(self.ask("GET", URL, self.signed("GET", URL)), 403, "M_FORBIDDEN")
        self.assertEqual(self.network.requests, [])
