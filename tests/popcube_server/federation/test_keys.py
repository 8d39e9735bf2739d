"""Key documents over HTTP: our own, and those of others as a notary gives them."""

from typing import Any

import orjson
from nacl.signing import SigningKey

from federation.room_dag.base64 import decode_base64
from federation.room_dag.signing import EventSigner, verify_signature
from federation.transport.https import HttpRequest, HttpResponse
from federation.transport.route import Route
from tests.popcube_server.server_case import ONE, START_S, TWO, ServerTestCase

SERVER = "/_matrix/key/v2/server"
QUERY = "/_matrix/key/v2/query"
NOW_MS = int(START_S * 1000)
DAY_MS = 24 * 3600 * 1000

FAR = "far.example"


class FarKeys:
    """The key server of a stranger."""

    def __init__(self, name: str = FAR) -> None:
        self.signer = EventSigner(name, "ed25519:far", SigningKey(b"f" * 32))
        self.document: dict[str, Any] = {
            "server_name": name,
            "valid_until_ts": NOW_MS + 2 * DAY_MS,
            "verify_keys": {"ed25519:far": {"key": self.signer.verify_key_base64}},
            "old_verify_keys": {},
        }
        self.asked = 0

    def __call__(self, route: Route, request: HttpRequest) -> HttpResponse:
        if request.uri != SERVER:
            return HttpResponse(404, {}, b"{}")
        self.asked += 1
        body = orjson.dumps(self.signer.sign_json(self.document))
        return HttpResponse(200, {"content-type": "application/json"}, body)


class OwnKeysTests(ServerTestCase):
    extra_configuration = """
old_signing_keys:
  "ed25519:before": {key: "0000000000000000000000000000000000000000000", expired_ts: 1600000000000}
"""

    def test_document_has_all_keys_and_is_signed_by_them(self) -> None:
        document = self.ok(self.get(SERVER))
        self.assertEqual(document["server_name"], ONE)
        self.assertEqual(list(document["verify_keys"]), ["ed25519:test"])
        self.assertEqual(document["old_verify_keys"]["ed25519:before"]["expired_ts"], 1600000000000)
        key = decode_base64(document["verify_keys"]["ed25519:test"]["key"])
        verify_signature(document, ONE, "ed25519:test", key)
        self.assertGreater(document["valid_until_ts"], NOW_MS + DAY_MS - 1)
        self.assertLess(document["valid_until_ts"], NOW_MS + 2 * DAY_MS + 1)

    def test_document_is_the_same_with_a_key_id_and_for_a_whole_day(self) -> None:
        document = self.ok(self.get(SERVER))
        self.assertEqual(self.ok(self.get(f"{SERVER}/ed25519:test")), document)
        self.clock.advance(60)
        self.assertEqual(self.ok(self.get(SERVER)), document)
        self.clock.advance(86400)
        self.assertGreater(self.ok(self.get(SERVER))["valid_until_ts"], document["valid_until_ts"])

    def test_each_organisation_has_its_own(self) -> None:
        document = self.ok(self.call("GET", SERVER, server_name=TWO))
        self.assertEqual(document["server_name"], TWO)
        self.assertNotEqual(document["verify_keys"], self.ok(self.get(SERVER))["verify_keys"])


class NotaryTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.far = FarKeys()
        self.network.far_servers[FAR] = self.far

    def ask(self, *names: str, server_name: str = ONE) -> list[Any]:
        body: dict[str, Any] = {"server_keys": {name: {} for name in names}}
        answer = self.ok(self.call("POST", QUERY, body, server_name=server_name))
        documents: list[Any] = answer["server_keys"]
        return documents

    def own_key(self, server_name: str) -> bytes:
        document = self.ok(self.call("GET", SERVER, server_name=server_name))
        return decode_base64(document["verify_keys"]["ed25519:test"]["key"])

    def test_document_is_signed_by_its_server_and_by_the_notary(self) -> None:
        (document,) = self.ok(self.get(f"{QUERY}/{FAR}"))["server_keys"]
        self.assertEqual(document["server_name"], FAR)
        verify_signature(document, FAR, "ed25519:far", self.far.signer.verify_key)
        verify_signature(document, ONE, "ed25519:test", self.own_key(ONE))

    def test_several_servers_at_once_with_ourselves_and_one_of_ours(self) -> None:
        documents = self.ask(FAR, TWO, ONE, "nobody.example")
        self.assertEqual([document["server_name"] for document in documents], [FAR, TWO, ONE])
        verify_signature(documents[1], TWO, "ed25519:test", self.own_key(TWO))

    def test_nobody_is_asked_twice_in_a_moment(self) -> None:
        self.ask(FAR)
        self.ask(FAR)
        self.ok(self.get(f"{QUERY}/{FAR}/ed25519:unknown"))
        self.assertEqual(self.far.asked, 1)
        self.clock.advance(61)
        self.ok(self.get(f"{QUERY}/{FAR}/ed25519:unknown"))
        self.assertEqual(self.far.asked, 2)

    def test_fresher_keys_are_fetched_when_half_their_time_is_over_or_if_asked_for(self) -> None:
        self.ask(FAR)
        self.clock.advance(23 * 3600)
        self.ask(FAR)
        self.assertEqual(self.far.asked, 1)
        self.ok(self.get(f"{QUERY}/{FAR}?minimum_valid_until_ts={NOW_MS + 3 * DAY_MS}"))
        self.assertEqual(self.far.asked, 2)
        self.clock.advance(2 * 3600 + 16 * 3600)
        self.ask(FAR)
        self.assertEqual(self.far.asked, 3)

    def test_keys_of_a_server_that_is_down_come_from_memory(self) -> None:
        self.ask(FAR)
        self.network.down.add(FAR)
        self.clock.advance(30 * 86400)
        self.restart()
        (document,) = self.ask(FAR)
        verify_signature(document, FAR, "ed25519:far", self.far.signer.verify_key)

    def test_what_one_organisation_knows_the_other_does_not(self) -> None:
        self.ask(FAR)
        self.network.down.add(FAR)
        self.assertEqual(self.ask(FAR, server_name=TWO), [])

    def test_servers_that_never_answer_do_not_hold_up_the_others(self) -> None:
        silent = [f"s{number}.example" for number in range(50)]
        self.network.silent.update(silent)
        body: dict[str, Any] = {"server_keys": {name: {} for name in (TWO, *silent, FAR)}}
        pending = self.begin("POST", QUERY, body)
        self.assert_waiting(pending)
        self.clock.advance(20)
        documents = self.ok(self.finish(pending))["server_keys"]
        self.assertEqual([document["server_name"] for document in documents], [TWO, FAR])

    def test_keys_of_another_server_are_not_believed(self) -> None:
        self.network.far_servers["liar.example"] = FarKeys("other.example")
        self.assertEqual(self.ask("liar.example"), [])

    def test_unsigned_keys_are_not_believed(self) -> None:
        self.far.signer = EventSigner(FAR, "ed25519:far", SigningKey(b"x" * 32))
        self.assertEqual(self.ask(FAR), [])

    def test_endless_documents_are_not_read(self) -> None:
        self.far.document["more"] = "x" * 200_000
        self.assertEqual(self.ask(FAR), [])

    def test_no_servers_give_an_empty_answer(self) -> None:
        self.assertEqual(self.ask(), [])

    def test_what_is_no_server_name_is_not_asked(self) -> None:
        self.assertEqual(self.ask("no name", "", "a/b", "[::"), [])
        self.assertEqual(self.network.requests, [])

    def test_wrong_queries_are_refused(self) -> None:
        many: dict[str, Any] = {f"s{number}.example": {} for number in range(101)}
        for body, errcode in (
            ({}, "M_MISSING_PARAM"),
            ({"server_keys": []}, "M_BAD_JSON"),
            ({"server_keys": {FAR: []}}, "M_BAD_JSON"),
            ({"server_keys": {FAR: {"ed25519:a": 1}}}, "M_BAD_JSON"),
            ({"server_keys": {FAR: {"ed25519:a": {"minimum_valid_until_ts": "1"}}}}, "M_BAD_JSON"),
            ({"server_keys": many}, "M_INVALID_PARAM"),
            ({"server_keys": {FAR: {f"ed25519:{number}": {} for number in range(21)}}}, "M_INVALID_PARAM"),
        ):
            self.assert_refused(self.post(QUERY, body), 400, errcode)
        self.assert_refused(self.get(f"{QUERY}/{FAR}?minimum_valid_until_ts=x"), 400, "M_INVALID_PARAM")
        self.assertEqual(self.network.requests, [])


class WhitelistTests(ServerTestCase):
    extra_configuration = f"federation_domain_whitelist: [{TWO}]"

    def test_only_servers_that_we_talk_to_are_asked(self) -> None:
        self.network.far_servers[FAR] = FarKeys()
        self.assertEqual(self.ok(self.get(f"{QUERY}/{FAR}"))["server_keys"], [])
        self.assertEqual(len(self.ok(self.get(f"{QUERY}/{TWO}"))["server_keys"]), 1)
        self.assertNotIn(FAR, [host for host, _, _ in self.network.requests])
