"""Two organisations share a room: what one tells, the other shows."""

from typing import Any

from nacl.signing import SigningKey
from twisted.internet.defer import Deferred
from unpaddedbase64 import encode_base64

from storage.remote_devices import SetRemoteDevices
from tests.popcube_server.federation_edus.test_queries import KEYS, device_keys
from tests.popcube_server.server_case import ONE, TWO, ServerTestCase, TestUser


class SharedRoomTests(ServerTestCase):
    extra_configuration = "presence: {enabled: true}"

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice", ONE)
        self.bob = self.given_user("bob", TWO)
        self.room = self.given_room(self.alice)
        pending = self.begin("POST", f"/_matrix/client/v3/join/{self.room}?server_name={ONE}", {}, self.bob)
        self.turn()
        self.ok(self.finish(pending))
        self.turn()

    def turn(self) -> None:
        for _ in range(10):
            self.clock.advance(0)
            self.network.flush()

    def sync(self, user: TestUser, since: str | None = None) -> Any:
        suffix = "" if since is None else f"&since={since}"
        return self.ok(self.get(f"/_matrix/client/v3/sync?timeout=0{suffix}", user))

    def ephemeral(self, user: TestUser) -> dict[str, Any]:
        events = self.sync(user)["rooms"]["join"][self.room]["ephemeral"]["events"]
        return {event["type"]: event["content"] for event in events}

    def texts(self, user: TestUser) -> list[str]:
        events = self.sync(user)["rooms"]["join"][self.room]["timeline"]["events"]
        return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]

    def query(self, user: TestUser, of: TestUser) -> Any:
        pending = self.begin("POST", f"{KEYS}/query", {"device_keys": {of.user_id: []}}, user)
        self.turn()
        return self.ok(self.finish(pending))["device_keys"].get(of.user_id, {})

    def asked(self, path: str) -> int:
        return sum(path in uri for _, _, uri in self.network.requests)

    def test_messages_go_both_ways(self) -> None:
        self.given_message(self.alice, self.room, "from one")
        self.turn()
        self.given_message(self.bob, self.room, "from two")
        self.turn()
        for user in (self.alice, self.bob):
            self.assertEqual(self.texts(user), ["from one", "from two"])

    def test_outage_ends_with_everything_there(self) -> None:
        self.network.down.add(TWO)
        for number in range(5):
            self.given_message(self.alice, self.room, str(number))
            self.turn()
        for _ in range(100):
            self.clock.advance(1)
        self.assertEqual(self.texts(self.bob), [])
        self.network.down.clear()
        for _ in range(80):
            self.clock.advance(10)
            self.network.flush()
        self.assertEqual(self.texts(self.bob), [str(number) for number in range(5)])

    def test_request_of_a_server_that_was_away_ends_its_pause(self) -> None:
        self.network.down.add(TWO)
        self.given_message(self.alice, self.room, "missed")
        for _ in range(100):
            self.clock.advance(1)
        self.network.down.clear()
        self.turn()
        self.assertEqual(self.texts(self.bob), [])
        self.given_message(self.bob, self.room, "I am back")
        self.turn()
        self.assertEqual(sorted(self.texts(self.bob)), ["I am back", "missed"])

    def test_typing_is_seen_and_ends(self) -> None:
        path = f"/_matrix/client/v3/rooms/{self.room}/typing/{self.alice.user_id}"
        self.ok(self.put(path, {"typing": True, "timeout": 10_000}, self.alice))
        self.turn()
        self.assertEqual(self.ephemeral(self.bob)["m.typing"], {"user_ids": [self.alice.user_id]})
        self.ok(self.put(path, {"typing": False}, self.alice))
        self.turn()
        self.assertEqual(self.ephemeral(self.bob).get("m.typing", {"user_ids": []}), {"user_ids": []})

    def test_receipt_is_seen(self) -> None:
        event_id = self.given_message(self.alice, self.room)
        self.turn()
        self.ok(self.post(f"/_matrix/client/v3/rooms/{self.room}/receipt/m.read/{event_id}", {}, self.bob))
        self.turn()
        receipts = self.ephemeral(self.alice)["m.receipt"]
        self.assertIn(self.bob.user_id, receipts[event_id]["m.read"])

    def test_presence_is_seen(self) -> None:
        path = f"/_matrix/client/v3/presence/{self.alice.user_id}/status"
        self.ok(self.put(path, {"presence": "unavailable", "status_msg": "tea"}, self.alice))
        self.turn()
        told = self.ok(self.get(path, self.bob))
        self.assertEqual((told["presence"], told["status_msg"]), ("unavailable", "tea"))

    def test_who_joins_learns_who_is_online(self) -> None:
        carol, dora = self.given_user("carol", ONE), self.given_user("dora", TWO)
        room_id = self.given_room(carol)
        for user, message in ((carol, "waiting"), (dora, "coming")):
            path = f"/_matrix/client/v3/presence/{user.user_id}/status"
            self.ok(self.put(path, {"presence": "online", "status_msg": message}, user))
        joining = self.begin("POST", f"/_matrix/client/v3/join/{room_id}?server_name={ONE}", {}, dora)
        self.turn()
        self.ok(self.finish(joining))
        for user, other, message in ((dora, carol, "waiting"), (carol, dora, "coming")):
            told = self.ok(self.get(f"/_matrix/client/v3/presence/{other.user_id}/status", user))
            self.assertEqual((told["presence"], told["status_msg"]), ("online", message))

    def test_users_of_a_server_that_is_gone_are_offline_after_a_while(self) -> None:
        path = f"/_matrix/client/v3/presence/{self.alice.user_id}/status"
        self.ok(self.put(path, {"presence": "unavailable"}, self.alice))
        self.turn()
        self.network.down.add(TWO)
        shown = []
        for _ in range(9):
            shown.append(self.ok(self.get(path, self.bob))["presence"])
            for _ in range(30):
                self.clock.advance(10)
                self.network.flush()
        self.assertEqual((shown[6], shown[-1]), ("unavailable", "offline"))

    def test_receipt_beside_its_event_is_seen(self) -> None:
        carol = self.given_user("carol", TWO)
        self.given_joined(carol, self.room)
        self.turn()
        self.network.down.add(ONE)
        event_id = self.given_message(carol, self.room)
        self.ok(self.post(f"/_matrix/client/v3/rooms/{self.room}/receipt/m.read/{event_id}", {}, self.bob))
        for _ in range(100):
            self.clock.advance(1)
        self.network.down.clear()
        for _ in range(80):
            self.clock.advance(10)
            self.network.flush()
        self.assertIn(self.bob.user_id, self.ephemeral(self.alice)["m.receipt"][event_id]["m.read"])

    def test_message_to_a_device_arrives_once(self) -> None:
        path = "/_matrix/client/v3/sendToDevice/m.test/1"
        body = {"messages": {self.bob.user_id: {"*": {"hello": "bob"}}}}
        self.ok(self.put(path, body, self.alice))
        self.turn()
        events = self.sync(self.bob)["to_device"]["events"]
        self.assertEqual(
            events, [{"type": "m.test", "sender": self.alice.user_id, "content": {"hello": "bob"}}]
        )

    def test_keys_are_kept_and_changes_are_told(self) -> None:
        since = self.sync(self.bob)["next_batch"]
        self.ok(self.post(f"{KEYS}/upload", {"device_keys": device_keys(self.alice)}, self.alice))
        self.turn()
        self.assertIn(self.alice.user_id, self.sync(self.bob, since)["device_lists"]["changed"])
        self.assertEqual(list(self.query(self.bob, self.alice)), [self.alice.device_id])
        self.assertEqual(list(self.query(self.bob, self.alice)), [self.alice.device_id])
        self.assertEqual(self.asked("/user/devices/"), 1)

        phone = self.given_login(self.alice, "PHONE")
        self.ok(self.post(f"{KEYS}/upload", {"device_keys": device_keys(phone)}, phone))
        self.turn()
        self.assertEqual(sorted(self.query(self.bob, self.alice)), sorted([self.alice.device_id, "PHONE"]))
        self.ok(self.post("/_matrix/client/v3/logout", {}, phone))
        self.turn()
        self.assertEqual(list(self.query(self.bob, self.alice)), [self.alice.device_id])
        self.assertEqual(self.asked("/user/devices/"), 1)

    def test_cross_signing_keys_are_told_both_ways(self) -> None:
        for user, other in ((self.alice, self.bob), (self.bob, self.alice)):
            self.ok(self.post(f"{KEYS}/upload", {"device_keys": device_keys(user)}, user))
            self.turn()
            self.query(other, user)
            since = self.sync(other)["next_batch"]
            asked = self.asked("/user/")
            master = encode_base64(bytes(SigningKey(b"7" * 32).verify_key))
            key = {"user_id": user.user_id, "usage": ["master"], "keys": {f"ed25519:{master}": master}}
            self.ok(self.post(f"{KEYS}/device_signing/upload", {"master_key": key}, user))
            self.turn()
            self.assertIn(user.user_id, self.sync(other, since)["device_lists"]["changed"])
            pending = self.begin("POST", f"{KEYS}/query", {"device_keys": {user.user_id: []}}, other)
            self.turn()
            found = self.ok(self.finish(pending))["master_keys"][user.user_id]
            self.assertEqual(found["keys"], key["keys"])
            # They came by themselves.
            self.assertEqual(self.asked("/user/"), asked)

    def test_lost_change_of_keys_is_made_up_for(self) -> None:
        self.ok(self.post(f"{KEYS}/upload", {"device_keys": device_keys(self.alice)}, self.alice))
        self.turn()
        self.query(self.bob, self.alice)
        # As if the list that is kept were older than what the next update stands on.
        change = SetRemoteDevices(self.alice.user_id, 0, ())
        pending = Deferred.fromCoroutine(self.organisations[TWO].core.committer.commit(change))
        self.successResultOf(pending)
        phone = self.given_login(self.alice, "PHONE")
        self.ok(self.post(f"{KEYS}/upload", {"device_keys": device_keys(phone)}, phone))
        self.turn()
        self.assertEqual(self.asked("/user/devices/"), 2)
        self.assertEqual(sorted(self.query(self.bob, self.alice)), sorted([self.alice.device_id, "PHONE"]))
        self.assertEqual(self.asked("/user/devices/"), 2)

    def test_list_of_who_left_is_not_trusted(self) -> None:
        self.ok(self.post(f"{KEYS}/upload", {"device_keys": device_keys(self.alice)}, self.alice))
        self.turn()
        self.query(self.bob, self.alice)
        self.ok(self.post(f"/_matrix/client/v3/rooms/{self.room}/leave", {}, self.alice))
        self.turn()
        phone = self.given_login(self.alice, "PHONE")
        self.ok(self.post(f"{KEYS}/upload", {"device_keys": device_keys(phone)}, phone))
        self.turn()
        self.assertIn("PHONE", self.query(self.bob, self.alice))
