"""What other servers meet when they talk to several sites: rows 7 and 8 of docs/developers/failover.md."""

from typing import Any
from urllib.parse import quote

import orjson
from twisted.internet.defer import Deferred

from federation.transport.https import HttpRequest, HttpResponse, ResponseLimits
from federation.transport.route import Route, Target
from federation.transport.x_matrix import build_x_matrix
from storage.registration_tokens import CreateRegistrationToken
from tests.popcube_server.rest.client.keys_case import KeysTestCase
from tests.popcube_server.server_case import ONE, TWO, TestUser
from tests.popcube_server.sites.sites_case import ANNA, BERTA
from tests.popcube_server.sites.test_receiving import ReceivingCase


class TransactionsTests(ReceivingCase, KeysTestCase):
    """Row 7: a transaction that comes to both sites, also while they do not hear of each other."""

    def test_in_a_cut_a_transaction_that_both_take_does_nothing_twice_to_rooms_and_lists(self) -> None:
        event_id = self.given_message(self.alice, self.room_id, "read me")
        self.wait(5)
        since = {user.server_name: self.sync(user)["next_batch"] for user in (self.alice, self.there)}
        self.cut()
        self.incoming.clear()
        self.given_message(self.bob, self.room_id, "hello")
        receipt = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/receipt/m.read/{quote(event_id)}"
        self.ok(self.post(receipt, {}, self.bob))
        body = {"messages": {self.alice.user_id: {self.alice.device_id: {"some": "thing"}}}}
        self.ok(self.put("/_matrix/client/v3/sendToDevice/m.test/1", body, self.bob))
        self.given_device_keys(self.bob)
        self.wait(5)
        self.assertTrue(self.incoming)
        for request in list(self.incoming):
            self.assertEqual(self.repeat_at(BERTA, request), 200)
        self.heal()
        self.wait(5)
        first = self.sync(self.alice, since[ANNA])
        for answer in (first, self.sync(self.there, since[BERTA])):
            room = answer["rooms"]["join"][self.room_id]
            bodies = [event["content"].get("body") for event in room["timeline"]["events"]]
            self.assertEqual(bodies, ["hello"])
            readers = [event["content"][event_id]["m.read"] for event in room["ephemeral"]["events"]]
            self.assertEqual([set(reader) for reader in readers], [{self.bob.user_id}])
            self.assertIn(self.bob.user_id, answer["device_lists"]["changed"])
            # Neither site could know that the other had taken it: it may come twice, and is never missing.
            messages = [event["content"] for event in answer["to_device"]["events"]]
            self.assertEqual(messages, [{"some": "thing"}] * 2)
        # Once it was read here it is gone there.
        self.sync(self.alice, first["next_batch"])
        self.wait(5)
        again = self.sync(self.there, since[BERTA])
        self.assertEqual(again.get("to_device", {}).get("events", []), [])


class DeviceListsTests(ReceivingCase, KeysTestCase):
    """Row 8: a list of devices is the same whichever site is asked, and goes on when one of them is lost."""

    def devices(self, host: str) -> dict[str, Any]:
        """The answer of a site to another server that asks for Alice's devices."""
        uri = f"/_matrix/federation/v1/user/devices/{quote(self.alice.user_id)}"
        header = build_x_matrix(self.signer_of(TWO), ONE, "GET", uri, None)
        route = Route((Target(host, 443),), host, host)
        request = HttpRequest("GET", uri, {"Authorization": header}, None)
        asking: Deferred[HttpResponse] = Deferred.fromCoroutine(
            self.network.request(route, request, ResponseLimits(10, 100_000))
        )
        self.wait(2)
        response = self.successResultOf(asking)
        self.assertEqual(response.status, 200, response.body)
        answer: dict[str, Any] = orjson.loads(response.body)
        return answer

    def test_both_sites_answer_the_same_with_the_same_stream_id(self) -> None:
        self.given_device_keys(self.alice)
        self.given_device_keys(self.given_login(self.there, "SECOND"))
        self.wait(10)
        here, there = self.devices(ANNA), self.devices(BERTA)
        self.assertEqual(
            {device["device_id"] for device in here["devices"]}, {self.alice.device_id, "SECOND"}
        )
        self.assertEqual(here["stream_id"], there["stream_id"])
        by_id = [
            sorted(answer["devices"], key=lambda device: device["device_id"]) for answer in (here, there)
        ]
        self.assertEqual(*by_id)

    def test_after_a_failover_the_list_that_others_have_is_the_one_that_they_would_get(self) -> None:
        self.given_device_keys(self.alice)
        self.wait(10)
        before = self.devices(ANNA)["stream_id"]
        self.kill(ANNA)
        self.take_over(BERTA)
        self.wait(5)
        self.given_device_keys(self.given_login(self.there, "SECOND"))
        self.wait(10)
        answer = self.devices(BERTA)
        self.assertGreater(answer["stream_id"], before)
        query: dict[str, Any] = {"device_keys": {self.alice.user_id: []}}
        pending = self.begin("POST", "/_matrix/client/v3/keys/query", query, self.bob)
        self.wait(5)
        known = self.ok(self.finish(pending))["device_keys"][self.alice.user_id]
        self.assertEqual(set(known), {device["device_id"] for device in answer["devices"]})


