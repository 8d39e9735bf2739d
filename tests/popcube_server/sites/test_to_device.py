"""Messages to devices on two sites."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sites.sites_case import SitesTestCase


class ToDeviceOnSitesTests(SitesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob")
        self.settle()
        self.there = self.at_berta(self.alice)
        self.sent = 0

    def send(self, sender: TestUser, text: str) -> None:
        self.sent += 1
        body = {"messages": {self.alice.user_id: {self.alice.device_id: {"text": text}}}}
        self.ok(self.put(f"/_matrix/client/v3/sendToDevice/m.test/{self.sent}", body, sender))

    def sync(self, user: TestUser, since: str | None = None) -> tuple[list[str], str]:
        query = "timeout=0" if since is None else f"timeout=0&since={quote(since)}"
        pending = self.begin("GET", f"/_matrix/client/v3/sync?{query}", None, user)
        for _ in range(20):
            self.clock.advance(0.1)
        answer: Any = self.ok(self.finish(pending))
        events = answer.get("to_device", {}).get("events", [])
        return [event["content"]["text"] for event in events], answer["next_batch"]

    def test_a_message_is_delivered_once_to_a_client_that_moves(self) -> None:
        self.send(self.bob, "one")
        self.settle()
        texts, token = self.sync(self.alice)
        self.assertEqual(texts, ["one"])
        self.send(self.bob, "two")
        self.settle()
        texts, token = self.sync(self.there, token)
        self.assertEqual(texts, ["two"])
        texts, token = self.sync(self.there, token)
        self.assertEqual(texts, [])
        self.settle()
        texts, token = self.sync(self.alice, token)
        self.assertEqual(texts, [])

    def test_messages_sent_on_both_sides_of_a_cut_arrive(self) -> None:
        _, token = self.sync(self.alice)
        self.cut()
        self.send(self.bob, "here")
        self.send(self.at_berta(self.bob), "there")
        texts, token = self.sync(self.alice, token)
        self.assertEqual(texts, ["here"])
        self.heal()
        texts, token = self.sync(self.there, token)
        self.assertEqual(texts, ["there"])
        texts, token = self.sync(self.there, token)
        self.assertEqual(texts, [])
