"""What servers ask each other about users, between two organisations of one process."""

from typing import Any

from nacl.signing import SigningKey

from federation.room_dag.base64 import encode_base64
from federation.room_dag.canonical_json import encode_canonical
from tests.popcube_server.server_case import ONE, TWO, ServerTestCase, TestUser

KEYS = "/_matrix/client/v3/keys"


def signed(value: dict[str, Any], user_id: str, key_id: str, key: SigningKey) -> dict[str, Any]:
    signature = encode_base64(key.sign(encode_canonical(value)).signature)
    return {**value, "signatures": {user_id: {key_id: signature}}}


def device_keys(user: TestUser, seed: bytes = b"1" * 32) -> dict[str, Any]:
    key = SigningKey(seed)
    keys = {
        "user_id": user.user_id,
        "device_id": user.device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {
            f"ed25519:{user.device_id}": encode_base64(bytes(key.verify_key)),
            f"curve25519:{user.device_id}": "curve",
        },
    }
    return signed(keys, user.user_id, f"ed25519:{user.device_id}", key)


class QueriesTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice", ONE)
        self.bob = self.given_user("bob", TWO)

    def upload(self, user: TestUser, **more: Any) -> None:
        self.ok(self.post(f"{KEYS}/upload", {"device_keys": device_keys(user), **more}, user))

    def query(self, user: TestUser, of: TestUser) -> Any:
        return self.ok(self.post(f"{KEYS}/query", {"device_keys": {of.user_id: []}}, user))

    def test_keys_of_another_servers_user_are_found(self) -> None:
        self.upload(self.bob)
        found = self.query(self.alice, self.bob)
        self.assertEqual(found["failures"], {})
        device = found["device_keys"][self.bob.user_id][self.bob.device_id]
        self.assertEqual(device["keys"], device_keys(self.bob)["keys"])

    def test_server_that_is_down_is_named(self) -> None:
        self.network.down.add(TWO)
        pending = self.begin("POST", f"{KEYS}/query", {"device_keys": {self.bob.user_id: []}}, self.alice)
        for _ in range(20):
            self.clock.advance(1)
            self.network.flush()
        found = self.ok(self.finish(pending))
        self.assertEqual(list(found["failures"]), [TWO])
        self.assertEqual(found["device_keys"], {})

    def test_one_time_key_is_claimed_once(self) -> None:
        key = {"key": "secret", "signatures": {self.bob.user_id: {f"ed25519:{self.bob.device_id}": "x"}}}
        self.upload(self.bob, one_time_keys={"signed_curve25519:AAAA": key})
        body = {"one_time_keys": {self.bob.user_id: {self.bob.device_id: "signed_curve25519"}}}
        claimed = self.ok(self.post(f"{KEYS}/claim", body, self.alice))
        of_device = {"signed_curve25519:AAAA": key}
        self.assertEqual(claimed["one_time_keys"], {self.bob.user_id: {self.bob.device_id: of_device}})
        again = self.ok(self.post(f"{KEYS}/claim", body, self.alice))
        self.assertEqual(again["one_time_keys"], {})

    def test_message_reaches_a_device_of_another_server(self) -> None:
        path = "/_matrix/client/v3/sendToDevice/m.test/1"
        body = {"messages": {self.bob.user_id: {self.bob.device_id: {"hello": "bob"}}}}
        self.ok(self.put(path, body, self.alice))
        self.turn()
        sent = [uri for host, _, uri in self.network.requests if host == TWO and "/send/" in uri]
        self.assertEqual(len(sent), 1)

    def turn(self) -> None:
        for _ in range(5):
            self.clock.advance(0)
            self.network.flush()

    def test_profile_of_another_servers_user_is_shown(self) -> None:
        path = f"/_matrix/client/v3/profile/{self.bob.user_id}"
        self.ok(self.put(f"{path}/displayname", {"displayname": "Bob"}, self.bob))
        self.assertEqual(self.ok(self.get(path, self.alice)), {"displayname": "Bob"})
        self.assertEqual(self.ok(self.get(f"{path}/displayname", self.alice)), {"displayname": "Bob"})
        unknown = "/_matrix/client/v3/profile/@nobody:two.example"
        self.assert_refused(self.get(unknown, self.alice), 404, "M_NOT_FOUND")

    def test_openid_token_names_its_user_until_it_ends(self) -> None:
        path = f"/_matrix/client/v3/user/{self.alice.user_id}/openid/request_token"
        answer = self.ok(self.post(path, {}, self.alice))
        self.assertEqual(answer["matrix_server_name"], ONE)
        info = f"/_matrix/federation/v1/openid/userinfo?access_token={answer['access_token']}"
        self.assertEqual(self.ok(self.get(info)), {"sub": self.alice.user_id})
        self.assert_refused(self.call("GET", info, server_name=TWO), 401, "M_UNKNOWN_TOKEN")
        self.clock.advance(answer["expires_in"] + 1)
        self.assert_refused(self.get(info), 401, "M_UNKNOWN_TOKEN")

    def test_openid_token_of_another_user_is_refused(self) -> None:
        path = f"/_matrix/client/v3/user/{self.bob.user_id}/openid/request_token"
        self.assert_refused(self.post(path, {}, self.alice), 403, "M_FORBIDDEN")

    def test_openid_needs_a_token(self) -> None:
        self.assert_refused(self.get("/_matrix/federation/v1/openid/userinfo"), 401, "M_MISSING_TOKEN")
