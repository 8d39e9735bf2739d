"""What another server sends reaches both sites, whichever it sends it to; and what comes twice does nothing twice."""

from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred

from federation.transport.https import HttpRequest, HttpResponse, ResponseLimits
from federation.transport.route import Route, Target
from tests.popcube_server.server_case import TWO, TestUser
from tests.popcube_server.sites.sites_case import ANNA, BERTA, SitesTestCase

SEND = "/_matrix/federation/v1/send/"
THREE = "three.example"


class ReceivingCase(SitesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.incoming: list[HttpRequest] = []
        self.network.observe = self.note
        self.wait(20)
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob", TWO)
        self.room_id = self.given_room(self.alice)
        self.wait(2)
        self.there = self.at_berta(self.alice)
        self.join(self.bob)

    def note(self, request: HttpRequest, response: HttpResponse) -> None:
        if request.uri.startswith(SEND) and request.body is not None and b'"origin":"two' in request.body:
            self.incoming.append(request)

    def wait(self, duration_s: float) -> None:
        for _ in range(round(duration_s * 4)):
            self.clock.advance(0.25)
            self.network.flush()

    def join(self, user: TestUser) -> None:
        path = f"/_matrix/client/v3/join/{quote(self.room_id)}?server_name=one.example"
        pending = self.begin("POST", path, {}, user)
        self.wait(5)
        self.ok(self.finish(pending))

    def sync(self, user: TestUser, since: str | None = None) -> dict[str, Any]:
        query = "timeout=0" if since is None else f"timeout=0&since={since}"
        pending = self.begin("GET", f"/_matrix/client/v3/sync?{query}", None, user)
        self.wait(1)
        answer: dict[str, Any] = self.ok(self.finish(pending))
        return answer

    def texts(self, user: TestUser) -> list[str]:
        events = self.sync(user)["rooms"]["join"][self.room_id]["timeline"]["events"]
        return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]

    def repeat_at(self, host: str, request: HttpRequest) -> int:
        """The very same request, at another site; the status of the answer."""
        route = Route((Target(host, 443),), host, host)
        asking = Deferred.fromCoroutine(self.network.request(route, request, ResponseLimits(10, 100_000)))
        self.wait(6)
        return self.successResultOf(asking).status


class ReceivingTests(ReceivingCase):
    def test_what_comes_to_one_site_is_at_both_and_a_repeat_changes_nothing(self) -> None:
        self.given_message(self.bob, self.room_id, "hello")
        self.wait(5)
        self.assertEqual(self.texts(self.alice), ["hello"])
        self.assertEqual(self.texts(self.there), ["hello"])
        for request in list(self.incoming):
            self.assertEqual(self.repeat_at(BERTA, request), 200)
            self.assertEqual(self.repeat_at(ANNA, request), 200)
        self.assertEqual(self.texts(self.alice), ["hello"])
        self.assertEqual(self.texts(self.there), ["hello"])

    def test_a_message_to_a_device_that_comes_to_both_sites_is_one(self) -> None:
        since = {user.server_name: self.sync(user)["next_batch"] for user in (self.alice, self.there)}
        self.incoming.clear()
        body = {"messages": {self.alice.user_id: {self.alice.device_id: {"some": "thing"}}}}
        self.ok(self.put("/_matrix/client/v3/sendToDevice/m.test/1", body, self.bob))
        self.wait(5)
        (request,) = self.incoming
        self.assertEqual(self.repeat_at(BERTA, request), 200)
        first = self.sync(self.alice, since[ANNA])
        self.assertEqual(len(first["to_device"]["events"]), 1)
        # It was read here, and so it is gone there.
        self.sync(self.alice, first["next_batch"])
        self.wait(5)
        again = self.sync(self.there, since[BERTA])
        self.assertEqual(again.get("to_device", {}).get("events", []), [])

    def test_a_room_that_was_made_elsewhere_a_moment_ago_can_be_joined(self) -> None:
        self.cut()
        room_id = self.given_room(self.there)
        path = f"/_matrix/client/v3/join/{quote(room_id)}?server_name=one.example"
        joining = self.begin("POST", path, {}, self.bob)
        self.network.flush()
        self.network.down.clear()
        self.wait(0.5)
        self.ok(self.finish(joining))

    def test_an_event_of_a_room_that_was_joined_elsewhere_a_moment_ago_is_taken(self) -> None:
        room_id = self.given_room(self.bob)
        self.cut()
        self.incoming.clear()
        path = f"/_matrix/client/v3/join/{quote(room_id)}?server_name=two.example"
        pending = self.begin("POST", path, {}, self.there)
        self.network.flush()
        self.ok(self.finish(pending))
        self.given_message(self.bob, room_id, "welcome")
        self.clock.advance(0)
        self.network.flush()
        self.network.down.clear()
        self.wait(6)
        events = self.sync(self.alice)["rooms"]["join"][room_id]["timeline"]["events"]
        self.assertIn("welcome", [event["content"].get("body") for event in events])

    def test_a_room_that_nobody_knows_is_not_waited_for_long(self) -> None:
        path = f"/_matrix/client/v3/join/{quote('!nowhere:one.example')}?server_name=one.example"
        joining = self.begin("POST", path, {}, self.bob)
        self.wait(1.5)
        self.assertEqual(self.finish(joining)[0], 404)


class ForwardingTests(ReceivingCase):
    """A third server joins through one site while the other one sends."""

    hosts = (ANNA, BERTA, TWO, THREE)

    def test_who_joins_through_one_site_is_told_of_by_the_one_that_sends(self) -> None:
        self.kill(ANNA)
        self.take_over(BERTA)
        self.wait(5)
        self.revive(ANNA)
        self.wait(20)
        carl = self.given_user("carl", THREE)
        self.join(carl)
        self.wait(5)
        path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/joined_members"
        self.assertIn(carl.user_id, self.ok(self.get(path, self.bob))["joined"])