class RegistrationTokensTests(ReceivingCase):
    """Row 13: uses of a registration token are counted by all sites together."""

    extra_configuration = "registration_requires_token: true"

    def setUp(self) -> None:
        self._number = 0
        super().setUp()

    def given_user(self, name: str, server_name: str = ONE) -> Any:
        """With a token of its own, good for one."""
        self.create(f"for-{name}", 1, server_name)
        status, answer = self.register(name, f"for-{name}", server_name)
        self.assertEqual(status, 200, answer)
        return self.user_of(answer, server_name)

    def user_of(self, answer: Any, host: str) -> Any:
        return TestUser(host, answer["user_id"], answer["access_token"], answer["device_id"])

    def create(self, token: str, uses: int, host: str) -> None:
        committer = self.organisations[host].core.committer
        self.successResultOf(
            Deferred.fromCoroutine(committer.commit(CreateRegistrationToken(token, uses, None)))
        )

    def register(self, name: str, token: str, host: str) -> tuple[int, Any]:
        path = "/_matrix/client/v3/register"
        body: dict[str, Any] = {"username": name, "password": f"password of {name}"}
        status, answer = self.call("POST", path, body, server_name=host)
        self.assertEqual(status, 401)
        session = answer["session"]
        auth = {"type": "m.login.registration_token", "token": token, "session": session}
        status, answer = self.call("POST", path, {**body, "auth": auth}, server_name=host)
        if status == 401 and "m.login.registration_token" in answer.get("completed", []):
            auth = {"type": "m.login.dummy", "session": session}
            status, answer = self.call("POST", path, {**body, "auth": auth}, server_name=host)
        return status, answer

    def is_valid(self, token: str, host: str) -> bool:
        path = f"/_matrix/client/v1/register/m.login.registration_token/validity?token={token}"
        valid: bool = self.ok(self.call("GET", path, server_name=host))["valid"]
        return valid

    def test_what_was_used_at_one_site_is_used_at_the_other(self) -> None:
        self.create("two", 2, ANNA)
        self.settle()
        self.assertEqual(self.register("carol", "two", ANNA)[0], 200)
        self.settle()
        self.assertTrue(self.is_valid("two", BERTA))
        self.assertEqual(self.register("dave", "two", BERTA)[0], 200)
        self.settle()
        self.assertEqual([self.is_valid("two", host) for host in (ANNA, BERTA)], [False, False])
        self.assertEqual(self.register("erin", "two", ANNA)[0], 401)

    def test_uses_on_both_sides_of_a_cut_are_counted_together_afterwards(self) -> None:
        self.create("two", 2, ANNA)
        self.settle()
        self.cut()
        for number in range(2):
            self.assertEqual(self.register(f"here{number}", "two", ANNA)[0], 200)
            self.assertEqual(self.register(f"there{number}", "two", BERTA)[0], 200)
        self.assertEqual([self.is_valid("two", host) for host in (ANNA, BERTA)], [False, False])
        self.heal()
        self.assertEqual([self.is_valid("two", host) for host in (ANNA, BERTA)], [False, False])
