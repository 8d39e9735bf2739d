"""What many are told of the same room is made once, and nobody is told what is another's."""

from typing import Any

from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sync.sync_case import SyncCase, bodies


class SharedSectionsTests(SyncCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob, self.carol = (self.given_user(name) for name in ("alice", "bob", "carol"))
        self.room = self.given_room(self.alice)
        for user in (self.bob, self.carol):
            self.given_joined(user, self.room)
        self.since = self.sync(self.bob)["next_batch"]

    def told(self, user: TestUser, **parameters: Any) -> Any:
        return self.sync(user, self.since, **parameters)["rooms"]["join"][self.room]

    def events(self, user: TestUser, **parameters: Any) -> list[Any]:
        events: list[Any] = self.told(user, **parameters)["timeline"]["events"]
        return events

    def test_all_get_the_same_events(self) -> None:
        self.given_message(self.alice, self.room, "hello")
        first = self.told(self.bob)
        self.assertEqual(self.told(self.carol), first)
        self.assertEqual([event["content"]["body"] for event in first["timeline"]["events"]], ["hello"])

    def test_transaction_id_is_for_its_sender_alone(self) -> None:
        self.given_message(self.alice, self.room, "hello")
        for user in (self.alice, self.bob, self.alice, self.carol):
            unsigned = self.events(user)[0]["unsigned"]
            self.assertEqual("transaction_id" in unsigned, user is self.alice, user.user_id)

    def test_each_has_their_own_unread_counts(self) -> None:
        self.given_message(self.alice, self.room, "hello carol")
        self.sync(self.bob, self.since)
        event_id = self.events(self.bob)[0]["event_id"]
        receipt = f"/_matrix/client/v3/rooms/{self.room}/receipt/m.read.private/{event_id}"
        self.ok(self.post(receipt, {}, self.carol))
        for user, count in ((self.bob, 1), (self.carol, 0)):
            self.assertEqual(self.told(user)["unread_notifications"]["notification_count"], count)

    def test_who_ignores_the_sender_is_told_nothing_of_them(self) -> None:
        path = f"/_matrix/client/v3/user/{self.carol.user_id}/account_data/m.ignored_user_list"
        self.ok(self.put(path, {"ignored_users": {self.alice.user_id: {}}}, self.carol))
        self.since = self.sync(self.bob)["next_batch"]
        self.given_message(self.alice, self.room, "hello")
        self.assertEqual(len(self.events(self.bob)), 1)
        self.assertEqual(bodies(self.sync(self.carol, self.since), self.room), [])

    def test_who_came_in_between_gets_their_own_section(self) -> None:
        dora = self.given_user("dora")
        self.since = self.sync(dora)["next_batch"]
        self.given_message(self.alice, self.room, "before")
        self.assertEqual(len(self.events(self.bob)), 1)
        self.given_joined(dora, self.room)
        answer = self.sync(dora, self.since)
        self.assertIn("m.room.create", [event["type"] for event in self.whole(answer)])

    def whole(self, answer: Any) -> list[Any]:
        room = answer["rooms"]["join"][self.room]
        return [*room["state"]["events"], *room["timeline"]["events"]]

    def test_other_filters_are_obeyed(self) -> None:
        self.given_message(self.alice, self.room, "one")
        self.given_message(self.alice, self.room, "two")
        self.assertEqual(len(self.events(self.bob)), 2)
        self.assertEqual(len(self.events(self.carol, filter={"room": {"timeline": {"limit": 1}}})), 1)
        nothing = {"room": {"timeline": {"types": ["other"]}}}
        self.assertEqual(bodies(self.sync(self.carol, self.since, filter=nothing), self.room), [])
        # The specification does not describe answers of this form.
        path = self.sync_path(since=self.since, filter={"event_format": "federation"})
        as_sent = self.ok(self.get(path, self.carol))["rooms"]["join"][self.room]["timeline"]["events"]
        self.assertIn("auth_events", as_sent[0])

    def test_what_was_redacted_meanwhile_is_not_given_out(self) -> None:
        event_id = self.given_message(self.alice, self.room, "secret")
        self.assertEqual(len(self.events(self.bob)), 1)
        path = f"/_matrix/client/v3/rooms/{self.room}/redact/{event_id}/t1"
        self.ok(self.put(path, {}, self.alice))
        for user in (self.carol, self.bob):
            self.assertNotIn("secret", str(self.events(user)))

    def test_age_is_not_older_than_two_seconds(self) -> None:
        self.given_message(self.alice, self.room, "hello")
        first = self.events(self.bob)[0]["unsigned"]["age"]
        self.clock.advance(2.5)
        self.assertEqual(self.events(self.carol)[0]["unsigned"]["age"], first + 2500)
