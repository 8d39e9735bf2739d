"""What other servers may ask about devices and keys, each answer judged by the specification's schemas."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.federation_edus.test_queries import device_keys
from tests.popcube_server.federation_queries.queries_case import FAR, FEDERATION, QueriesTestCase
from tests.popcube_server.rooms.rooms_case import V3

DEVICES = f"{FEDERATION}/user/devices/"
QUERY = f"{FEDERATION}/user/keys/query"
CLAIM = f"{FEDERATION}/user/keys/claim"


class DevicesTests(QueriesTestCase):
    def setUp(self) -> None:
        super().setUp()
        key = {"key": "secret", "signatures": {self.alice.user_id: {f"ed25519:{self.alice.device_id}": "x"}}}
        upload = {"device_keys": device_keys(self.alice), "one_time_keys": {"signed_curve25519:A": key}}
        self.ok(self.post(f"{V3}/keys/upload", upload, self.alice))
        self.ok(
            self.put(f"{V3}/devices/{self.alice.device_id}", {"display_name": "Alice's phone"}, self.alice)
        )

    def query(self, users: Any) -> tuple[int, Any]:
        return self.ask("POST", QUERY, {"device_keys": users})

    def claim(self, users: Any) -> tuple[int, Any]:
        return self.ask("POST", CLAIM, {"one_time_keys": users})

    def test_devices_of_a_user_are_listed_without_their_names(self) -> None:
        # The second device has no keys, and is nothing to encrypt for.
        self.given_login(self.alice)
        found = self.ok(self.ask("GET", DEVICES + quote(self.alice.user_id)))
        self.assertEqual([device["device_id"] for device in found["devices"]], [self.alice.device_id])
        self.assertNotIn("device_display_name", found["devices"][0])
        self.assertEqual(found["devices"][0]["keys"], device_keys(self.alice))

    def test_only_users_here_are_told_of(self) -> None:
        self.assert_refused(self.ask("GET", f"{DEVICES}@nobody:one.example"), 404, "M_NOT_FOUND")
        for user_id in (self.carol.user_id, f"@x:{FAR}", "alice"):
            self.assert_refused(self.ask("GET", DEVICES + quote(user_id)), 400, "M_INVALID_PARAM")
        self.network.requests.clear()
        strangers = [self.carol.user_id, f"@x:{FAR}", "@nobody:one.example", "alice", ""]
        found = self.ok(self.query({user_id: [] for user_id in strangers}))
        self.assertEqual(found["device_keys"], {})
        claimed = self.ok(self.claim({user_id: {"D": "signed_curve25519"} for user_id in strangers}))
        self.assertEqual(claimed["one_time_keys"], {})
        self.assertFalse([uri for _, _, uri in self.network.requests if "/keys/" in uri and "/v1/" in uri])

    def test_devices_can_be_asked_for_one_by_one(self) -> None:
        for devices, found in (([], 1), ([self.alice.device_id], 1), (["OTHER"], 0)):
            answer = self.ok(self.query({self.alice.user_id: devices}))["device_keys"]
            self.assertEqual(len(answer[self.alice.user_id]), found)

    def test_key_is_given_out_once_whoever_claims_it(self) -> None:
        wanted = {self.alice.user_id: {self.alice.device_id: "signed_curve25519"}}
        claimed = self.ok(self.claim(wanted))["one_time_keys"]
        self.assertEqual(list(claimed[self.alice.user_id][self.alice.device_id]), ["signed_curve25519:A"])
        for _ in range(3):
            self.assertEqual(self.ok(self.claim(wanted))["one_time_keys"], {})
        body = {"one_time_keys": wanted}
        self.assertEqual(self.ok(self.post(f"{V3}/keys/claim", body, self.bob))["one_time_keys"], {})

    def test_wrong_and_too_large_questions_are_refused(self) -> None:
        wrong: tuple[Any, ...] = ([], {self.alice.user_id: "x"}, {self.alice.user_id: [1]})
        for users in wrong:
            self.assert_refused(self.query(users), 400, "M_BAD_JSON")
        wrong = ([], {self.alice.user_id: []}, {self.alice.user_id: {"D": 1}})
        for users in wrong:
            self.assert_refused(self.claim(users), 400, "M_BAD_JSON")
        many: dict[str, Any] = {f"@u{number}:one.example": [] for number in range(1_001)}
        self.assert_refused(self.query(many), 400, "M_INVALID_PARAM")
        devices = {f"D{number}": "signed_curve25519" for number in range(5_001)}
        self.assert_refused(self.claim({self.alice.user_id: devices}), 413, "M_TOO_LARGE")
        self.assert_refused(self.call("POST", QUERY, {"device_keys": {}}), 401, "M_UNAUTHORIZED")


class NamedDevicesTests(QueriesTestCase):
    extra_configuration = "allow_device_name_lookup_over_federation: true"

    def test_names_of_devices_are_told_if_the_operator_wants_it(self) -> None:
        self.ok(self.post(f"{V3}/keys/upload", {"device_keys": device_keys(self.alice)}, self.alice))
        path = f"{V3}/devices/{self.alice.device_id}"
        self.ok(self.put(path, {"display_name": "Alice's phone"}, self.alice))
        found = self.ok(self.ask("GET", DEVICES + quote(self.alice.user_id)))["devices"][0]
        self.assertEqual(found["device_display_name"], "Alice's phone")
        answer = self.ok(self.ask("POST", QUERY, {"device_keys": {self.alice.user_id: []}}))
        device = answer["device_keys"][self.alice.user_id][self.alice.device_id]
        self.assertEqual(device["unsigned"], {"device_display_name": "Alice's phone"})
