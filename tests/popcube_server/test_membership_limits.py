"""How often people may join."""

from tests.popcube_server.server_case import NO_LIMITS, ServerTestCase

V3 = "/_matrix/client/v3"
LIMIT = "rc_joins_per_room: {per_second: 1, burst_count: 3}"


class JoinsPerRoomTests(ServerTestCase):
    limits = "\n".join(LIMIT if "rc_joins_per_room" in line else line for line in NO_LIMITS.splitlines())

    def test_room_takes_so_many_joins_at_once_and_more_a_little_later(self) -> None:
        alice = self.given_user("alice")
        room, other = self.given_room(alice), self.given_room(alice)
        users = [self.given_user(f"user{number}") for number in range(4)]
        for user in users[:3]:
            self.given_joined(user, room)
        answer = self.post(f"{V3}/rooms/{room}/join", {}, users[3])
        self.assert_refused(answer, 429, "M_LIMIT_EXCEEDED")
        # What was refused does not count.
        self.given_joined(users[3], other)
        self.clock.advance(1)
        self.given_joined(users[3], room)


class CreateRoomLimitTests(ServerTestCase):
    limits = "\n".join(
        {
            "per_room": "  per_room: {per_second: 1, burst_count: 4}",
            "per_issuer": "  per_issuer: {per_second: 1, burst_count: 3}",
            "rc_room_creation": "rc_room_creation: {per_second: 1, burst_count: 3}",
            "rc_message": "rc_message: {per_second: 1, burst_count: 3}",
        }.get(line.strip().partition(":")[0], line)
        for line in NO_LIMITS.splitlines()
    )

    def test_room_with_more_invites_than_permitted_is_not_made(self) -> None:
        alice = self.given_user("alice")
        users = [self.given_user(f"user{number}").user_id for number in range(4)]
        answer = self.post(f"{V3}/createRoom", {"invite": users}, alice)
        self.assert_refused(answer, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(self.ok(self.get(f"{V3}/joined_rooms", alice)), {"joined_rooms": []})
        room = self.given_room(alice, invite=users[:3])
        self.assertEqual(self.ok(self.get(f"{V3}/joined_rooms", alice)), {"joined_rooms": [room]})
        answer = self.post(f"{V3}/rooms/{room}/invite", {"user_id": users[3]}, alice)
        self.assert_refused(answer, 429, "M_LIMIT_EXCEEDED")

    def test_upgrading_a_room_counts_as_making_one(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        for _ in range(2):
            answer = self.post(f"{V3}/rooms/{room}/upgrade", {"new_version": "12"}, alice)
            room = self.ok(answer)["replacement_room"]
        answer = self.post(f"{V3}/rooms/{room}/upgrade", {"new_version": "12"}, alice)
        self.assert_refused(answer, 429, "M_LIMIT_EXCEEDED")

    def test_state_is_limited_like_messages(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        for number in range(3):
            self.ok(self.put(f"{V3}/rooms/{room}/state/x/{number}", {}, alice))
        self.assert_refused(self.put(f"{V3}/rooms/{room}/state/x/3", {}, alice), 429, "M_LIMIT_EXCEEDED")
        member = {"membership": "join", "displayname": "x"}
        path = f"{V3}/rooms/{room}/state/m.room.member/{alice.user_id}"
        self.assert_refused(self.put(path, member, alice), 429, "M_LIMIT_EXCEEDED")
