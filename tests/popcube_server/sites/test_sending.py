"""What two sites send to another server: each thing once, by one of them; and by the other one when that is lost."""

from collections import Counter
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

import orjson
from nacl.signing import SigningKey

from federation.room_dag.signing import EventSigner
from federation.transport.https import HttpRequest, HttpResponse
from tests.popcube_server.server_case import TWO, TestUser
from tests.popcube_server.sites.sites_case import ANNA, BERTA, CARLA, SitesTestCase

TERM_S = 10.0
SEND = "/_matrix/federation/v1/send/"


class SendingCase(SitesTestCase):
    """Alice, in a room with Bob of `two.example`. Everything that is sent there is noted."""

    def setUp(self) -> None:
        super().setUp()
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.network.observe = self.note
        self.wait(2 * TERM_S)
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob", TWO)
        self.room_id = self.given_room(self.alice)
        self.wait(1)
        path = f"/_matrix/client/v3/join/{quote(self.room_id)}?server_name=one.example"
        self.ok(self.post(path, {}, self.bob))
        self.wait(5)
        self.there = self.at_berta(self.alice)

    def note(self, request: HttpRequest, response: HttpResponse) -> None:
        if request.uri.startswith(SEND) and response.status == 200 and request.body is not None:
            body = orjson.loads(request.body)
            if body["origin"] == "one.example":
                self.sent.append((unquote(request.uri[len(SEND) :]), body))

    def wait(self, duration_s: float) -> None:
        for _ in range(round(duration_s * 4)):
            self.clock.advance(0.25)
            self.network.flush()

    def bodies(self) -> list[str]:
        """Of the messages that were sent to the other server, each as often as it was."""
        return [
            pdu["content"]["body"]
            for _, body in self.sent
            for pdu in body["pdus"]
            if pdu["type"] == "m.room.message"
        ]

    def assert_bob_reads(self, *texts: str) -> None:
        """All of them, and each once, whatever was sent."""
        path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/messages?dir=b&limit=100"
        chunk = self.ok(self.get(path, self.bob))["chunk"]
        found = Counter(event["content"].get("body") for event in chunk if event["type"] == "m.room.message")
        self.assertEqual(found, Counter(texts))

    def senders(self) -> list[str]:
        """Which of the sites that run say that they send."""
        return [host for host in (ANNA, BERTA) if host in self.organisations and self.is_sender(host)]

    def is_sender(self, host: str) -> bool:
        status, page = self.call("GET", "/metrics", headers={"Host": host})
        self.assertEqual(status, 200)
        return b'popcube_site_duty_held{duty="federation"} 1.0' in page


