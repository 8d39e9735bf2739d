"""What else is in a sync: account data, receipts, typing, presence, to-device messages, keys, counts; and filters."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.rest.client.keys_case import KeysTestCase
from tests.popcube_server.server_case import TWO, TestUser
from tests.popcube_server.sync.sync_case import SyncCase, bodies, state, timeline

V3 = "/_matrix/client/v3"


def events(answer: Any, section: str) -> list[Any]:
    found: list[Any] = answer.get(section, {}).get("events", [])
    return found


def part(answer: Any, room: str, section: str) -> list[Any]:
    found: list[Any] = (
        answer.get("rooms", {}).get("join", {}).get(room, {}).get(section, {}).get("events", [])
    )
    return found


class UserDataTests(SyncCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob")
        self.room = self.given_room(self.alice)
        self.given_joined(self.bob, self.room)

    def set_data(self, event_type: str, content: Any, room: str | None = None) -> None:
        where = "" if room is None else f"/rooms/{room}"
        self.ok(self.put(f"{V3}/user/{self.bob.user_id}{where}/account_data/{event_type}", content, self.bob))

    def read_up_to(self, user: TestUser, event_id: str, receipt_type: str = "m.read") -> None:
        path = f"{V3}/rooms/{self.room}/receipt/{receipt_type}/{quote(event_id)}"
        self.ok(self.post(path, {}, user))

    def test_account_data_wakes_and_is_told_once(self) -> None:
        since = self.sync(self.bob)["next_batch"]
        waiting = self.begin_sync(self.bob, since)
        self.assert_waiting(waiting)
        self.set_data("com.example", {"a": 1})
        answer = self.finish_sync(waiting)
        self.assertEqual(events(answer, "account_data"), [{"type": "com.example", "content": {"a": 1}}])
        self.assertEqual(events(self.sync(self.bob, answer["next_batch"]), "account_data"), [])
        self.assertIn("com.example", [event["type"] for event in events(self.sync(self.bob), "account_data")])

    def test_account_data_of_others_is_not_told(self) -> None:
        since = self.sync(self.alice)["next_batch"]
        self.set_data("com.example", {"a": 1})
        self.set_data("com.example", {"a": 1}, self.room)
        answer = self.sync(self.alice, since)
        self.assertEqual(set(answer) & {"rooms", "account_data"}, set())

    def test_room_account_data_and_tags_come_with_the_room(self) -> None:
        since = self.sync(self.bob)["next_batch"]
        self.set_data("com.example", {"b": 2}, self.room)
        self.ok(
            self.put(
                f"{V3}/user/{self.bob.user_id}/rooms/{self.room}/tags/m.favourite", {"order": 0.5}, self.bob
            )
        )
        answer = self.sync(self.bob, since)
        self.assertEqual(
            {event["type"]: event["content"] for event in part(answer, self.room, "account_data")},
            {"com.example": {"b": 2}, "m.tag": {"tags": {"m.favourite": {"order": 0.5}}}},
        )
        self.assertEqual(timeline(answer, self.room), [])

    def test_account_data_of_an_unwanted_room_is_not_told(self) -> None:
        chosen = {"room": {"not_rooms": [self.room]}}
        since = self.sync(self.bob, filter=chosen)["next_batch"]
        self.set_data("com.example", {"b": 2}, self.room)
        self.assertNotIn("rooms", self.sync(self.bob, since, filter=chosen))
        self.assertIn("rooms", self.sync(self.bob, since))

    def test_push_rules_are_account_data(self) -> None:
        first = self.sync(self.bob)
        self.assertIn("m.push_rules", [event["type"] for event in events(first, "account_data")])
        path = f"{V3}/pushrules/global/override/.m.rule.master/enabled"
        self.ok(self.put(path, {"enabled": True}, self.bob))
        answer = self.sync(self.bob, first["next_batch"])
        self.assertEqual([event["type"] for event in events(answer, "account_data")], ["m.push_rules"])

    def test_receipt_is_told_to_the_room_and_a_private_one_to_nobody_else(self) -> None:
        event_id = self.given_message(self.alice, self.room)
        since_alice, since_bob = (self.sync(user)["next_batch"] for user in (self.alice, self.bob))
        waiting = self.begin_sync(self.alice, since_alice)
        self.read_up_to(self.bob, event_id, "m.read.private")
        self.clock.advance(0)
        self.assert_waiting(waiting)
        self.read_up_to(self.bob, event_id)
        answer = self.finish_sync(waiting)
        (receipt,) = part(answer, self.room, "ephemeral")
        self.assertEqual(set(receipt["content"][event_id]), {"m.read"})
        (own,) = part(self.sync(self.bob, since_bob), self.room, "ephemeral")
        self.assertEqual(set(own["content"][event_id]), {"m.read", "m.read.private"})

    def test_typing_comes_and_goes(self) -> None:
        since = self.sync(self.alice)["next_batch"]
        path = f"{V3}/rooms/{self.room}/typing/{self.bob.user_id}"
        self.ok(self.put(path, {"typing": True, "timeout": 10000}, self.bob))
        answer = self.sync(self.alice, since)
        self.assertEqual(part(answer, self.room, "ephemeral")[0]["content"], {"user_ids": [self.bob.user_id]})
        waiting = self.begin_sync(self.alice, answer["next_batch"])
        self.clock.advance(11)
        self.assertEqual(
            part(self.finish_sync(waiting), self.room, "ephemeral")[0]["content"], {"user_ids": []}
        )

    def test_counts_come_with_the_message_and_go_with_the_receipt(self) -> None:
        since = self.sync(self.bob)["next_batch"]
        event_id = self.given_message(self.alice, self.room, f"hello {self.bob.user_id}")
        answer = self.sync(self.bob, since)
        self.assertEqual(answer["rooms"]["join"][self.room]["unread_notifications"]["notification_count"], 1)
        # Also where receipts themselves are not wanted.
        no_receipts = {"room": {"ephemeral": {"not_types": ["m.receipt"]}}}
        self.read_up_to(self.bob, event_id)
        answer = self.sync(self.bob, answer["next_batch"], filter=no_receipts)
        self.assertEqual(answer["rooms"]["join"][self.room]["unread_notifications"]["notification_count"], 0)

    def test_threads_are_counted_apart_if_wanted(self) -> None:
        root = self.given_message(self.alice, self.room, "root")
        self.read_up_to(self.bob, root)
        since = self.sync(self.bob)["next_batch"]
        reply = {"body": "x", "msgtype": "m.text", "m.relates_to": {"rel_type": "m.thread", "event_id": root}}
        self.ok(self.put(f"{V3}/rooms/{self.room}/send/m.room.message/thread", reply, self.alice))
        together = self.sync(self.bob, since)["rooms"]["join"][self.room]
        self.assertEqual(together["unread_notifications"]["notification_count"], 1)
        self.assertNotIn("unread_thread_notifications", together)
        wanted = {"room": {"timeline": {"unread_thread_notifications": True}}}
        apart = self.sync(self.bob, since, filter=wanted)["rooms"]["join"][self.room]
        self.assertEqual(apart["unread_notifications"]["notification_count"], 0)
        self.assertEqual(apart["unread_thread_notifications"][root]["notification_count"], 1)

    def test_presence_is_told_to_those_who_share_a_room(self) -> None:
        carol = self.given_user("carol")
        since, since_carol = (self.sync(user)["next_batch"] for user in (self.alice, carol))
        path = f"{V3}/presence/{self.bob.user_id}/status"
        self.ok(self.put(path, {"presence": "online", "status_msg": "here"}, self.bob))
        (event,) = events(self.sync(self.alice, since), "presence")
        self.assertEqual((event["sender"], event["content"]["status_msg"]), (self.bob.user_id, "here"))
        self.assertNotIn("presence", self.sync(carol, since_carol))

    def test_ignored_users_are_not_heard_and_their_invites_not_shown(self) -> None:
        since = self.sync(self.bob)["next_batch"]
        self.set_data("m.ignored_user_list", {"ignored_users": {self.alice.user_id: {}}})
        self.given_message(self.alice, self.room, "unheard")
        self.set_state(self.alice, self.room, "m.room.topic", {"topic": "seen"})
        private = self.given_room(self.alice, preset="private_chat")
        self.invite(self.alice, private, self.bob)
        for answer in (self.sync(self.bob, since), self.sync(self.bob)):
            self.assertEqual(bodies(answer, self.room), [])
            types = [event["type"] for event in part(answer, self.room, "timeline")]
            self.assertIn("m.room.topic", types)
            self.assertNotIn("invite", answer["rooms"])

    def test_blocked_invites_are_hidden_until_they_are_wanted_again(self) -> None:
        private = self.given_room(self.alice, preset="private_chat")
        self.invite(self.alice, private, self.bob)
        self.set_data("m.invite_permission_config", {"default_action": "block"})
        self.assertNotIn("invite", self.sync(self.bob)["rooms"])
        self.set_data("m.invite_permission_config", {})
        self.assertIn(private, self.sync(self.bob)["rooms"]["invite"])


class EventTests(SyncCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob")
        self.room = self.given_room(self.alice)
        self.given_joined(self.bob, self.room)

    def last(self, answer: Any) -> Any:
        return part(answer, self.room, "timeline")[-1]

    def test_transaction_id_goes_to_the_sending_session_alone(self) -> None:
        other = self.given_login(self.alice)
        since = self.sync(self.bob)["next_batch"]
        self.given_message(self.alice, self.room, txn_id="mine")
        self.assertEqual(self.last(self.sync(self.alice, since))["unsigned"]["transaction_id"], "mine")
        for user in (other, self.bob):
            self.assertNotIn("transaction_id", self.last(self.sync(user, since))["unsigned"])

    def test_age_and_membership_are_told(self) -> None:
        since = self.sync(self.bob)["next_batch"]
        self.given_message(self.alice, self.room)
        self.clock.advance(7)
        unsigned = self.last(self.sync(self.bob, since))["unsigned"]
        self.assertEqual(unsigned, {"age": 7000, "membership": "join"})

    def test_redacted_event_says_why(self) -> None:
        since = self.sync(self.bob)["next_batch"]
        event_id = self.given_message(self.alice, self.room, "secret")
        path = f"{V3}/rooms/{self.room}/redact/{quote(event_id)}/r1"
        redaction = self.ok(self.put(path, {"reason": "oops"}, self.alice))["event_id"]
        redacted, _ = part(self.sync(self.bob, since), self.room, "timeline")
        self.assertEqual(redacted["content"], {})
        self.assertEqual(redacted["unsigned"]["redacted_because"]["event_id"], redaction)

    def test_bundled_aggregations_come_where_the_timeline_is_limited(self) -> None:
        since = self.sync(self.bob)["next_batch"]
        event_id = self.given_message(self.alice, self.room, "first")
        edit = {
            "body": "* second",
            "msgtype": "m.text",
            "m.new_content": {"body": "second", "msgtype": "m.text"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
        }
        sent = self.ok(self.put(f"{V3}/rooms/{self.room}/send/m.room.message/edit", edit, self.alice))
        whole = part(self.sync(self.bob, since), self.room, "timeline")
        self.assertNotIn("m.relations", whole[0]["unsigned"])
        first = part(self.sync(self.bob, filter={"room": {"timeline": {"limit": 2}}}), self.room, "timeline")
        bundle = first[0]["unsigned"]["m.relations"]["m.replace"]
        self.assertEqual(bundle["event_id"], sent["event_id"])


class FilterTests(SyncCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.rooms = [self.given_room(self.alice), self.given_room(self.alice)]

    def test_filter_by_id_is_that_by_text(self) -> None:
        chosen = {"room": {"rooms": [self.rooms[0]]}}
        stored = self.ok(self.post(f"{V3}/user/{self.alice.user_id}/filter", chosen, self.alice))
        for value in (chosen, stored["filter_id"]):
            self.assertEqual(list(self.sync(self.alice, filter=value)["rooms"]["join"]), [self.rooms[0]])

    def test_unknown_filter_and_wrong_filter_are_refused(self) -> None:
        for text, errcode in (
            ("nonsense", "M_INVALID_PARAM"),
            ("{", "M_NOT_JSON"),
            ('{"room":[]}', "M_BAD_JSON"),
        ):
            self.assert_refused(self.get(self.sync_path(filter=text), self.alice), 400, errcode)

    def test_timeline_of_some_types_finds_them_behind_others(self) -> None:
        room = self.rooms[0]
        wanted = self.given_message(self.alice, room, "needle")
        for number in range(60):
            self.set_state(self.alice, room, "com.example.hay", {"straw": number})
        chosen = {"room": {"timeline": {"types": ["m.room.message"], "limit": 5}}}
        answer = self.sync(self.alice, filter=chosen)
        self.assertEqual(timeline(answer, room), [wanted])
        # What the timeline leaves out is in the state.
        self.assertEqual(state(answer, room)["com.example.hay", ""], {"straw": 59})

    def test_wrong_room_and_unwanted_types_do_not_end_a_long_poll(self) -> None:
        chosen = {"room": {"rooms": [self.rooms[0]], "timeline": {"not_types": ["m.room.message"]}}}
        since = self.sync(self.alice, filter=chosen)["next_batch"]
        waiting = self.begin_sync(self.alice, since, filter=chosen)
        for room in self.rooms:
            self.given_message(self.alice, room)
        self.clock.advance(0)
        self.assert_waiting(waiting)
        self.set_state(self.alice, self.rooms[0], "m.room.topic", {"topic": "wanted"})
        self.assertEqual(len(timeline(self.finish_sync(waiting), self.rooms[0])), 1)

    def test_only_some_fields_of_events(self) -> None:
        self.given_message(self.alice, self.rooms[0], "text")
        answer = self.get(
            self.sync_path(filter={"event_fields": ["type", "content.body", "event_id"]}), self.alice
        )[1]
        event = part(answer, self.rooms[0], "timeline")[-1]
        self.assertEqual(set(event), {"type", "content", "event_id"})
        self.assertEqual(event["content"], {"body": "text"})

    def test_federation_format_has_the_events_as_servers_send_them(self) -> None:
        self.given_message(self.alice, self.rooms[0], "text")
        answer = self.get(self.sync_path(filter={"event_format": "federation"}), self.alice)[1]
        self.assertIn("auth_events", part(answer, self.rooms[0], "timeline")[-1])


class TokenTests(SyncCase):
    def test_malformed_token_is_refused(self) -> None:
        alice = self.given_user("alice")
        for since in ("x", "s", "s1", "s1.", "s-1.main", "s1.main.x", "s99999999999999.main", "s1-2.main"):
            answer = self.get(self.sync_path(since=since), alice)
            self.assert_refused(answer, 400, "M_INVALID_PARAM")

    def test_token_of_the_future_or_of_a_stranger_tells_everything_after_a_moment(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        for since in ("s999999.main", "s1.elsewhere"):
            waiting = self.begin_sync(alice, since)
            for _ in range(11):
                self.clock.advance(0.1)
            answer = self.finish_sync(waiting)
            self.assertIn(room, answer["rooms"]["join"])
            self.assertNotIn("rooms", self.sync(alice, answer["next_batch"]))

    def test_token_is_good_after_a_restart(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        since = self.sync(alice)["next_batch"]
        event_id = self.given_message(alice, room)
        self.set_state(alice, room, "m.room.topic", {"topic": "x"})
        self.restart()
        answer = self.sync(alice, since, filter={"room": {"timeline": {"limit": 1}}})
        self.assertTrue(answer["rooms"]["join"][room]["timeline"]["limited"])
        answer = self.sync(alice, since)
        self.assertEqual(timeline(answer, room)[0], event_id)

    def test_organisations_do_not_hear_of_each_other(self) -> None:
        alice, other = self.given_user("alice"), self.given_user("alice", TWO)
        room = self.given_room(alice)
        since = self.sync(other)["next_batch"]
        waiting = self.begin_sync(other, since, timeout=1000)
        self.given_message(alice, room)
        self.clock.advance(0)
        self.assert_waiting(waiting)
        self.clock.advance(2)
        self.assertNotIn("rooms", self.finish_sync(waiting))
        self.assertNotIn("rooms", self.sync(other))
        self.assert_refused(self.call("GET", self.sync_path(), None, None), 401, "M_MISSING_TOKEN")

    def test_too_many_requests_of_one_device_let_the_oldest_go(self) -> None:
        alice = self.given_user("alice")
        since = self.sync(alice)["next_batch"]
        waiting = [self.begin_sync(alice, since) for _ in range(6)]
        self.assertIn("next_batch", self.finish_sync(waiting[0]))
        for pending in waiting[1:]:
            self.assert_waiting(pending)
        self.clock.advance(31)


class DeviceTests(KeysTestCase, SyncCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob")
        self.sent = 0

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            self.sent += 1
            messages = {self.bob.user_id: {self.bob.device_id: {"number": self.sent}}}
            path = f"{V3}/sendToDevice/com.example/{self.sent}"
            self.ok(self.put(path, {"messages": messages}, self.alice))

    def numbers(self, answer: Any) -> list[int]:
        return [event["content"]["number"] for event in events(answer, "to_device")]

    def test_to_device_messages_come_until_the_next_token_is_used(self) -> None:
        since = self.sync(self.bob)["next_batch"]
        waiting = self.begin_sync(self.bob, since)
        self.assert_waiting(waiting)
        self.send()
        answer = self.finish_sync(waiting)
        self.assertEqual(self.numbers(answer), [1])
        # The answer was lost: the same again.
        self.assertEqual(self.numbers(self.sync(self.bob, since)), [1])
        self.assertEqual(self.numbers(self.sync(self.bob)), [1])
        self.assertEqual(self.numbers(self.sync(self.bob, answer["next_batch"])), [])
        self.assertEqual(self.numbers(self.sync(self.bob, since)), [])

    def test_many_messages_come_by_the_hundred_in_order(self) -> None:
        since = self.sync(self.bob)["next_batch"]
        self.send(250)
        got = []
        for size in (100, 100, 50, 0):
            answer = self.sync(self.bob, since)
            self.assertEqual(len(self.numbers(answer)), size)
            got += self.numbers(answer)
            since = answer["next_batch"]
        self.assertEqual(got, list(range(1, 251)))

    def test_messages_for_another_device_are_not_told(self) -> None:
        other = self.given_login(self.bob)
        since = self.sync(other)["next_batch"]
        self.send()
        self.assertNotIn("to_device", self.sync(other, since))

    def test_counts_of_keys_are_always_told_and_wake(self) -> None:
        first = self.sync(self.bob)
        self.assertEqual(first["device_one_time_keys_count"], {"signed_curve25519": 0})
        self.given_device_keys(self.bob)
        since = self.sync(self.bob)["next_batch"]
        waiting = self.begin_sync(self.bob, since)
        self.assert_waiting(waiting)
        self.upload(self.bob, one_time_keys=self.one_time_keys(self.bob, "A", "B"))
        answer = self.finish_sync(waiting)
        self.assertEqual(answer["device_one_time_keys_count"], {"signed_curve25519": 2})
        self.assertEqual(answer["device_unused_fallback_key_types"], [])

    def test_a_claim_wakes_everybody_whose_keys_it_took(self) -> None:
        carol, dora = self.given_user("carol"), self.given_user("dora")
        owners = (self.bob, carol)
        for owner in owners:
            self.given_device_keys(owner)
            self.upload(owner, one_time_keys=self.one_time_keys(owner, "A", "B"))
        waiting = [
            self.begin_sync(user, self.sync(user)["next_batch"]) for user in (self.alice, dora, *owners)
        ]
        # The second claim is one without a look at what there is.
        for left in ({"signed_curve25519": 1}, {"signed_curve25519": 0}):
            for one in waiting:
                self.assert_waiting(one)
            claimed = self.claim(dora, *owners)
            self.assertEqual(set(claimed), {owner.user_id for owner in owners})
            answers = [self.finish_sync(one) for one in waiting[2:]]
            self.assertEqual([one["device_one_time_keys_count"] for one in answers], [left, left])
            waiting[2:] = [
                self.begin_sync(owner, one["next_batch"]) for owner, one in zip(owners, answers, strict=True)
            ]
        for one in waiting:
            self.assert_waiting(one)

    def test_changed_keys_are_told_to_those_who_share_a_room(self) -> None:
        carol = self.given_user("carol")
        room = self.given_room(self.alice)
        self.given_joined(self.bob, room)
        since, since_carol = (self.sync(user)["next_batch"] for user in (self.bob, carol))
        waiting = self.begin_sync(self.bob, since)
        self.assert_waiting(waiting)
        self.given_device_keys(self.alice)
        self.assertEqual(self.finish_sync(waiting)["device_lists"]["changed"], [self.alice.user_id])
        self.assertNotIn("device_lists", self.sync(carol, since_carol))
        since = self.sync(self.bob)["next_batch"]
        self.leave(self.alice, room)
        self.assertEqual(self.sync(self.bob, since)["device_lists"]["left"], [self.alice.user_id])
