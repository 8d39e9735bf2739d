"""Users of another server are found by who shares a room with them, under the name that they have there."""

from tests.popcube_server.server_case import ONE, TWO, ServerTestCase, TestUser

CLIENT = "/_matrix/client/v3"


class RemoteUsersTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice", ONE), self.given_user("bob", TWO)
        self.stranger = self.given_user("stranger", TWO)
        self.name(self.alice, "Wonder Land")
        self.room = self.given_room(self.alice, preset="private_chat")
        self.let_in(self.bob, self.room)

    def turn(self) -> None:
        for _ in range(10):
            self.clock.advance(0)
            self.network.flush()
        # The index follows the log.
        self.clock.advance(1)

    def name(self, user: TestUser, name: str) -> None:
        path = f"{CLIENT}/profile/{user.user_id}/displayname"
        self.ok(self.put(path, {"displayname": name}, user))

    def let_in(self, user: TestUser, room_id: str) -> None:
        inviting = self.begin(
            "POST", f"{CLIENT}/rooms/{room_id}/invite", {"user_id": user.user_id}, self.alice
        )
        self.turn()
        self.ok(self.finish(inviting))
        joining = self.begin("POST", f"{CLIENT}/join/{room_id}", {}, user)
        self.turn()
        self.ok(self.finish(joining))

    def find(self, searcher: TestUser, term: str) -> dict[str, str | None]:
        self.turn()
        answer = self.ok(self.post(f"{CLIENT}/user_directory/search", {"search_term": term}, searcher))
        return {one["user_id"]: one.get("display_name") for one in answer["results"]}

    def test_member_is_found_by_name_and_by_user_id(self) -> None:
        for term in ("wonder", "LAND", "alice", self.alice.user_id):
            self.assertEqual(self.find(self.bob, term), {self.alice.user_id: "Wonder Land"}, term)
        self.assertEqual(self.find(self.alice, "bob"), {self.bob.user_id: "bob"})

    def test_stranger_finds_nobody(self) -> None:
        for term in ("wonder", "alice"):
            self.assertEqual(self.find(self.stranger, term), {}, term)

    def test_new_name_takes_the_place_of_the_old_one(self) -> None:
        self.name(self.alice, "Looking Glass")
        self.assertEqual(self.find(self.bob, "glass"), {self.alice.user_id: "Looking Glass"})
        self.assertEqual(self.find(self.bob, "wonder"), {})

    def test_name_of_a_room_stays_in_that_room(self) -> None:
        other = self.given_room(self.alice, preset="private_chat")
        self.let_in(self.stranger, other)
        path = f"{CLIENT}/rooms/{other}/state/m.room.member/{self.alice.user_id}"
        self.ok(self.put(path, {"membership": "join", "displayname": "Secret Agent"}, self.alice))
        self.assertEqual(self.find(self.stranger, "agent"), {self.alice.user_id: "Secret Agent"})
        self.assertEqual(self.find(self.bob, "agent"), {})
        self.assertEqual(self.find(self.bob, "alice"), {self.alice.user_id: "Wonder Land"})

    def test_who_left_is_not_found(self) -> None:
        self.ok(self.post(f"{CLIENT}/rooms/{self.room}/leave", {}, self.alice))
        self.assertEqual(self.find(self.bob, "alice"), {})
