"""Deactivated users are in no room."""

from tests.popcube_server.followers.followers_case import V3, FollowersCase
from tests.popcube_server.server_case import TWO, TestUser


class DeactivationTests(FollowersCase):
    def deactivate(self, user: TestUser) -> None:
        name = user.user_id[1:].partition(":")[0]
        password = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": name},
            "password": f"password of {name}",
        }
        self.ok(self.post(f"{V3}/account/deactivate", {"auth": password}, user))

    def test_deactivated_user_leaves_rooms_and_turns_down_invites_and_knocks(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        joined = [self.given_room(bob) for _ in range(10)]
        for room in joined:
            self.given_joined(alice, room)
        invited = self.given_room(bob, invite=[alice.user_id])
        rules = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
        knocked = self.given_room(bob, initial_state=[rules])
        self.ok(self.post(f"{V3}/knock/{knocked}", {}, alice))
        banned = self.given_room(bob)
        self.ok(self.post(f"{V3}/rooms/{banned}/ban", {"user_id": alice.user_id}, bob))
        self.deactivate(alice)
        self.settle()
        expected = {**dict.fromkeys([*joined, invited, knocked], "leave"), banned: "ban"}
        self.assertEqual(self.memberships(alice.user_id), expected)
        self.assertEqual(self.memberships(bob.user_id)[joined[0]], "join")

    def test_what_a_stop_cut_off_is_made_good_at_the_next_start(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        self.settle()
        self.deactivate(alice)
        self.assertEqual(self.memberships(alice.user_id), {room: "join"})
        self.restart()
        self.settle()
        self.assertEqual(self.memberships(alice.user_id), {room: "leave"})

    def test_namesake_of_the_other_organisation_stays(self) -> None:
        alice, other = self.given_user("alice"), self.given_user("alice", TWO)
        self.given_room(alice)
        room = self.given_room(other)
        self.deactivate(alice)
        self.settle()
        self.assertEqual(self.memberships(other.user_id, TWO), {room: "join"})
