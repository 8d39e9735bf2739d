"""Two organisations of one process that federate: what users of one do in rooms of the other."""

from typing import Any
from urllib.parse import quote

from federation.room_dag.room_versions import ROOM_VERSIONS
from tests.popcube_server.server_case import ONE, TWO, ServerTestCase, TestUser


class TwoServersTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob", TWO)

    def join(self, user: TestUser, room_id: str, via: str = ONE) -> tuple[int, Any]:
        return self.post(f"/_matrix/client/v3/join/{quote(room_id)}?via={via}", {}, user)

    def members(self, user: TestUser, room_id: str) -> set[str]:
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/joined_members"
        return set(self.ok(self.get(path, user))["joined"])

    def state(self, user: TestUser, room_id: str) -> set[str]:
        events = self.ok(self.get(f"/_matrix/client/v3/rooms/{quote(room_id)}/state", user))
        return {event["event_id"] for event in events}

    def sync(self, user: TestUser, since: str | None = None) -> Any:
        query = "" if since is None else f"?since={since}"
        return self.ok(self.get(f"/_matrix/client/v3/sync{query}", user))

    def invite(self, user: TestUser, room_id: str, other: TestUser) -> tuple[int, Any]:
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/invite"
        return self.post(path, {"user_id": other.user_id}, user)

    def leave(self, user: TestUser, room_id: str) -> tuple[int, Any]:
        return self.post(f"/_matrix/client/v3/rooms/{quote(room_id)}/leave", {}, user)

    def test_user_joins_a_room_of_the_other_server_in_all_versions(self) -> None:
        for version in ROOM_VERSIONS:
            room_id = self.given_room(self.alice, room_version=version)
            self.ok(self.join(self.bob, room_id))
            both = {self.alice.user_id, self.bob.user_id}
            self.assertEqual(self.members(self.bob, room_id), both, version)
            self.assertEqual(self.members(self.alice, room_id), both, version)
            self.assertEqual(self.state(self.bob, room_id), self.state(self.alice, room_id), version)
            self.assertIn(room_id, self.sync(self.bob)["rooms"]["join"])
            self.given_message(self.bob, room_id, "on top of the join")

    def test_second_user_joins_from_here(self) -> None:
        room_id = self.given_room(self.alice)
        self.ok(self.join(self.bob, room_id))
        carol = self.given_user("carol", TWO)
        self.network.requests.clear()
        self.ok(self.join(carol, room_id))
        self.assertFalse([uri for _, _, uri in self.network.requests if "make_join" in uri])

    def test_joined_again_after_all_have_left(self) -> None:
        room_id = self.given_room(self.alice)
        self.ok(self.join(self.bob, room_id))
        self.ok(self.leave(self.bob, room_id))
        self.clock.advance(1)
        self.given_message(self.alice, room_id, "meanwhile")
        self.ok(self.join(self.bob, room_id))
        self.assertEqual(self.members(self.bob, room_id), {self.alice.user_id, self.bob.user_id})
        self.assertEqual(self.state(self.bob, room_id), self.state(self.alice, room_id))
        self.restart(TWO)
        self.assertEqual(self.state(self.bob, room_id), self.state(self.alice, room_id))

    def test_private_room_lets_nobody_in(self) -> None:
        room_id = self.given_room(self.alice, preset="private_chat")
        self.assert_refused(self.join(self.bob, room_id), 403, "M_FORBIDDEN")
        self.assertNotIn(room_id, self.sync(self.bob).get("rooms", {}).get("join", {}))

    def test_invited_user_sees_the_invite_and_joins(self) -> None:
        for version in ("1", "6", "11", "12"):
            room_id = self.given_room(self.alice, preset="private_chat", name="Den", room_version=version)
            self.ok(self.invite(self.alice, room_id, self.bob))
            shown = self.sync(self.bob)["rooms"]["invite"][room_id]["invite_state"]["events"]
            names = [event["content"].get("name") for event in shown if event["type"] == "m.room.name"]
            self.assertEqual(names, ["Den"], version)
            self.assertEqual(shown[-1]["state_key"], self.bob.user_id)
            self.ok(self.join(self.bob, room_id))
            self.assertIn(room_id, self.sync(self.bob)["rooms"]["join"])
            self.assertNotIn(room_id, self.sync(self.bob)["rooms"].get("invite", {}))

    def test_invite_is_turned_down(self) -> None:
        room_id = self.given_room(self.alice, preset="private_chat")
        self.ok(self.invite(self.alice, room_id, self.bob))
        since = self.sync(self.bob)["next_batch"]
        self.ok(self.leave(self.bob, room_id))
        self.assertIn(room_id, self.sync(self.bob, since)["rooms"]["leave"])
        self.assertNotIn(room_id, self.sync(self.bob).get("rooms", {}).get("invite", {}))
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/state/m.room.member/{self.bob.user_id}"
        self.assertEqual(self.ok(self.get(path, self.alice))["membership"], "leave")

    def test_invite_is_turned_down_while_its_server_is_away(self) -> None:
        room_id = self.given_room(self.alice, preset="private_chat")
        self.ok(self.invite(self.alice, room_id, self.bob))
        self.network.down.add(ONE)
        pending = self.begin("POST", f"/_matrix/client/v3/rooms/{quote(room_id)}/leave", {}, self.bob)
        for _ in range(60):
            self.clock.advance(1)
        self.ok(self.finish(pending))
        self.assertNotIn(room_id, self.sync(self.bob).get("rooms", {}).get("invite", {}))
        self.restart(TWO)
        self.assertNotIn(room_id, self.sync(self.bob).get("rooms", {}).get("invite", {}))

    def test_unknown_user_and_blocked_invites_are_refused(self) -> None:
        room_id = self.given_room(self.alice)
        nobody = TestUser(TWO, f"@nobody:{TWO}", "", "")
        self.assert_refused(self.invite(self.alice, room_id, nobody), 404, "M_NOT_FOUND")
        path = f"/_matrix/client/v3/user/{self.bob.user_id}/account_data/m.invite_permission_config"
        self.ok(self.put(path, {"default_action": "block"}, self.bob))
        self.assert_refused(self.invite(self.alice, room_id, self.bob), 403, "M_INVITE_BLOCKED")

    def test_knock_is_answered_with_stripped_state_and_taken_back(self) -> None:
        rule = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
        room_id = self.given_room(self.alice, name="Door", initial_state=[rule])
        path = f"/_matrix/client/v3/knock/{quote(room_id)}?via={ONE}"
        self.ok(self.post(path, {"reason": "please"}, self.bob))
        shown = self.sync(self.bob)["rooms"]["knock"][room_id]["knock_state"]["events"]
        self.assertIn("Door", [event["content"].get("name") for event in shown])
        member = f"/_matrix/client/v3/rooms/{quote(room_id)}/state/m.room.member/{self.bob.user_id}"
        self.assertEqual(self.ok(self.get(member, self.alice))["membership"], "knock")
        self.ok(self.leave(self.bob, room_id))
        self.assertEqual(self.ok(self.get(member, self.alice))["membership"], "leave")

    def test_restricted_room_lets_in_who_meets_the_condition(self) -> None:
        for version in ("8", "10", "12"):
            space = self.given_room(self.alice, room_version=version)
            content = {
                "join_rule": "restricted",
                "allow": [{"type": "m.room_membership", "room_id": space}],
            }
            rule = {"type": "m.room.join_rules", "content": content}
            room_id = self.given_room(self.alice, room_version=version, initial_state=[rule])
            self.assert_refused(self.join(self.bob, room_id), 403, "M_FORBIDDEN")
            self.ok(self.join(self.bob, space))
            self.ok(self.join(self.bob, room_id))
            self.assertEqual(self.members(self.alice, room_id), {self.alice.user_id, self.bob.user_id})
            self.assertEqual(self.state(self.bob, room_id), self.state(self.alice, room_id))

    def test_server_in_a_restricted_room_asks_the_other_one_if_it_may_not_let_users_in(self) -> None:
        space = self.given_room(self.alice)
        content = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
        rule = {"type": "m.room.join_rules", "content": content}
        room_id = self.given_room(
            self.alice, initial_state=[rule], power_level_content_override={"invite": 50}
        )
        carol, dave = self.given_user("carol", TWO), self.given_user("dave", TWO)
        for user in (self.bob, carol):
            self.ok(self.join(user, space))
            # The other server must know it.
            self.clock.advance(1)
            self.ok(self.join(user, room_id))
        self.assert_refused(self.join(dave, room_id), 403, "M_FORBIDDEN")
        both = {self.alice.user_id, self.bob.user_id, carol.user_id}
        for user in (self.alice, self.bob):
            self.assertEqual(self.members(user, room_id), both)
        self.assertEqual(self.state(self.bob, room_id), self.state(self.alice, room_id))
        self.ok(self.join(dave, space))
        self.network.down.add(ONE)
        pending = self.begin("POST", f"/_matrix/client/v3/join/{quote(room_id)}", {}, dave)
        for _ in range(60):
            self.clock.advance(1)
        self.assert_refused(self.finish(pending), 400, "M_UNABLE_TO_GRANT_JOIN")

    def test_server_that_did_not_answer_is_asked_again_when_a_user_joins(self) -> None:
        room_id = self.given_room(self.alice)
        self.network.down.add(ONE)
        pending = self.begin("POST", f"/_matrix/client/v3/join/{quote(room_id)}?via={ONE}", {}, self.bob)
        for _ in range(60):
            self.clock.advance(1)
        self.assert_refused(self.finish(pending), 404, "M_NOT_FOUND")
        self.network.down.clear()
        self.ok(self.join(self.bob, room_id))

    def test_unknown_room_and_unreachable_server(self) -> None:
        self.assert_refused(self.join(self.bob, "!nowhere:one.example"), 404, "M_NOT_FOUND")
        pending = self.begin("POST", "/_matrix/client/v3/join/%21x:gone.example", {}, self.bob)
        for _ in range(60):
            self.clock.advance(1)
        self.assert_refused(self.finish(pending), 404, "M_NOT_FOUND")
