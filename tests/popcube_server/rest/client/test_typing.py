"""Typing: told, timed out, and ended by leaving or a restart."""

from typing import Any

from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import TWO, TestUser


class TypingTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob")
        self.room = self.given_room(self.bob)
        self.given_joined(self.alice, self.room)

    def type(self, body: Any, user: TestUser | None = None, user_id: str | None = None) -> tuple[int, Any]:
        user = user or self.bob
        path = f"/_matrix/client/v3/rooms/{self.room}/typing/{user_id or user.user_id}"
        return self.put(path, body, user)

    def sync(self, since: str | None = None) -> Any:
        path = "/_matrix/client/v3/sync?timeout=0" + ("" if since is None else f"&since={since}")
        return self.ok(self.get(path, self.alice))

    def told(self, answer: Any) -> Any:
        """Who types, None if the answer says nothing."""
        room = answer.get("rooms", {}).get("join", {}).get(self.room, {})
        events = room.get("ephemeral", {}).get("events", [])
        return next((event["content"]["user_ids"] for event in events if event["type"] == "m.typing"), None)

    def position(self) -> int:
        return self.organisations["one.example"].core.log.position

    def test_who_types_is_told_until_the_time_is_over(self) -> None:
        token = self.sync()["next_batch"]
        self.assertEqual(self.ok(self.type({"typing": True, "timeout": 10_000})), {})
        answer = self.sync(token)
        self.assertEqual(self.told(answer), [self.bob.user_id])
        self.assertEqual(self.told(self.sync()), [self.bob.user_id])
        self.clock.advance(9)
        self.assertIsNone(self.told(self.sync(answer["next_batch"])))
        self.clock.advance(2)
        answer = self.sync(answer["next_batch"])
        self.assertEqual(self.told(answer), [])
        self.assertIsNone(self.told(self.sync(answer["next_batch"])))
        self.assertIsNone(self.told(self.sync()))

    def test_who_goes_on_typing_is_no_news(self) -> None:
        self.ok(self.type({"typing": True, "timeout": 10_000}))
        position = self.position()
        self.clock.advance(8)
        self.ok(self.type({"typing": True, "timeout": 10_000}))
        self.clock.advance(8)
        self.assertEqual(self.position(), position)
        self.assertEqual(self.told(self.sync()), [self.bob.user_id])

    def test_who_stops_is_told_once(self) -> None:
        self.ok(self.type({"typing": True}))
        token = self.sync()["next_batch"]
        self.ok(self.type({"typing": False}))
        position = self.position()
        self.ok(self.type({"typing": False}))
        self.assertEqual(self.position(), position)
        self.assertEqual(self.told(self.sync(token)), [])

    def test_long_poll_ends_when_somebody_types(self) -> None:
        token = self.sync()["next_batch"]
        pending = self.begin("GET", f"/_matrix/client/v3/sync?timeout=30000&since={token}", None, self.alice)
        self.assert_waiting(pending)
        self.ok(self.type({"typing": True}))
        self.clock.advance(0)
        self.assertEqual(self.told(self.finish(pending)[1]), [self.bob.user_id])

    def test_who_leaves_types_no_more(self) -> None:
        self.ok(self.type({"typing": True}))
        self.ok(self.post(f"/_matrix/client/v3/rooms/{self.room}/leave", {}, self.bob))
        self.assertIsNone(self.told(self.sync()))

    def test_nobody_types_after_a_restart_and_clients_are_told(self) -> None:
        self.ok(self.type({"typing": True}))
        token = self.sync()["next_batch"]
        self.restart()
        self.assertEqual(self.told(self.sync(token)), [])

    def test_wrong_calls_are_refused(self) -> None:
        typing = {"typing": True}
        carol = self.given_user("carol")
        self.assert_refused(self.type(typing, self.bob, self.alice.user_id), 403, "M_FORBIDDEN")
        self.assert_refused(self.type(typing, carol), 403, "M_FORBIDDEN")
        self.assert_refused(self.type(typing, self.given_user("bob", TWO)), 403, "M_FORBIDDEN")
        self.assert_refused(self.type({}), 400, "M_MISSING_PARAM")
        self.assert_refused(self.type({"typing": "yes"}), 400, "M_BAD_JSON")
        self.assert_refused(self.type({"typing": True, "timeout": "1"}), 400, "M_BAD_JSON")
        self.assert_refused(self.type({"typing": True, "timeout": -1}), 400, "M_INVALID_PARAM")
        self.assertIsNone(self.told(self.sync()))
