"""Receipts, read markers and typing: who may send them, and what they do to unread counts."""

from typing import Any

from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import TWO, TestUser


class ReadCase(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob")
        self.room = self.given_room(self.bob)
        self.given_joined(self.alice, self.room)

    def receipt(
        self, event_id: str, body: Any = None, kind: str = "m.read", user: TestUser | None = None
    ) -> tuple[int, Any]:
        path = f"/_matrix/client/v3/rooms/{self.room}/receipt/{kind}/{event_id}"
        return self.post(path, {} if body is None else body, user or self.alice)

    def reply(self, root: str, user: TestUser | None = None) -> str:
        body = {
            "msgtype": "m.text",
            "body": "reply",
            "m.relates_to": {"rel_type": "m.thread", "event_id": root},
        }
        return self.send("m.room.message", body, user)

    def send(self, event_type: str, body: Any, user: TestUser | None = None) -> str:
        path = f"/_matrix/client/v3/rooms/{self.room}/send/{event_type}/t{self._random.getrandbits(60)}"
        event_id: str = self.ok(self.put(path, body, user or self.bob))["event_id"]
        return event_id

    def unread(self, user: TestUser | None = None) -> tuple[int, int]:
        """Notifications and highlights of the room in a new sync."""
        counts = self.joined(user)["unread_notifications"]
        return counts["notification_count"], counts["highlight_count"]

    def joined(self, user: TestUser | None = None) -> Any:
        return self.sync(user)["rooms"]["join"][self.room]

    def sync(self, user: TestUser | None = None, since: str | None = None, query: str = "") -> Any:
        path = f"/_matrix/client/v3/sync?timeout=0{query}" + ("" if since is None else f"&since={since}")
        return self.ok(self.get(path, user or self.alice))

    def receipts_seen(self, user: TestUser, since: str | None = None) -> Any:
        room = self.sync(user, since).get("rooms", {}).get("join", {}).get(self.room, {})
        events = room.get("ephemeral", {}).get("events", [])
        contents = [event["content"] for event in events if event["type"] == "m.receipt"]
        return contents[0] if contents else {}


class ReceiptTests(ReadCase):
    def test_public_receipt_is_seen_and_clears_the_count(self) -> None:
        first, second = self.given_message(self.bob, self.room), self.given_message(self.bob, self.room)
        self.assertEqual(self.unread(), (2, 0))
        self.assertEqual(self.ok(self.receipt(first)), {})
        self.assertEqual(self.unread(), (1, 0))
        token = self.sync(self.bob)["next_batch"]
        self.ok(self.receipt(second))
        self.assertEqual(self.unread(), (0, 0))
        now_ms = int(self.clock.seconds() * 1000)
        expected = {second: {"m.read": {self.alice.user_id: {"ts": now_ms}}}}
        self.assertEqual(self.receipts_seen(self.bob, token), expected)
        self.assertEqual(self.receipts_seen(self.bob), expected)

    def test_private_receipt_is_seen_only_by_its_owner(self) -> None:
        event_id = self.given_message(self.bob, self.room)
        before = self.sync(self.bob)["next_batch"]
        own_before = self.sync()["next_batch"]
        self.ok(self.receipt(event_id, kind="m.read.private"))
        self.assertEqual(self.unread(), (0, 0))
        for since in (before, None):
            self.assertEqual(self.receipts_seen(self.bob, since), {})
        for since in (own_before, None):
            self.assertEqual(list(self.receipts_seen(self.alice, since)[event_id]), ["m.read.private"])

    def test_private_receipt_stays_private_beside_a_public_one(self) -> None:
        first, second = self.given_message(self.bob, self.room), self.given_message(self.bob, self.room)
        token = self.sync(self.bob)["next_batch"]
        self.ok(self.receipt(second, kind="m.read.private"))
        self.ok(self.receipt(first))
        for since in (token, None):
            seen = self.receipts_seen(self.bob, since)
            self.assertEqual({event_id: list(kinds) for event_id, kinds in seen.items()}, {first: ["m.read"]})

    def test_receipt_never_moves_backwards(self) -> None:
        first, second = self.given_message(self.bob, self.room), self.given_message(self.bob, self.room)
        self.ok(self.receipt(second))
        token = self.sync(self.bob)["next_batch"]
        self.ok(self.receipt(first))
        self.ok(self.receipt(second))
        self.assertEqual(self.receipts_seen(self.bob, token), {})
        self.assertEqual(list(self.receipts_seen(self.bob)), [second])

    def test_threaded_receipts_are_told_with_their_thread(self) -> None:
        root = self.given_message(self.bob, self.room)
        reply = self.reply(root)
        self.ok(self.receipt(root, {"thread_id": "main"}))
        self.ok(self.receipt(reply, {"thread_id": root}))
        seen = self.receipts_seen(self.bob)
        self.assertEqual(seen[root]["m.read"][self.alice.user_id]["thread_id"], "main")
        self.assertEqual(seen[reply]["m.read"][self.alice.user_id]["thread_id"], root)
        self.assertEqual(self.unread(), (0, 0))

    def test_wrong_threads_are_refused(self) -> None:
        root, other = self.given_message(self.bob, self.room), self.given_message(self.bob, self.room)
        reply = self.reply(root)
        for event_id, thread_id in (
            (root, ""),
            (root, 5),
            (root, None),
            (reply, "main"),
            (reply, other),
            (other, root),
        ):
            with self.subTest(thread_id=thread_id):
                self.assert_refused(self.receipt(event_id, {"thread_id": thread_id}), 400, "M_INVALID_PARAM")
        answer = self.receipt(root, {"thread_id": "main"}, "m.fully_read")
        self.assert_refused(answer, 400, "M_INVALID_PARAM")
        self.assertEqual(self.receipts_seen(self.bob), {})

    def test_reaction_in_a_thread_belongs_to_it(self) -> None:
        root = self.given_message(self.bob, self.room)
        reply = self.reply(root)
        reaction = self.send(
            "m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": reply, "key": "+"}}
        )
        self.ok(self.receipt(reaction, {"thread_id": root}))

    def test_receipt_without_a_body_is_taken(self) -> None:
        event_id = self.given_message(self.bob, self.room)
        path = f"/_matrix/client/v3/rooms/{self.room}/receipt/m.read/{event_id}"
        self.ok(self.call("POST", path, None, self.alice))

    def test_wrong_receipts_are_refused(self) -> None:
        event_id = self.given_message(self.bob, self.room)
        self.assert_refused(self.receipt(event_id, kind="m.seen"), 400, "M_INVALID_PARAM")
        self.assert_refused(self.receipt("$nothing"), 404, "M_NOT_FOUND")
        other_room = self.given_room(self.bob)
        elsewhere = self.given_message(self.bob, other_room)
        self.assert_refused(self.receipt(elsewhere), 404, "M_NOT_FOUND")
        carol = self.given_user("carol")
        self.assert_refused(self.receipt(event_id, user=carol), 403, "M_FORBIDDEN")

    def test_receipt_of_the_other_organisation_is_refused(self) -> None:
        event_id = self.given_message(self.bob, self.room)
        twin = self.given_user("alice", TWO)
        self.assert_refused(self.receipt(event_id, user=twin), 403, "M_FORBIDDEN")
        self.ok(self.receipt(event_id))

    def test_receipts_survive_a_restart(self) -> None:
        event_id = self.given_message(self.bob, self.room)
        self.ok(self.receipt(event_id))
        self.restart()
        self.assertEqual(list(self.receipts_seen(self.bob)), [event_id])
        self.assertEqual(self.unread(), (0, 0))


