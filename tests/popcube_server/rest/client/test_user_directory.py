"""People are found by whoever can know of them, and by nobody else."""

from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import ONE, TWO, TestUser

CLIENT = "/_matrix/client/v3"
ADMIN = "/_synapse/admin/v1"


class DirectoryCase(WitnessedTestCase):
    def name(self, user: TestUser, name: str) -> None:
        path = f"{CLIENT}/profile/{user.user_id}/displayname"
        self.ok(self.put(path, {"displayname": name}, user))

    def find(self, searcher: TestUser, term: str, **more: int) -> list[str]:
        return [one["user_id"] for one in self.search(searcher, term, **more)["results"]]

    def search(self, searcher: TestUser, term: str, **more: int) -> dict:  # type: ignore[type-arg]
        # The index follows the log.
        self.clock.advance(1)
        body = {"search_term": term, **more}
        return self.ok(self.post(f"{CLIENT}/user_directory/search", body, searcher))  # type: ignore[no-any-return]


class UserDirectoryTests(DirectoryCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob.builder")
        self.name(self.bob, "Özgür O'Neil")

    def given_shared_room(self) -> str:
        room = self.given_room(self.alice, preset="private_chat")
        self.ok(self.post(f"{CLIENT}/rooms/{room}/invite", {"user_id": self.bob.user_id}, self.alice))
        self.given_joined(self.bob, room)
        return room

    def test_user_is_found_while_a_room_is_shared(self) -> None:
        self.assertEqual(self.find(self.alice, "bob"), [])
        room = self.given_shared_room()
        result = self.search(self.alice, "bob")
        found = [{"user_id": self.bob.user_id, "display_name": "Özgür O'Neil"}]
        self.assertEqual((result["results"], result["limited"]), (found, False))
        self.ok(self.post(f"{CLIENT}/rooms/{room}/leave", {}, self.bob))
        self.assertEqual(self.find(self.alice, "bob"), [])

    def test_who_left_the_room_does_not_find_those_who_stayed(self) -> None:
        room = self.given_shared_room()
        self.assertEqual(self.find(self.alice, "bob"), [self.bob.user_id])
        self.ok(self.post(f"{CLIENT}/rooms/{room}/leave", {}, self.alice))
        self.assertEqual(self.find(self.alice, "bob"), [])

    def test_names_are_found_by_beginnings_of_words_whatever_the_case(self) -> None:
        self.given_shared_room()
        for term in ("BOB", "builder", "özg", "ÖZGÜR", "neil öz", "O'Nei", self.bob.user_id, "@bob"):
            self.assertEqual(self.find(self.alice, term), [self.bob.user_id], term)
        for term in ("ob", "bob alice", "", " ", "\0", "%", "_"):
            self.assertEqual(self.find(self.alice, term), [], term)

    def test_new_name_takes_the_place_of_the_old_one(self) -> None:
        self.given_shared_room()
        self.name(self.bob, "Robert")
        self.assertEqual(self.find(self.alice, "robert"), [self.bob.user_id])
        self.assertEqual(self.find(self.alice, "özgür"), [])

    def test_members_of_open_rooms_are_found_by_strangers(self) -> None:
        room = self.given_room(self.bob)
        self.assertEqual(self.find(self.alice, "bob"), [self.bob.user_id])
        rules = f"{CLIENT}/rooms/{room}/state/m.room.join_rules/"
        self.ok(self.put(rules, {"join_rule": "invite"}, self.bob))
        self.assertEqual(self.find(self.alice, "bob"), [])
        visibility = f"{CLIENT}/rooms/{room}/state/m.room.history_visibility/"
        self.ok(self.put(visibility, {"history_visibility": "world_readable"}, self.bob))
        self.assertEqual(self.find(self.alice, "bob"), [self.bob.user_id])

    def test_result_is_limited_and_says_so(self) -> None:
        room = self.given_room(self.bob)
        for number in range(3):
            self.given_joined(self.given_user(f"carol{number}"), room)
        self.assertTrue(self.search(self.alice, "carol", limit=2)["limited"])
        self.assertEqual(len(self.find(self.alice, "carol", limit=2)), 2)
        self.assertFalse(self.search(self.alice, "carol", limit=3)["limited"])

    def test_deactivated_user_is_not_found(self) -> None:
        self.given_room(self.bob)
        self.assertEqual(self.find(self.alice, "bob"), [self.bob.user_id])
        auth = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.bob.user_id},
            "password": "password of bob.builder",
        }
        self.ok(self.post(f"{CLIENT}/account/deactivate", {"auth": auth}, self.bob))
        self.assertEqual(self.find(self.alice, "bob"), [])

    def test_other_organisation_finds_nobody_of_this_one(self) -> None:
        self.given_room(self.bob)
        stranger = self.given_user("stranger", TWO)
        self.assertEqual(self.find(stranger, "bob"), [])
        self.assertEqual(self.find(self.alice, "stranger"), [])

    def test_index_lives_over_a_restart(self) -> None:
        self.given_room(self.bob)
        self.restart(ONE)
        self.assertEqual(self.find(self.alice, "bob"), [self.bob.user_id])

    def test_wrong_bodies_are_refused(self) -> None:
        path = f"{CLIENT}/user_directory/search"
        self.assert_refused(self.post(path, {}, self.alice), 400, "M_MISSING_PARAM")
        self.assert_refused(self.post(path, {"search_term": 1}, self.alice), 400, "M_BAD_JSON")
        body = {"search_term": "a", "limit": -1}
        self.assert_refused(self.post(path, body, self.alice), 400, "M_INVALID_PARAM")


class SearchAllUsersTests(DirectoryCase):
    extra_configuration = (
        "user_directory: {search_all_users: true}\nrc_user_directory: {per_second: 0.01, burst_count: 2}"
    )

    def test_everybody_is_found_but_not_too_often(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        self.assertEqual(self.find(alice, "bob"), [bob.user_id])
        self.assertEqual(self.find(alice, "alice"), [])
        answer = self.post(f"{CLIENT}/user_directory/search", {"search_term": "bob"}, alice)
        self.assert_refused(answer, 429, "M_LIMIT_EXCEEDED")
