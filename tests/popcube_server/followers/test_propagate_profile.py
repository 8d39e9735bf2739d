"""New names and pictures show up in rooms."""

from unittest.mock import patch

from popcube_server.services.rooms.followers.propagate_profile import PropagateProfile
from tests.popcube_server.followers.followers_case import V3, FollowersCase


class PropagateProfileTests(FollowersCase):
    def test_new_name_shows_in_every_room_that_the_user_is_in(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        rooms = [self.given_room(bob) for _ in range(12)]
        left = self.given_room(bob)
        for room in (*rooms, left):
            self.given_joined(alice, room)
        self.ok(self.post(f"{V3}/rooms/{left}/leave", {}, alice))
        self.set_profile(alice, "displayname", "Alice Cooper")
        self.settle()
        for room in rooms:
            self.assertEqual(
                self.member_events(alice, room)[-1], {"membership": "join", "displayname": "Alice Cooper"}
            )
            self.assertEqual(self.member_events(bob, room)[-1]["displayname"], "bob")
        self.assertEqual(self.member_events(alice, left)[-1], {"membership": "leave"})

    def test_rooms_of_somebody_who_has_just_got_an_account_are_not_looked_for(self) -> None:
        with patch.object(PropagateProfile, "handle", autospec=True) as handle:
            alice = self.given_user("alice")
            self.settle()
            handle.assert_not_called()
            self.set_profile(alice, "displayname", "Alice Cooper")
            self.settle()
            handle.assert_called_once()

    def test_quick_changes_end_in_one_event(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        self.settle()
        for number in range(10):
            self.set_profile(alice, "displayname", f"Alice {number}")
        self.set_profile(alice, "avatar_url", "mxc://one.example/picture")
        self.settle()
        contents = self.member_events(alice, room)
        self.assertEqual(len(contents), 2)
        self.assertEqual(
            contents[-1],
            {"membership": "join", "displayname": "Alice 9", "avatar_url": "mxc://one.example/picture"},
        )

    def test_other_content_of_the_member_event_stays_and_the_reason_goes(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        path = f"{V3}/rooms/{room}/state/m.room.member/{alice.user_id}"
        content = {
            "membership": "join",
            "displayname": "Al",
            "org.example.colour": "red",
            "reason": "why not",
        }
        self.ok(self.put(path, content, alice))
        self.set_profile(alice, "displayname", "Alicia")
        self.settle()
        self.assertEqual(
            self.member_events(alice, room)[-1],
            {"membership": "join", "displayname": "Alicia", "org.example.colour": "red"},
        )

    def test_removed_name_goes_from_the_rooms(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        self.ok(self.delete(f"{V3}/profile/{alice.user_id}/displayname", alice))
        self.settle()
        self.assertEqual(self.member_events(alice, room)[-1], {"membership": "join"})

    def test_change_that_a_stop_cut_off_is_made_good_at_the_next_start(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        self.settle()
        self.set_profile(alice, "displayname", "Alicia")
        self.assertEqual(len(self.member_events(alice, room)), 1)
        self.restart()
        self.settle()
        self.assertEqual(self.member_events(alice, room)[-1]["displayname"], "Alicia")
        self.restart()
        self.settle()
        self.assertEqual(len(self.member_events(alice, room)), 2)

    def test_same_name_of_the_other_organisation_is_left_alone(self) -> None:
        alice, other = self.given_user("alice"), self.given_user("alice", "two.example")
        room, others_room = self.given_room(alice), self.given_room(other)
        self.set_profile(alice, "displayname", "Alicia")
        self.settle()
        self.assertEqual(len(self.member_events(alice, room)), 2)
        self.assertEqual(len(self.member_events(other, others_room)), 1)