class ReadMarkerTests(ReadCase):
    def mark(self, body: Any, user: TestUser | None = None) -> tuple[int, Any]:
        return self.post(f"/_matrix/client/v3/rooms/{self.room}/read_markers", body, user or self.alice)

    def fully_read(self) -> Any:
        path = f"/_matrix/client/v3/user/{self.alice.user_id}/rooms/{self.room}/account_data/m.fully_read"
        status, body = self.get(path, self.alice)
        return body["event_id"] if status == 200 else None

    def test_markers_set_all_three(self) -> None:
        a, b, c = (self.given_message(self.bob, self.room) for _ in range(3))
        token = self.sync()["next_batch"]
        self.assertEqual(self.ok(self.mark({"m.fully_read": a, "m.read": b, "m.read.private": c})), {})
        self.assertEqual(self.fully_read(), a)
        self.assertEqual(set(self.receipts_seen(self.alice)), {b, c})
        self.assertEqual(self.unread(), (0, 0))
        room = self.sync(since=token)["rooms"]["join"][self.room]
        self.assertEqual(
            room["account_data"]["events"], [{"type": "m.fully_read", "content": {"event_id": a}}]
        )

    def test_marker_moves_only_forward(self) -> None:
        a, b = (self.given_message(self.bob, self.room) for _ in range(2))
        self.ok(self.mark({"m.fully_read": b}))
        self.ok(self.mark({"m.fully_read": a}))
        self.assertEqual(self.fully_read(), b)
        self.assertEqual(self.unread(), (2, 0))

    def test_marker_can_be_set_as_a_receipt(self) -> None:
        event_id = self.given_message(self.bob, self.room)
        self.ok(self.receipt(event_id, kind="m.fully_read"))
        self.assertEqual(self.fully_read(), event_id)
        self.assertEqual(self.receipts_seen(self.bob), {})

    def test_refused_markers_change_nothing(self) -> None:
        event_id = self.given_message(self.bob, self.room)
        self.assert_refused(self.mark({"m.fully_read": event_id, "m.read": "$nothing"}), 404, "M_NOT_FOUND")
        self.assert_refused(self.mark({"m.fully_read": 5}), 400, "M_BAD_JSON")
        self.assert_refused(
            self.mark({"m.fully_read": event_id}, self.given_user("carol")), 403, "M_FORBIDDEN"
        )
        self.assertIsNone(self.fully_read())
        self.ok(self.mark({}))


