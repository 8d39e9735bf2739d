"""New users find themselves in the rooms that the configuration names."""

from tests.popcube_server.followers.followers_case import V3, FollowersCase
from tests.popcube_server.server_case import ONE, TWO

# In the configuration of both organisations; for the second one the first alias is another server's.
LOBBY = "#lobby:one.example"


class AutoJoinTests(FollowersCase):
    extra_configuration = f'auto_join_rooms: ["{LOBBY}"]'

    def lobby(self) -> str:
        room_id: str = self.ok(self.get(f"{V3}/directory/room/%23lobby:one.example"))["room_id"]
        return room_id

    def test_first_user_makes_the_room_and_later_ones_join_it(self) -> None:
        alice = self.given_user("alice")
        self.settle()
        room = self.lobby()
        users = [self.given_user(f"user{number}") for number in range(30)]
        self.settle()
        self.assertEqual(self.memberships(alice.user_id), {room: "join"})
        for user in users:
            self.assertEqual(self.memberships(user.user_id), {room: "join"})

    def test_room_is_public_and_new_members_have_no_power(self) -> None:
        alice = self.given_user("alice")
        self.settle()
        bob = self.given_user("bob")
        self.settle()
        room = self.lobby()
        self.ok(self.put(f"{V3}/rooms/{room}/state/m.room.topic/", {"topic": "x"}, alice))
        refused = self.put(f"{V3}/rooms/{room}/state/m.room.topic/", {"topic": "y"}, bob)
        self.assert_refused(refused, 403, "M_FORBIDDEN")

    def test_alias_that_was_taken_away_is_not_made_again_for_a_later_user(self) -> None:
        alice = self.given_user("alice")
        self.settle()
        self.ok(self.delete(f"{V3}/directory/room/%23lobby:one.example", alice))
        bob = self.given_user("bob")
        with self.assertLogs("popcube_server"):
            self.settle()
        self.assertEqual(self.memberships(bob.user_id), {})

    def test_user_who_registered_right_before_a_stop_is_let_in_at_the_next_start(self) -> None:
        self.given_user("alice")
        self.settle()
        bob = self.given_user("bob")
        self.restart()
        self.settle()
        self.assertEqual(self.memberships(bob.user_id), {self.lobby(): "join"})

    def test_user_who_left_is_not_brought_back(self) -> None:
        self.given_user("alice")
        bob = self.given_user("bob")
        self.settle()
        room = self.lobby()
        self.ok(self.post(f"{V3}/rooms/{room}/leave", {}, bob))
        body = {
            "new_password": "another password",
            "auth": {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": "bob"},
                "password": "password of bob",
            },
        }
        # Somebody registers, so that there is something to be done at the next start, from what the log has of it.
        self.given_user("carol")
        self.ok(self.post(f"{V3}/account/password", body, bob))
        self.restart()
        self.settle()
        self.assertEqual(self.memberships(bob.user_id), {room: "leave"})

    def test_room_of_another_server_is_not_made(self) -> None:
        other = self.given_user("alice", TWO)
        with self.assertLogs("popcube_server"):
            self.settle()
        self.assertEqual(self.memberships(other.user_id, TWO), {})
        self.assertIn(ONE, self.organisations)


class PrivateAutoJoinTests(FollowersCase):
    extra_configuration = f"""
auto_join_rooms: ["{LOBBY}"]
autocreate_auto_join_room_preset: private_chat
auto_join_mxid_localpart: host
auto_join_rooms_for_guests: false
allow_guest_access: true
block_non_admin_invites: true
"""

    def test_host_makes_the_room_and_invites(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        self.settle()
        room = self.ok(self.get(f"{V3}/directory/room/%23lobby:one.example"))["room_id"]
        for user_id in (alice.user_id, bob.user_id, "@host:one.example"):
            self.assertEqual(self.memberships(user_id), {room: "join"})
        self.assertEqual([one["membership"] for one in self.member_events(bob, room)], ["invite", "join"])

    def test_guests_stay_outside_if_they_should(self) -> None:
        answer = self.ok(self.post(f"{V3}/register?kind=guest", {}))
        self.settle()
        self.assertEqual(self.memberships(answer["user_id"]), {})

    def test_others_may_not_invite(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        room = self.given_room(alice)
        answer = self.post(f"{V3}/rooms/{room}/invite", {"user_id": bob.user_id}, alice)
        self.assert_refused(answer, 403, "M_FORBIDDEN")
        answer = self.post(f"{V3}/createRoom", {"invite": [bob.user_id]}, alice)
        self.assert_refused(answer, 403, "M_FORBIDDEN")
