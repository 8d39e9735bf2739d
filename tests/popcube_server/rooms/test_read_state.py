"""State, members and single events: what members, those who left, strangers and guests through the window get."""

from urllib.parse import quote

from tests.popcube_server.rooms.rooms_case import V3, RoomsTestCase
from tests.popcube_server.server_case import TWO


class ReadStateTests(RoomsTestCase):
    def test_member_reads_the_state_and_a_stranger_does_not(self) -> None:
        room = self.given_private_room(self.alice, name="One")
        state = self.room_get(self.alice, room, "state")
        self.assertIn(("m.room.name", "", {"name": "One"}), [_entry(event) for event in state])
        for path in ("state", "state/m.room.name", "members", "joined_members", "messages?dir=b"):
            self.assert_refused(self.get(f"{V3}/rooms/{room}/{path}", self.bob), 403, "M_FORBIDDEN")

    def test_unknown_room_is_refused_like_one_of_others(self) -> None:
        for path in ("state", "members", "messages?dir=b"):
            self.assert_refused(self.get(f"{V3}/rooms/!none:{TWO}/{path}", self.bob), 403, "M_FORBIDDEN")

    def test_room_of_one_organisation_is_not_seen_by_the_other(self) -> None:
        room = self.given_room(self.alice, preset="public_chat")
        self.given_state(
            self.alice, room, "m.room.history_visibility", {"history_visibility": "world_readable"}
        )
        other = self.given_user("alice", TWO)
        self.room_get(self.bob, room, "state")
        self.assert_refused(self.get(f"{V3}/rooms/{room}/state", other), 403, "M_FORBIDDEN")
        self.assertEqual(self.ok(self.get(f"{V3}/joined_rooms", other)), {"joined_rooms": []})

    def test_entry_is_found_with_and_without_the_slash_behind_its_type(self) -> None:
        room = self.given_private_room(self.alice, name="One")
        for path in ("state/m.room.name", "state/m.room.name/"):
            self.assertEqual(self.room_get(self.alice, room, path), {"name": "One"})
        self.assert_refused(self.get(f"{V3}/rooms/{room}/state/m.room.topic", self.alice), 404, "M_NOT_FOUND")

    def test_entry_is_given_as_an_event_if_that_is_asked_for(self) -> None:
        room = self.given_private_room(self.alice, name="One")
        event = self.room_get(self.alice, room, "state/m.room.name/?format=event")
        self.assertEqual((event["type"], event["state_key"], event["room_id"]), ("m.room.name", "", room))
        self.assertEqual(event["content"], {"name": "One"})
        path = f"{V3}/rooms/{room}/state/m.room.name/?format=xml"
        self.assert_refused(self.get(path, self.alice), 400, "M_INVALID_PARAM")

    def test_who_left_sees_the_state_as_it_was_then(self) -> None:
        room = self.given_room(self.alice, name="Before")
        self.given_joined(self.bob, room)
        self.act(self.bob, room, "leave")
        self.given_state(self.alice, room, "m.room.name", {"name": "After"})
        carol = self.given_user("carol")
        self.given_joined(carol, room)
        self.assertEqual(self.room_get(self.bob, room, "state/m.room.name"), {"name": "Before"})
        self.assertEqual(self.room_get(carol, room, "state/m.room.name"), {"name": "After"})
        members = {event["state_key"] for event in self.room_get(self.bob, room, "members")["chunk"]}
        self.assertEqual(members, {self.alice.user_id, self.bob.user_id})
        state = [_entry(event) for event in self.room_get(self.bob, room, "state")]
        self.assertIn(("m.room.member", self.bob.user_id, {"membership": "leave"}), state)

    def test_who_was_banned_after_leaving_sees_the_state_of_when_they_left(self) -> None:
        room = self.given_room(self.alice, name="Before")
        self.given_joined(self.bob, room)
        self.act(self.bob, room, "leave")
        self.given_state(self.alice, room, "m.room.name", {"name": "After"})
        self.act(self.alice, room, "ban", self.bob)
        self.assertEqual(self.room_get(self.bob, room, "state/m.room.name"), {"name": "Before"})

    def test_forgotten_room_shows_nothing_any_more(self) -> None:
        room = self.given_room(self.alice)
        self.given_joined(self.bob, room)
        message = self.given_message(self.bob, room)
        self.act(self.bob, room, "leave")
        self.room_get(self.bob, room, "state")
        self.assertTrue(self.sees(self.bob, room, message))
        self.act(self.bob, room, "forget")
        for path in ("state", "members", "messages?dir=b"):
            self.assert_refused(self.get(f"{V3}/rooms/{room}/{path}", self.bob), 403, "M_FORBIDDEN")
        self.assertFalse(self.sees(self.bob, room, message))

    def test_anybody_may_look_into_a_world_readable_room_while_it_is_one(self) -> None:
        room = self.given_private_room(self.alice, "world_readable", name="Open")
        self.assertEqual(self.room_get(self.bob, room, "state/m.room.name"), {"name": "Open"})
        self.room_get(self.bob, room, "members")
        self.assert_refused(self.get(f"{V3}/rooms/{room}/joined_members", self.bob), 403, "M_FORBIDDEN")
        self.given_state(self.alice, room, "m.room.history_visibility", {"history_visibility": "shared"})
        self.assert_refused(self.get(f"{V3}/rooms/{room}/state", self.bob), 403, "M_FORBIDDEN")

    def test_invited_user_is_no_member_yet(self) -> None:
        room = self.given_private_room(self.alice)
        self.act(self.alice, room, "invite", self.bob)
        self.assert_refused(self.get(f"{V3}/rooms/{room}/state", self.bob), 403, "M_FORBIDDEN")
        self.act(self.bob, room, "join")
        self.room_get(self.bob, room, "state")

    def test_joined_rooms_are_those_that_the_user_is_in(self) -> None:
        first, second = self.given_room(self.alice), self.given_room(self.alice)
        self.given_joined(self.bob, first)
        self.assertEqual(self.ok(self.get(f"{V3}/joined_rooms", self.bob))["joined_rooms"], [first])
        self.act(self.bob, first, "leave")
        self.given_joined(self.bob, second)
        self.assertEqual(self.ok(self.get(f"{V3}/joined_rooms", self.bob))["joined_rooms"], [second])