class UnreadCountTests(ReadCase):
    def test_count_goes_on_with_each_message(self) -> None:
        token = self.sync()["next_batch"]
        for number in range(1, 4):
            self.given_message(self.bob, self.room)
            answer = self.sync(since=token)
            token = answer["next_batch"]
            counts = answer["rooms"]["join"][self.room]["unread_notifications"]
            self.assertEqual(counts, {"notification_count": number, "highlight_count": 0})

    def test_mention_highlights_for_the_mentioned_only(self) -> None:
        carol = self.given_user("carol")
        self.given_joined(carol, self.room)
        self.unread()
        self.send(
            "m.room.message",
            {"msgtype": "m.text", "body": "hi", "m.mentions": {"user_ids": [self.alice.user_id]}},
        )
        self.assertEqual(self.unread(), (1, 1))
        self.assertEqual(self.unread(carol), (1, 0))
        self.assertEqual(self.unread(self.bob), (0, 0))

    def test_own_message_marks_as_read(self) -> None:
        self.given_message(self.bob, self.room)
        self.assertEqual(self.unread(), (1, 0))
        self.given_message(self.alice, self.room)
        self.assertEqual(self.unread(), (0, 0))

    def test_redaction_takes_back_the_count(self) -> None:
        event_id = self.given_message(self.bob, self.room)
        self.assertEqual(self.unread(), (1, 0))
        self.ok(self.put(f"/_matrix/client/v3/rooms/{self.room}/redact/{event_id}/1", {}, self.bob))
        self.assertEqual(self.unread(), (0, 0))

    def test_change_of_ones_name_marks_nothing_as_read(self) -> None:
        self.given_message(self.bob, self.room)
        self.assertEqual(self.unread(), (1, 0))
        path = f"/_matrix/client/v3/rooms/{self.room}/state/m.room.member/{self.alice.user_id}"
        self.ok(self.put(path, {"membership": "join", "displayname": "Alicia"}, self.alice))
        self.assertEqual(self.unread(), (1, 0))
        self.restart()
        self.assertEqual(self.unread(), (1, 0))

    def test_threads_are_counted_apart_if_wanted(self) -> None:
        root = self.given_message(self.bob, self.room)
        self.reply(root)
        self.reply(root)
        self.assertEqual(self.unread(), (3, 0))
        query = (
            "&filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22unread_thread_notifications%22%3Atrue%7D%7D%7D"
        )
        room = self.sync(query=query)["rooms"]["join"][self.room]
        self.assertEqual(room["unread_notifications"]["notification_count"], 1)
        self.assertEqual(
            room["unread_thread_notifications"], {root: {"notification_count": 2, "highlight_count": 0}}
        )

    def test_rules_of_ones_own_count(self) -> None:
        path = f"/_matrix/client/v3/pushrules/global/room/{self.room}"
        self.ok(self.put(path, {"actions": []}, self.alice))
        self.given_message(self.bob, self.room)
        self.assertEqual(self.unread(), (0, 0))
        self.ok(self.delete(path, self.alice))
        self.given_message(self.bob, self.room)
        self.assertEqual(self.unread(), (1, 0))

    def test_ignored_user_does_not_count(self) -> None:
        path = f"/_matrix/client/v3/user/{self.alice.user_id}/account_data/m.ignored_user_list"
        self.ok(self.put(path, {"ignored_users": {self.bob.user_id: {}}}, self.alice))
        self.given_message(self.bob, self.room)
        self.assertEqual(self.unread(), (0, 0))


class NoPushTests(ReadCase):
    extra_configuration = "push: {enabled: false}"

    def test_without_push_nothing_is_counted(self) -> None:
        self.given_message(self.bob, self.room)
        self.assertEqual(self.unread(), (0, 0))
