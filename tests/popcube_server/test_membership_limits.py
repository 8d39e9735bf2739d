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