class ReadMembersTests(RoomsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.carol = self.given_user("carol")
        self.room = self.given_room(self.alice, invite=[self.carol.user_id])
        self.given_joined(self.bob, self.room)

    def members(self, query: str = "") -> set[str]:
        answer = self.room_get(self.alice, self.room, f"members?{query}")
        return {event["state_key"][1] for event in answer["chunk"]}

    def test_members_are_chosen_by_membership(self) -> None:
        self.act(self.bob, self.room, "leave")
        self.assertEqual(self.members(), {"a", "b", "c"})
        self.assertEqual(self.members("membership=join"), {"a"})
        self.assertEqual(self.members("membership=invite"), {"c"})
        self.assertEqual(self.members("not_membership=leave"), {"a", "c"})
        self.assertEqual(self.members("membership=leave&not_membership=invite"), {"a", "b"})
        self.assertEqual(self.members("membership=ban"), set())
        path = f"{V3}/rooms/{self.room}/members?membership=x"
        self.assert_refused(self.get(path, self.alice), 400, "M_INVALID_PARAM")

    def test_members_are_given_as_they_were_at_a_token(self) -> None:
        token = self.room_get(self.alice, self.room, "messages?dir=b&limit=1")["start"]
        self.act(self.bob, self.room, "leave")
        self.act(self.carol, self.room, "join")
        self.assertEqual(self.members("membership=join"), {"a", "c"})
        self.assertEqual(self.members(f"membership=join&at={token}"), {"a", "b"})
        path = f"{V3}/rooms/{self.room}/members?at=nonsense"
        self.assert_refused(self.get(path, self.alice), 400, "M_INVALID_PARAM")

    def test_joined_members_come_with_their_profiles(self) -> None:
        content = {"membership": "join", "displayname": "Bob", "avatar_url": "mxc://one.example/b"}
        self.given_state(self.bob, self.room, "m.room.member", content, self.bob.user_id)
        strange = {"membership": "join", "displayname": 5, "avatar_url": "javascript:x"}
        self.given_state(self.alice, self.room, "m.room.member", strange, self.alice.user_id)
        joined = self.room_get(self.alice, self.room, "joined_members")["joined"]
        self.assertEqual(
            joined,
            {
                self.alice.user_id: {},
                self.bob.user_id: {"display_name": "Bob", "avatar_url": "mxc://one.example/b"},
            },
        )


class ReadEventTests(RoomsTestCase):
    def test_event_is_given_whole(self) -> None:
        room = self.given_room(self.alice)
        event_id = self.given_message(self.alice, room, "hello", "txn")
        self.clock.advance(2)
        event = self.room_get(self.alice, room, f"event/{quote(event_id)}")
        self.assertEqual((event["event_id"], event["room_id"]), (event_id, room))
        self.assertEqual(event["content"], {"msgtype": "m.text", "body": "hello"})
        self.assertEqual(event["unsigned"], {"age": 2000, "membership": "join", "transaction_id": "txn"})

    def test_unknown_events_and_those_of_other_rooms_are_not_found(self) -> None:
        room, other = self.given_room(self.alice), self.given_room(self.alice)
        event_id = self.given_message(self.alice, other)
        for wrong in ("$unknown", quote("$nul\x00", safe=""), quote(event_id)):
            path = f"{V3}/rooms/{room}/event/{wrong}"
            self.assert_refused(self.get(path, self.alice), 404, "M_NOT_FOUND")

    def test_redacted_event_has_lost_its_content_and_tells_why(self) -> None:
        room = self.given_room(self.alice)
        event_id = self.given_message(self.alice, room)
        redaction = self.given_redacted(self.alice, room, event_id)
        event = self.room_get(self.alice, room, f"event/{quote(event_id)}")
        self.assertEqual(event["content"], {})
        self.assertEqual(event["unsigned"]["redacted_because"]["event_id"], redaction)


def _entry(event: dict[str, object]) -> tuple[object, object, object]:
    return event["type"], event["state_key"], event["content"]