class AloneSendingTests(SendingCase):
    """Two sites and nobody else: the operator decides."""

    def test_one_of_them_sends_what_both_write_and_each_thing_once(self) -> None:
        self.assertEqual(self.senders(), [ANNA])
        for number in range(3):
            self.given_message(self.alice, self.room_id, f"here {number}")
            self.given_message(self.there, self.room_id, f"there {number}")
        self.wait(5)
        wanted = [f"{place} {number}" for number in range(3) for place in ("here", "there")]
        self.assertEqual(sorted(self.bodies()), sorted(wanted))
        self.assert_bob_reads(*wanted)
        self.assertEqual(len({txn_id for txn_id, _ in self.sent}), len(self.sent))

    def test_the_other_one_sends_when_the_operator_says_so(self) -> None:
        self.given_message(self.alice, self.room_id, "before")
        self.wait(15)
        self.kill(ANNA)
        self.given_message(self.there, self.room_id, "after")
        self.wait(60)
        self.assertEqual(self.senders(), [])
        self.assertNotIn("after", self.bodies())
        self.assertEqual(self.take_over(BERTA), 200)
        self.wait(5)
        self.assertEqual(self.senders(), [BERTA])
        self.assert_bob_reads("before", "after")

    def test_who_comes_back_leaves_it_to_who_took_over(self) -> None:
        self.kill(ANNA)
        self.assertEqual(self.take_over(BERTA), 200)
        self.wait(5)
        self.given_message(self.there, self.room_id, "meanwhile")
        self.wait(5)
        self.revive(ANNA)
        self.wait(2 * TERM_S)
        self.assertEqual(self.senders(), [BERTA])
        self.given_message(self.alice, self.room_id, "back")
        self.wait(5)
        self.assertEqual(self.bodies().count("back"), 1)
        self.assert_bob_reads("meanwhile", "back")
        self.restart(ANNA)
        self.restart(BERTA)
        self.wait(2 * TERM_S)
        self.assertEqual(self.senders(), [BERTA])

    def test_who_was_cut_off_ends_when_it_hears_of_it(self) -> None:
        self.cut()
        self.assertEqual(self.take_over(BERTA), 200)
        self.wait(5)
        self.given_message(self.alice, self.room_id, "here")
        self.given_message(self.there, self.room_id, "there")
        self.wait(5)
        # Nobody could tell the one that the other was asked to take over.
        self.assertEqual(self.senders(), [ANNA, BERTA])
        self.heal()
        self.wait(TERM_S)
        self.assertEqual(self.senders(), [BERTA])
        self.wait(5)
        self.assert_bob_reads("here", "there")
        self.assertEqual(len({txn_id for txn_id, _ in self.sent}), len(self.sent))

    def test_alone_after_a_restart_it_goes_on_as_it_last_knew(self) -> None:
        self.kill(BERTA)
        self.restart(ANNA)
        self.given_message(self.alice, self.room_id, "hello")
        self.wait(0.5 * TERM_S)
        self.assertEqual(self.senders(), [])
        self.wait(TERM_S)
        self.assertEqual(self.senders(), [ANNA])
        self.assert_bob_reads("hello")

    def test_another_site_does_not_decide_for_this_one(self) -> None:
        self.assertEqual(self.senders(), [ANNA])
        self.assertEqual(self.take_over(BERTA, ANNA), 403)
        self.wait(5)
        self.assertEqual(self.senders(), [ANNA])

    def test_messages_to_devices_wait_for_who_takes_over(self) -> None:
        self.network.down.add(TWO)
        body = {"messages": {self.bob.user_id: {self.bob.device_id: {"some": "thing"}}}}
        self.ok(self.put("/_matrix/client/v3/sendToDevice/m.test/1", body, self.alice))
        self.wait(5)
        self.network.down.remove(TWO)
        self.kill(ANNA)
        self.assertEqual(self.take_over(BERTA), 200)
        self.wait(5)
        self.revive(ANNA)
        self.wait(15)
        events = self.ok(self.get("/_matrix/client/v3/sync?timeout=0", self.bob))["to_device"]["events"]
        self.assertEqual([event["content"] for event in events], [{"some": "thing"}])

    def test_who_was_behind_is_brought_up_to_date_by_who_takes_over(self) -> None:
        self.given_message(self.alice, self.room_id, "before")
        self.wait(15)
        self.network.down.add(TWO)
        for number in range(3):
            self.given_message(self.alice, self.room_id, f"missed {number}")
        # Until it is given up for a while, and the sender's place is past all that.
        for _ in range(200):
            self.clock.advance(10)
            self.network.flush()
        self.given_message(self.alice, self.given_room(self.alice), "elsewhere")
        self.wait(30)
        self.kill(ANNA)
        self.network.down.remove(TWO)
        self.sent.clear()
        self.assertEqual(self.take_over(BERTA), 200)
        self.wait(30)
        # The latest of the room is sent; the other server asks for what lies before it.
        self.assert_bob_reads("before", "missed 0", "missed 1", "missed 2")
        self.assertEqual(self.bodies(), ["missed 2"])

    def test_what_was_passed_over_is_sent_again_by_who_takes_over(self) -> None:
        nothing = HttpResponse(200, {"content-type": "application/json"}, b'{"pdus": {}}')
        self.network.far_servers[TWO] = lambda route, request: nothing
        self.given_message(self.alice, self.room_id, "hello")
        self.wait(15)
        # Until the sender's place is past it, also for the other site.
        self.given_message(self.alice, self.given_room(self.alice), "elsewhere")
        self.wait(30)
        self.kill(ANNA)
        del self.network.far_servers[TWO]
        self.assertEqual(self.take_over(BERTA), 200)
        self.wait(5)
        self.assertEqual(self.bodies(), ["hello"])
        self.assert_bob_reads("hello")
        self.revive(ANNA)
        self.wait(2 * TERM_S)
        self.assertEqual(self.take_over(ANNA), 200)
        self.wait(60)
        self.assertEqual(self.senders(), [ANNA])
        self.assertEqual(self.bodies(), ["hello"])

    def upload_keys(self, user: TestUser) -> None:
        name = f"ed25519:{user.device_id}"
        signer = EventSigner(user.user_id, name, SigningKey(user.device_id.encode().ljust(32, b"0")))
        keys = {
            "user_id": user.user_id,
            "device_id": user.device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": {name: signer.verify_key_base64, f"curve25519:{user.device_id}": "A" * 43},
        }
        keys = signer.sign_json(keys)
        self.ok(self.post("/_matrix/client/v3/keys/upload", {"device_keys": keys}, user))
        self.wait(5)

    def device_updates(self) -> list[dict[str, Any]]:
        edus = [edu for _, body in self.sent for edu in body["edus"]]
        return [edu["content"] for edu in edus if edu["edu_type"] == "m.device_list_update"]

    def test_updates_of_devices_go_on_in_one_chain(self) -> None:
        self.upload_keys(self.alice)
        first = self.device_updates()[-1]
        self.kill(ANNA)
        self.assertEqual(self.take_over(BERTA), 200)
        self.wait(5)
        self.upload_keys(self.given_login(self.there))
        second = self.device_updates()[-1]
        self.assertGreater(second["stream_id"], first["stream_id"])
        told = {update["stream_id"] for update in self.device_updates()}
        self.assertLessEqual(set(second["prev_id"]), told)
        self.assertEqual(len(second["prev_id"]), 1)
        self.assertLess(second["stream_id"], 2**53)

    def test_who_joins_through_one_site_hears_what_was_said_at_the_one_that_sends(self) -> None:
        self.assertEqual(self.take_over(BERTA), 200)
        self.wait(2 * TERM_S)
        self.assertEqual(self.senders(), [BERTA])
        self.room_id = self.given_room(self.alice)
        self.wait(5)
        self.cut()
        # Nobody of the other server is in the room yet, as far as this site knows.
        self.given_message(self.there, self.room_id, "there")
        path = f"/_matrix/client/v3/join/{quote(self.room_id)}?server_name=one.example"
        self.ok(self.post(path, {}, self.bob))
        self.heal()
        self.wait(5)
        self.assertEqual(self.bodies(), ["there"])
        self.assert_bob_reads("there")

    def test_who_joins_is_not_sent_what_was_said_to_members_alone(self) -> None:
        self.assertEqual(self.take_over(BERTA), 200)
        self.wait(2 * TERM_S)
        self.room_id = self.given_room(self.alice)
        path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/state/m.room.history_visibility"
        self.ok(self.put(path, {"history_visibility": "joined"}, self.alice))
        self.wait(5)
        self.cut()
        self.given_message(self.there, self.room_id, "among us")
        path = f"/_matrix/client/v3/join/{quote(self.room_id)}?server_name=one.example"
        self.ok(self.post(path, {}, self.bob))
        self.heal()
        self.wait(5)
        self.assertEqual(self.bodies(), [])
        self.given_message(self.there, self.room_id, "with bob")
        self.wait(5)
        self.assertEqual(self.bodies(), ["with bob"])

    def test_what_passes_goes_out_from_either_site(self) -> None:
        path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/typing/{quote(self.alice.user_id)}"
        self.ok(self.put(path, {"typing": True, "timeout": 20000}, self.alice))
        self.wait(5)
        self.assertIn("m.typing", [edu["edu_type"] for _, body in self.sent for edu in body["edus"]])


