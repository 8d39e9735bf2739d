"""Left rooms are forgotten at once, where the configuration says so."""

from storage.memberships import MembershipsRepository
from tests.popcube_server.followers.followers_case import V3, FollowersCase
from tests.popcube_server.server_case import ONE


class ForgetWhenLeftTests(FollowersCase):
    extra_configuration = "forget_rooms_on_leave: true"
    forgets = True

    def forgotten(self, user_id: str) -> dict[str, bool]:
        database = self.organisations[ONE].core.database
        rows = database.read_now(lambda tx: MembershipsRepository().get_of_user(tx, user_id))
        return {row.room_id: row.forgotten for row in rows}

    def test_rooms_are_forgotten_on_leaving_being_kicked_and_banned(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        left, kicked, banned, kept = (self.given_room(alice) for _ in range(4))
        for room in (left, kicked, banned, kept):
            self.given_joined(bob, room)
        self.ok(self.post(f"{V3}/rooms/{left}/leave", {}, bob))
        self.ok(self.post(f"{V3}/rooms/{kicked}/kick", {"user_id": bob.user_id}, alice))
        self.ok(self.post(f"{V3}/rooms/{banned}/ban", {"user_id": bob.user_id}, alice))
        self.settle()
        expected = {**dict.fromkeys((left, kicked, banned), self.forgets), kept: False}
        self.assertEqual(self.forgotten(bob.user_id), expected)

    def test_capability_tells(self) -> None:
        capabilities = self.ok(self.get(f"{V3}/capabilities", self.given_user("alice")))["capabilities"]
        self.assertEqual(capabilities["m.forget_forced_upon_leave"], {"enabled": self.forgets})

    def test_who_came_back_before_the_next_start_has_forgotten_nothing(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        room = self.given_room(alice)
        self.given_joined(bob, room)
        self.settle()
        self.ok(self.post(f"{V3}/rooms/{room}/leave", {}, bob))
        self.given_joined(bob, room)
        self.restart()
        self.settle()
        self.assertEqual(self.forgotten(bob.user_id), {room: False})


class NotForgetWhenLeftTests(ForgetWhenLeftTests):
    extra_configuration = "forget_rooms_on_leave: false"
    forgets = False
