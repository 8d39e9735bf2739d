"""Guests leave rooms that take no guests any more."""

from tests.popcube_server.followers.followers_case import V3, FollowersCase
from tests.popcube_server.server_case import ONE, TestUser


class GuestsLeaveTests(FollowersCase):
    extra_configuration = "allow_guest_access: true"

    def given_guest(self) -> TestUser:
        answer = self.ok(self.post(f"{V3}/register?kind=guest", {}))
        return TestUser(ONE, answer["user_id"], answer["access_token"], answer["device_id"])

    def set_access(self, user: TestUser, room: str, access: str) -> None:
        path = f"{V3}/rooms/{room}/state/m.room.guest_access/"
        self.ok(self.put(path, {"guest_access": access}, user))
        self.settle()

    def test_guests_leave_when_the_room_closes_for_them_and_others_stay(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        guests = [self.given_guest() for _ in range(10)]
        rooms = [self.given_room(alice), self.given_room(alice)]
        for room in rooms:
            self.set_access(alice, room, "can_join")
            for user in (bob, *guests):
                self.given_joined(user, room)
        path = f"{V3}/rooms/{rooms[1]}/state/m.room.guest_access/"
        self.ok(self.put(path, {"guest_access": "can_join", "org.example.since": 7}, alice))
        self.set_access(alice, rooms[0], "forbidden")
        for guest in guests:
            self.assertEqual(self.memberships(guest.user_id), {rooms[0]: "leave", rooms[1]: "join"})
        self.assertEqual(self.memberships(bob.user_id), dict.fromkeys(rooms, "join"))

    def test_what_a_stop_cut_off_is_made_good_at_the_next_start(self) -> None:
        alice, guest = self.given_user("alice"), self.given_guest()
        room = self.given_room(alice)
        self.set_access(alice, room, "can_join")
        self.given_joined(guest, room)
        path = f"{V3}/rooms/{room}/state/m.room.guest_access/"
        self.ok(self.put(path, {"guest_access": "forbidden"}, alice))
        self.restart()
        self.settle()
        self.assertEqual(self.memberships(guest.user_id), {room: "leave"})