class WitnessedSendingTests(SendingCase):
    """Two sites and a witness: most of them decide."""

    hosts = (ANNA, BERTA, CARLA, TWO)

    def test_one_of_them_sends_what_both_write_and_each_thing_once(self) -> None:
        self.assertEqual(len(self.senders()), 1)
        self.given_message(self.alice, self.room_id, "here")
        self.given_message(self.there, self.room_id, "there")
        self.wait(100)
        self.assertEqual(sorted(self.bodies()), ["here", "there"])
        self.assert_bob_reads("here", "there")

    def test_when_the_sender_dies_the_other_one_takes_over_and_nothing_is_missed(self) -> None:
        self.given_message(self.alice, self.room_id, "before")
        self.wait(2)
        (sender,) = self.senders()
        other = {ANNA: BERTA, BERTA: ANNA}[sender]
        user = replace(self.alice, server_name=other)
        self.network.down.add(TWO)
        self.given_message(replace(self.alice, server_name=sender), self.room_id, "not sent yet")
        self.wait(2)
        self.network.down.remove(TWO)
        self.kill(sender)
        self.given_message(user, self.room_id, "after")
        self.wait(2 * TERM_S)
        self.assertEqual(self.senders(), [other])
        self.given_message(user, self.room_id, "later")
        self.wait(5)
        self.assert_bob_reads("before", "not sent yet", "after", "later")
        self.assertEqual(len({txn_id for txn_id, _ in self.sent}), len(self.sent))
        self.revive(sender)
        self.wait(3 * TERM_S)
        self.assertEqual(self.senders(), [other])

    def test_when_the_sender_stops_in_peace_the_other_one_goes_on_at_once(self) -> None:
        (sender,) = self.senders()
        other = {ANNA: BERTA, BERTA: ANNA}[sender]
        self.close(self.organisations[sender])
        self.wait(0.8 * TERM_S)
        self.assertEqual(self.senders(), [other])

    def test_nobody_sends_without_most_of_them(self) -> None:
        self.kill(CARLA)
        self.wait(2 * TERM_S)
        self.assertEqual(len(self.senders()), 1)
        self.kill(BERTA)
        self.wait(2 * TERM_S)
        self.assertEqual(self.senders(), [])
        self.revive(CARLA)
        self.wait(3 * TERM_S)
        self.assertEqual(self.senders(), [ANNA])

    def test_the_operator_decides_nothing_where_there_is_a_vote(self) -> None:
        self.assertEqual(self.take_over(BERTA), 403)
