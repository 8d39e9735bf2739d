"""Rooms in a sync: gaps, coming and going, invites, knocks, and who may see what."""

from tests.popcube_server.sync.sync_case import SyncCase, bodies, state, timeline

LAZY = {"room": {"state": {"lazy_load_members": True}}}


def limit(number: int) -> dict[str, object]:
    return {"room": {"timeline": {"limit": number}}}


class GapTests(SyncCase):
    def test_gap_is_marked_and_its_state_is_told(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        room = self.given_room(alice)
        self.given_joined(bob, room)
        since = self.sync(bob)["next_batch"]
        self.set_state(alice, room, "m.room.name", {"name": "in the gap"})
        sent = [self.given_message(alice, room, f"message {number}") for number in range(5)]
        answer = self.sync(bob, since, filter=limit(2))
        part = answer["rooms"]["join"][room]
        self.assertEqual(timeline(answer, room), sent[-2:])
        self.assertTrue(part["timeline"]["limited"])
        self.assertEqual(state(answer, room), {("m.room.name", ""): {"name": "in the gap"}})

    def test_gap_can_be_paged_back_to_its_beginning(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        since = self.sync(alice)["next_batch"]
        sent = [self.given_message(alice, room, f"message {number}") for number in range(8)]
        answer = self.sync(alice, since, filter=limit(3))
        previous = answer["rooms"]["join"][room]["timeline"]["prev_batch"]
        page = self.ok(
            self.get(f"/_matrix/client/v3/rooms/{room}/messages?dir=b&from={previous}&to={since}", alice)
        )
        self.assertEqual([event["event_id"] for event in page["chunk"]], sent[4::-1])

    def test_state_of_the_gap_is_that_at_the_start_of_the_timeline(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        since = self.sync(alice)["next_batch"]
        self.set_state(alice, room, "m.room.topic", {"topic": "first"})
        self.given_message(alice, room, "between")
        self.set_state(alice, room, "m.room.topic", {"topic": "second"})
        self.given_message(alice, room, "end")
        answer = self.sync(alice, since, filter=limit(2))
        self.assertEqual(state(answer, room), {("m.room.topic", ""): {"topic": "first"}})

    def test_state_after_is_that_at_the_end_of_the_timeline(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        since = self.sync(alice)["next_batch"]
        self.set_state(alice, room, "m.room.topic", {"topic": "first"})
        self.set_state(alice, room, "m.room.topic", {"topic": "second"})
        answer = self.sync(alice, since, use_state_after="true")
        self.assertEqual(state(answer, room, name="state_after"), {("m.room.topic", ""): {"topic": "second"}})
        self.assertNotIn("state", answer["rooms"]["join"][room])

    def test_state_after_is_there_even_if_empty(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        since = self.sync(alice)["next_batch"]
        self.given_message(alice, room)
        for name, key in (
            ("use_state_after", "state_after"),
            ("org.matrix.msc4222.use_state_after", "org.matrix.msc4222.state_after"),
        ):
            answer = self.sync(alice, since, **{name: "true"})
            self.assertEqual(answer["rooms"]["join"][room][key], {"events": []})

    def test_full_state_comes_at_once_and_whole(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice, name="Garden")
        since = self.sync(alice)["next_batch"]
        answer = self.sync(alice, since, full_state="true", timeout=30000)
        self.assertEqual(state(answer, room)["m.room.name", ""], {"name": "Garden"})
        self.assertIn(("m.room.member", alice.user_id), state(answer, room))
        self.assertEqual(timeline(answer, room), [])


class MembershipTests(SyncCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob")

    def test_room_just_joined_comes_with_its_whole_state(self) -> None:
        room = self.given_room(self.alice, name="Garden")
        since = self.sync(self.bob)["next_batch"]
        self.given_joined(self.bob, room)
        answer = self.sync(self.bob, since, filter=limit(1))
        self.assertEqual(state(answer, room)["m.room.name", ""], {"name": "Garden"})
        self.assertTrue(answer["rooms"]["join"][room]["timeline"]["limited"])

    def test_changed_profile_is_no_new_room(self) -> None:
        room = self.given_room(self.alice, name="Garden")
        self.given_joined(self.bob, room)
        since = self.sync(self.bob)["next_batch"]
        self.set_state(
            self.bob, room, "m.room.member", {"membership": "join", "displayname": "Bobby"}, self.bob.user_id
        )
        answer = self.sync(self.bob, since)
        self.assertEqual(len(timeline(answer, room)), 1)
        self.assertEqual(state(answer, room), {})
        event = answer["rooms"]["join"][room]["timeline"]["events"][0]
        self.assertEqual(event["unsigned"]["prev_content"]["membership"], "join")
        self.assertIn("replaces_state", event["unsigned"])

    def test_invite_shows_stripped_state(self) -> None:
        room = self.given_room(self.alice, name="Garden", preset="private_chat")
        since = self.sync(self.bob)["next_batch"]
        waiting = self.begin_sync(self.bob, since)
        self.assert_waiting(waiting)
        self.invite(self.alice, room, self.bob)
        for answer in (self.finish_sync(waiting), self.sync(self.bob)):
            events = answer["rooms"]["invite"][room]["invite_state"]["events"]
            for event in events:
                self.assertEqual(set(event), {"sender", "type", "state_key", "content"})
            found = {(event["type"], event["state_key"]): event["content"] for event in events}
            self.assertIn(("m.room.create", ""), found)
            self.assertEqual(found["m.room.name", ""], {"name": "Garden"})
            self.assertEqual(found["m.room.member", self.bob.user_id]["membership"], "invite")
            self.assertNotIn("join", answer["rooms"])

    def test_knock_shows_stripped_state(self) -> None:
        room = self.given_room(
            self.alice,
            name="Garden",
            initial_state=[{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}],
        )
        since = self.sync(self.bob)["next_batch"]
        self.ok(self.post(f"/_matrix/client/v3/knock/{room}", {}, self.bob))
        answer = self.sync(self.bob, since)
        found = [event["type"] for event in answer["rooms"]["knock"][room]["knock_state"]["events"]]
        self.assertIn("m.room.create", found)

    def test_left_room_is_told_once(self) -> None:
        room = self.given_room(self.alice)
        self.given_joined(self.bob, room)
        since = self.sync(self.bob)["next_batch"]
        self.given_message(self.alice, room, "before")
        self.leave(self.bob, room)
        self.given_message(self.alice, room, "after")
        answer = self.sync(self.bob, since)
        self.assertEqual(bodies(answer, room, "leave"), ["before"])
        self.assertEqual(
            answer["rooms"]["leave"][room]["timeline"]["events"][-1]["content"]["membership"], "leave"
        )
        self.assertNotIn("rooms", self.sync(self.bob, answer["next_batch"]))
        self.assertNotIn("rooms", self.sync(self.bob))

    def test_left_room_comes_in_a_first_sync_if_wanted(self) -> None:
        room = self.given_room(self.alice)
        self.given_joined(self.bob, room)
        self.given_message(self.alice, room, "before")
        self.leave(self.bob, room)
        self.set_state(self.alice, room, "m.room.topic", {"topic": "afterwards"})
        self.given_message(self.alice, room, "after")
        answer = self.sync(self.bob, filter={"room": {"include_leave": True}})
        self.assertEqual(bodies(answer, room, "leave"), ["before"])
        self.assertNotIn(("m.room.topic", ""), state(answer, room, "leave"))

    def test_forgotten_room_never_comes_back(self) -> None:
        room = self.given_room(self.alice)
        self.given_joined(self.bob, room)
        since = self.sync(self.bob)["next_batch"]
        self.leave(self.bob, room)
        self.ok(self.post(f"/_matrix/client/v3/rooms/{room}/forget", {}, self.bob))
        self.assertNotIn("rooms", self.sync(self.bob, since))
        self.assertNotIn("rooms", self.sync(self.bob, filter={"room": {"include_leave": True}}))
        self.given_joined(self.bob, room)
        self.assertIn(room, self.sync(self.bob, since)["rooms"]["join"])

    def test_banned_user_hears_of_it_and_of_nothing_later(self) -> None:
        room = self.given_room(self.alice)
        self.given_joined(self.bob, room)
        since = self.sync(self.bob)["next_batch"]
        waiting = self.begin_sync(self.bob, since)
        self.assert_waiting(waiting)
        self.ban(self.alice, room, self.bob)
        answer = self.finish_sync(waiting)
        last = answer["rooms"]["leave"][room]["timeline"]["events"][-1]
        self.assertEqual(last["content"]["membership"], "ban")
        waiting = self.begin_sync(self.bob, answer["next_batch"], timeout=1000)
        self.given_message(self.alice, room, "good riddance")
        self.clock.advance(0)
        self.assert_waiting(waiting)
        self.clock.advance(2)
        self.assertNotIn("rooms", self.finish_sync(waiting))

    def test_refused_invite_shows_nothing_but_the_refusal(self) -> None:
        room = self.given_room(self.alice, name="Secret", preset="private_chat")
        self.invite(self.alice, room, self.bob)
        since = self.sync(self.bob)["next_batch"]
        self.leave(self.bob, room)
        answer = self.sync(self.bob, since)
        events = answer["rooms"]["leave"][room]["timeline"]["events"]
        self.assertEqual([event["state_key"] for event in events], [self.bob.user_id])
        self.assertEqual(state(answer, room, "leave"), {})

    def test_room_left_and_joined_again_between_two_syncs_is_told_whole(self) -> None:
        room = self.given_room(self.alice)
        self.given_joined(self.bob, room)
        since = self.sync(self.bob)["next_batch"]
        self.leave(self.bob, room)
        self.set_state(self.alice, room, "m.room.topic", {"topic": "while away"})
        self.given_joined(self.bob, room)
        answer = self.sync(self.bob, since, filter=limit(1))
        self.assertEqual(state(answer, room)["m.room.topic", ""], {"topic": "while away"})

    def test_history_before_a_join_stays_hidden_where_it_is_for_members_only(self) -> None:
        for visibility, expected in (("joined", ["now"]), ("shared", ["before", "now"])):
            room = self.given_room(
                self.alice,
                initial_state=[
                    {
                        "type": "m.room.history_visibility",
                        "content": {"history_visibility": visibility},
                    }
                ],
            )
            self.given_message(self.alice, room, "before")
            since = self.sync(self.bob)["next_batch"]
            self.given_joined(self.bob, room)
            self.given_message(self.alice, room, "now")
            self.assertEqual(bodies(self.sync(self.bob, since), room), expected)
            self.assertEqual(bodies(self.sync(self.bob), room), expected)


class LazyTests(SyncCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob, self.carol = (self.given_user(name) for name in ("alice", "bob", "carol"))
        self.room = self.given_room(self.alice, name="Garden")
        for user in (self.bob, self.carol):
            self.given_joined(user, self.room)
        for number in range(11):
            self.given_message(self.alice, self.room, str(number))

    def members(self, answer: object) -> set[str]:
        return {key for kind, key in state(answer, self.room) if kind == "m.room.member"}

    def test_only_speakers_and_oneself_are_sent(self) -> None:
        answer = self.sync(self.bob, filter=LAZY)
        self.assertEqual(self.members(answer), {self.alice.user_id, self.bob.user_id})

    def test_member_is_sent_when_they_first_speak_and_not_again(self) -> None:
        since = self.sync(self.bob, filter=LAZY)["next_batch"]
        self.given_message(self.carol, self.room)
        answer = self.sync(self.bob, since, filter=LAZY)
        self.assertEqual(self.members(answer), {self.carol.user_id})
        # Until the token comes back, the answer may have been lost.
        again = self.sync(self.bob, since, filter=LAZY)
        self.assertEqual(self.members(again), {self.carol.user_id})
        self.given_message(self.carol, self.room)
        self.assertEqual(self.members(self.sync(self.bob, answer["next_batch"], filter=LAZY)), set())

    def test_redundant_members_are_sent_if_wanted(self) -> None:
        wanted = {"room": {"state": {"lazy_load_members": True, "include_redundant_members": True}}}
        since = self.sync(self.bob, filter=wanted)["next_batch"]
        self.given_message(self.alice, self.room)
        self.assertEqual(self.members(self.sync(self.bob, since, filter=wanted)), {self.alice.user_id})

    def test_members_that_changed_in_a_gap_are_sent(self) -> None:
        since = self.sync(self.bob, filter=LAZY)["next_batch"]
        self.leave(self.carol, self.room)
        self.given_message(self.alice, self.room)
        self.given_message(self.alice, self.room)
        lazy_and_short = {"room": {"timeline": {"limit": 1}, "state": {"lazy_load_members": True}}}
        answer = self.sync(self.bob, since, filter=lazy_and_short)
        self.assertIn(self.carol.user_id, self.members(answer))

    def test_heroes_are_sent_with_their_member_events(self) -> None:
        room = self.given_room(self.alice)
        self.given_joined(self.bob, room)
        for number in range(11):
            self.given_message(self.bob, room, str(number))
        answer = self.sync(self.bob, filter=LAZY)
        part = answer["rooms"]["join"][room]
        self.assertEqual(
            part["summary"],
            {
                "m.heroes": [self.alice.user_id],
                "m.joined_member_count": 2,
                "m.invited_member_count": 0,
            },
        )
        self.assertIn(("m.room.member", self.alice.user_id), state(answer, room))


class ConfiguredTests(SyncCase):
    extra_configuration = """
exclude_rooms_from_sync: ["!hidden:one.example"]
filter_timeline_limit: 3
room_prejoin_state:
  disable_default_event_types: true
  additional_event_types: [m.room.create, ["com.example.sign", "a"], com.example.flag]
"""

    def test_filter_gets_no_more_than_the_server_allows(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        self.assertEqual(len(timeline(self.sync(alice, filter=limit(50)), room)), 3)

    def test_operator_chooses_what_is_seen_before_joining(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        room = self.given_room(alice, name="Garden")
        for event_type, key in (
            ("com.example.sign", "a"),
            ("com.example.sign", "b"),
            ("com.example.flag", "x"),
            ("com.example.flag", "y"),
        ):
            self.set_state(alice, room, event_type, {"a": 1}, key)
        self.invite(alice, room, bob)
        events = self.sync(bob)["rooms"]["invite"][room]["invite_state"]["events"]
        self.assertEqual(
            {(event["type"], event["state_key"]) for event in events},
            {
                ("m.room.create", ""),
                ("com.example.sign", "a"),
                ("com.example.flag", "x"),
                ("com.example.flag", "y"),
                ("m.room.member", alice.user_id),
                ("m.room.member", bob.user_id),
            },
        )

    def test_excluded_room_is_not_shown(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice, room_version="11")
        self.assertIn(room, self.sync(alice)["rooms"]["join"])
        self.extra_configuration = f"exclude_rooms_from_sync: ['{room}']"
        self.restart()
        self.assertNotIn("rooms", self.sync(alice))


class SummaryTests(SyncCase):
    def test_heroes_are_the_first_five_others(self) -> None:
        users = [self.given_user(f"user{number}") for number in range(9)]
        room = self.given_room(users[0])
        for user in users[1:7]:
            self.given_joined(user, room)
        expected = [user.user_id for user in users[1:6]]
        answer = self.sync(users[0])
        self.assertEqual(answer["rooms"]["join"][room]["summary"]["m.heroes"], expected)
        self.given_joined(users[7], room)
        later = self.sync(users[0], answer["next_batch"])["rooms"]["join"][room]["summary"]
        self.assertEqual((later["m.heroes"], later["m.joined_member_count"]), (expected, 8))
        self.leave(users[1], room)
        later = self.sync(users[0], answer["next_batch"])["rooms"]["join"][room]["summary"]
        self.assertEqual(later["m.heroes"], [user.user_id for user in users[2:7]])

    def test_room_with_a_name_needs_no_heroes(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice, name="Garden")
        self.assertNotIn("m.heroes", self.sync(alice)["rooms"]["join"][room]["summary"])

    def test_company_that_has_gone_is_the_hero_of_a_lonely_room(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        room = self.given_room(alice)
        self.given_joined(bob, room)
        self.leave(bob, room)
        self.assertEqual(self.sync(alice)["rooms"]["join"][room]["summary"]["m.heroes"], [bob.user_id])
