"""Other servers' keys: asked of them, asked of notaries, remembered, and not asked for all the time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from nacl.signing import SigningKey
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from federation.keys.fetch_keys import FetchKeys, Notary
from federation.keys.key_ring import KeyRing
from federation.keys.own_keys import OwnKeys
from federation.keys.server_keys import VerifyKey
from federation.keys.stored_keys import StoredKeys
from federation.room_dag.base64 import encode_base64
from federation.room_dag.signing import EventSigner
from federation.transport.allowed_servers import AllowedServers
from federation.transport.discovery import Discovery
from federation.transport.https import HttpRequest, HttpResponse
from federation.transport.route import Route
from federation.transport.server_requests import ServerRequests
from federation.transport.well_known import WellKnown
from synapse_like_config.keys import OldSigningKey
from tests.federation.transport.fakes import START_S, FakeHttps, FakeNames, json_response, new_clock
from tests.federation.transport.test_federation_client import open_database

NOW_MS = START_S * 1000
DAY_MS = 86_400_000
OWN, FAR, NOTARY = "own.example", "far.example", "notary.example"


class KeyServer:
    """A server that publishes its keys, and (with `knows`) tells those of others."""

    def __init__(self, name: str, *key_names: str) -> None:
        self.name = name
        self.signers = [
            EventSigner(name, f"ed25519:{key}", SigningKey(f"{name} {key}".encode().ljust(32)[:32]))
            for key in key_names or ("k",)
        ]
        self.old: dict[str, Any] = {}
        self.valid_until_ts = NOW_MS + DAY_MS
        self.knows: list[KeyServer] = []
        self.asked: list[Any] = []
        self.signs_answers = True

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "server_name": self.name,
            "valid_until_ts": self.valid_until_ts,
            "verify_keys": {signer.key_id: {"key": signer.verify_key_base64} for signer in self.signers},
            "old_verify_keys": self.old,
        }
        for signer in self.signers:
            document = signer.sign_json(document)
        return document

    def __call__(self, route: Route, request: HttpRequest) -> HttpResponse:
        if request.uri == "/_matrix/key/v2/server":
            self.asked.append("own")
            return json_response(self.document())
        if request.uri == "/_matrix/key/v2/query":
            query = orjson.loads(request.body or b"")["server_keys"]
            self.asked.append(query)
            documents = [server.document() for server in self.knows if server.name in query]
            if self.signs_answers:
                documents = [self.signers[0].sign_json(document) for document in documents]
            return json_response({"server_keys": documents})
        return HttpResponse(404, {}, b"")


class KeyRingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = new_clock()
        self.https = FakeHttps(self.clock)
        self.far, self.notary = KeyServer(FAR), KeyServer(NOTARY)
        self.path = Path(self.mktemp())
        self.notaries: list[Notary] = []
        self.open()

    def open(self) -> None:
        def now_ms() -> int:
            return int(self.clock.seconds() * 1000)

        database, committer, log = open_database(self.path, self.clock)
        self.addCleanup(database.close)
        discovery = Discovery(FakeNames(), WellKnown(self.https, "test", now_ms), now_ms, lambda: 0.5)
        requests = ServerRequests(AllowedServers(OWN, None), discovery, self.https, "test")
        old = OldSigningKey("ed25519:old", b"o" * 32, NOW_MS - 5)
        signer = EventSigner(OWN, "ed25519:own", SigningKey(b"s" * 32))
        self.stored = StoredKeys(database, committer, log, now_ms)
        self.ring = KeyRing(
            OwnKeys([signer], [old], DAY_MS, now_ms),
            self.stored,
            FetchKeys(requests, now_ms),
            self.notaries,
            now_ms,
        )

    def up(self, *servers: KeyServer) -> None:
        for server in servers:
            self.https.servers[server.name] = server

    def down(self, *servers: KeyServer) -> None:
        for server in servers:
            self.https.servers.pop(server.name, None)

    def with_notary(self, *known: KeyServer, pinned: bool = False) -> None:
        self.notary.knows = list(known)
        self.up(self.notary)
        signer = self.notary.signers[0]
        keys = {signer.key_id: signer.verify_key} if pinned else {}
        self.notaries = [Notary(NOTARY, keys)]
        self.open()

    def get(self, server: str = FAR, *key_ids: str, at: int | None = NOW_MS) -> Mapping[str, VerifyKey]:
        work = self.ring.get_verify_keys(server, key_ids or ("ed25519:k",), at)
        return self.successResultOf(Deferred.fromCoroutine(work))

    def prefetch(self, *servers: KeyServer) -> None:
        wanted = {server.name: {"ed25519:k": NOW_MS} for server in servers}
        self.successResultOf(Deferred.fromCoroutine(self.ring.prefetch(wanted)))


class DirectTests(KeyRingCase):
    def test_keys_come_from_the_server_once(self) -> None:
        self.up(self.far)
        for _ in range(2):
            self.assertEqual(self.get()["ed25519:k"].key, self.far.signers[0].verify_key)
        self.open()
        self.assertEqual(list(self.get()), ["ed25519:k"])
        self.assertEqual(self.far.asked, ["own"])

    def test_our_own_keys_are_known_without_asking(self) -> None:
        self.assertEqual(list(self.get(OWN, "ed25519:own", "ed25519:old", "ed25519:x")), ["ed25519:own"])
        self.assertEqual(list(self.get(OWN, "ed25519:old", at=NOW_MS - 5)), ["ed25519:old"])
        self.assertEqual(self.https.requests, [])

    def test_validity_is_seven_days_at_most(self) -> None:
        self.far.valid_until_ts = NOW_MS + 100 * DAY_MS
        self.up(self.far)
        self.assertEqual(self.get()["ed25519:k"].valid_until_ms, NOW_MS + 7 * DAY_MS)
        self.assertEqual(self.get(at=NOW_MS + 8 * DAY_MS), {})
        self.assertIn("ed25519:k", self.get(at=NOW_MS + 6 * DAY_MS))

    def test_a_key_that_was_valid_is_good_for_what_was_signed_then(self) -> None:
        self.up(self.far)
        self.get()
        self.down(self.far)
        self.clock.advance(30 * 86_400)
        self.assertEqual(self.get(at=NOW_MS + 30 * DAY_MS), {})
        self.assertIn("ed25519:k", self.get(at=NOW_MS))
        # Room versions that do not ask for the time.
        self.assertIn("ed25519:k", self.get(at=None))

    def test_validity_is_extended_by_asking_again(self) -> None:
        self.up(self.far)
        self.get()
        self.clock.advance(2 * 86_400)
        self.far.valid_until_ts += 2 * DAY_MS
        self.assertIn("ed25519:k", self.get(at=NOW_MS + 2 * DAY_MS))
        self.assertEqual(self.far.asked, ["own", "own"])

    def test_old_keys_verify_what_was_signed_before_they_expired(self) -> None:
        key = encode_base64(SigningKey(b"o" * 32).verify_key.encode())
        self.far.old = {"ed25519:o": {"key": key, "expired_ts": NOW_MS - 1000}}
        self.up(self.far)
        self.assertEqual(self.get(FAR, "ed25519:o"), {})
        self.assertTrue(self.get(FAR, "ed25519:o", at=NOW_MS - 1000)["ed25519:o"].is_old)
        self.assertEqual(self.far.asked, ["own"])

    def test_a_key_that_was_taken_back_has_no_say_any_more(self) -> None:
        self.up(self.far)
        self.get()
        self.far.signers = KeyServer(FAR, "new").signers
        self.clock.advance(3600)
        self.assertIn("ed25519:new", self.get(FAR, "ed25519:new"))
        self.assertEqual(self.get(at=NOW_MS + 3600_001), {})
        self.assertIn("ed25519:k", self.get(at=NOW_MS + 3600_000))

    def test_a_server_is_not_asked_all_the_time(self) -> None:
        for number, pause_s in enumerate((60, 120, 240, 480, 600, 600), 1):
            self.get()
            self.get()
            self.assertEqual(sum("key/v2" in url for url in self.https.urls), number)
            self.clock.advance(pause_s)

    def test_two_who_ask_at_once_share_one_request(self) -> None:
        self.up(self.far)
        self.https.held = []
        work = [
            Deferred.fromCoroutine(self.ring.get_verify_keys("far.example:2", ["ed25519:k"], NOW_MS))
            for _ in range(5)
        ]
        self.assertEqual(len(self.https.held), 1)
        self.https.servers[FAR] = KeyServer("far.example:2")
        self.https.held[0].callback(None)
        self.assertEqual([len(self.successResultOf(one)) for one in work], [1] * 5)

    def test_useless_names_are_not_asked_for(self) -> None:
        self.up(self.far)
        for key_id in ("rsa:k", "ed25519", "", "ed25519:" + "x" * 200, "ed25519:\0", "ed25519:\u00e9"):
            self.assertEqual(self.get(FAR, key_id), {})
        for server in ("", "no name", "a/b", OWN + "\0"):
            self.assertEqual(self.get(server), {})
        self.assertEqual(self.https.requests, [])


class HostileDocumentTests(KeyRingCase):
    def assert_not_believed(self, document: Any) -> None:
        self.setUp()
        self.https.servers[FAR] = json_response(document)
        self.assertEqual(self.get(), {}, document)

    def test_documents_that_are_wrong_are_not_believed(self) -> None:
        good = self.far.document()
        signer = self.far.signers[0]
        bare = {key: value for key, value in good.items() if key != "signatures"}
        self.https.servers[FAR] = json_response(good)
        self.assertNotEqual(self.get(), {})
        changes: list[dict[str, Any]] = [
            {"server_name": "else.example"},
            {"valid_until_ts": "1"},
            {"valid_until_ts": -1},
            {"valid_until_ts": True},
            {"valid_until_ts": None},
            {"valid_until_ts": 1e300},
            {"verify_keys": {}},
            {"verify_keys": []},
            {"verify_keys": {"ed25519:k": "x"}},
            {"verify_keys": {"ed25519:k": {"key": "!"}}},
            {"verify_keys": {"ed25519:k": {"key": "AAAA"}}},
            {"verify_keys": {f"ed25519:{number}": {} for number in range(101)}},
            {"old_verify_keys": []},
            {"old_verify_keys": {"ed25519:o": {"key": signer.verify_key_base64}}},
        ]
        for change in changes:
            self.assert_not_believed(signer.sign_json({**bare, **change}))
        self.assert_not_believed(bare)
        self.assert_not_believed({**good, "more": 1})
        self.assert_not_believed({**bare, "signatures": []})
        self.assert_not_believed({**bare, "signatures": {FAR: {"ed25519:k": 5}}})
        self.assert_not_believed([good])

    def test_one_wrong_signature_spoils_the_right_one(self) -> None:
        two = KeyServer(FAR, "k", "l").document()
        two["signatures"][FAR]["ed25519:l"] = two["signatures"][FAR]["ed25519:k"]
        self.assert_not_believed(two)


class NotaryTests(KeyRingCase):
    def test_a_notary_is_asked_for_a_server_that_is_down(self) -> None:
        self.with_notary(self.far)
        self.assertEqual(self.get()["ed25519:k"].key, self.far.signers[0].verify_key)
        self.assertEqual(self.notary.asked[-1], {FAR: {"ed25519:k": {"minimum_valid_until_ts": NOW_MS}}})

    def test_a_notary_is_not_asked_for_what_the_server_told(self) -> None:
        self.with_notary(self.far)
        self.up(self.far)
        self.get()
        self.assertEqual(self.notary.asked, [])

    def test_a_notary_must_sign_with_the_key_that_is_configured(self) -> None:
        self.with_notary(self.far, pinned=True)
        self.assertIn("ed25519:k", self.get())
        self.assertEqual(len(self.notary.asked), 1)
        self.setUp()
        self.notary.signs_answers = False
        self.with_notary(self.far, pinned=True)
        self.assertEqual(self.get(), {})
        self.setUp()
        self.with_notary(self.far, pinned=True)
        self.notary.signers = KeyServer(NOTARY, "other").signers
        self.assertEqual(self.get(), {})

    def test_a_notary_without_known_keys_is_asked_for_them_first(self) -> None:
        self.with_notary(self.far)
        self.get()
        self.assertEqual(self.notary.asked[0], "own")
        self.setUp()
        self.notary.signs_answers = False
        self.with_notary(self.far)
        self.assertEqual(self.get(), {})

    def test_a_notary_cannot_make_up_keys(self) -> None:
        liar = KeyServer(FAR)
        liar.signers[0].server_name = "else.example"
        self.with_notary(liar)
        self.assertEqual(self.get(), {})

    def test_a_notary_cannot_tell_what_was_not_asked(self) -> None:
        else_server = KeyServer("else.example")
        self.with_notary(self.far, else_server)
        self.notary.knows = [self.far]
        self.get()
        self.down(self.notary)
        self.assertEqual(self.get("else.example"), {})

    def test_many_servers_are_asked_for_in_one_request(self) -> None:
        servers = [KeyServer(f"s{number}.example") for number in range(150)]
        self.with_notary(*servers[:140], pinned=True)
        self.up(*servers[145:])
        self.prefetch(*servers)
        self.assertEqual([len(query) for query in self.notary.asked], [100, 50])
        direct = {url.partition("/")[0] for url in self.https.urls if url.endswith("/server")}
        self.assertEqual(direct - {NOTARY}, {server.name for server in servers[140:]})
        before = len(self.https.requests)
        known = [server for server in servers if self.get(server.name)]
        self.assertEqual((len(known), len(self.https.requests)), (145, before))

    def test_few_servers_are_asked_themselves(self) -> None:
        self.with_notary(self.far)
        self.up(self.far)
        self.prefetch(self.far)
        self.assertEqual((self.far.asked, self.notary.asked), (["own"], []))
