"""Profiles: asked for from the other side, and shown in rooms."""

from typing import Any

from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
)
from tests.integration.federation.peers import User, eventually, quote

AVATAR = "mxc://127.0.0.1/abcdefgh"
FIELD = "org.example.shoes"


class ProfileScenarios(Scenarios):
    def test_a_profile_is_read_from_the_other_side(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            set_field(alice, "displayname", "Alice \N{SNOWMAN}")
            set_field(alice, "avatar_url", AVATAR)
            path = f"/profile/{quote(alice.user_id)}"
            profile = bob.get(path)
            self.assertEqual(
                (profile["displayname"], profile["avatar_url"]), ("Alice \N{SNOWMAN}", AVATAR), profile
            )
            self.assertEqual(bob.get(f"{path}/displayname"), {"displayname": "Alice \N{SNOWMAN}"})
            self.assertEqual(bob.get(f"{path}/avatar_url"), {"avatar_url": AVATAR})

    def test_fields_of_ones_own_are_read_from_the_other_side(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            set_field(alice, FIELD, {"size": 43, "laces": ["red", None]})
            set_field(alice, "m.tz", "Europe/Vienna")
            path = f"/profile/{quote(alice.user_id)}"
            self.assertEqual(bob.get(f"{path}/{FIELD}"), {FIELD: {"size": 43, "laces": ["red", None]}})
            self.assertEqual(bob.get(path)["m.tz"], "Europe/Vienna")

    def test_who_does_not_exist_has_no_profile(self) -> None:
        for near, far in self.both_ways():
            bob = far.register("bob")
            answer = bob.call("GET", f"/profile/{quote(f'@nobody-here:{near.server_name}')}")
            self.assertEqual((answer.status, answer.json["errcode"]), (404, "M_NOT_FOUND"), answer)

    def test_a_changed_name_is_shown_in_every_room(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_ids = [self.given_shared_room(alice, bob) for _ in range(2)]
            for user, other in ((alice, bob), (bob, alice)):
                set_field(user, "displayname", "A new name")
                set_field(user, "avatar_url", AVATAR)
                for room_id in room_ids:
                    self.wait_for_member(other, room_id, user, "A new name", AVATAR)
                set_field(user, "displayname", "")
                for room_id in room_ids:
                    self.wait_for_member(other, room_id, user, None, AVATAR)
            for room_id in room_ids:
                self.settle(room_id, alice, bob)

    def wait_for_member(
        self, seen_by: User, room_id: str, user: User, name: str | None, avatar_url: str | None
    ) -> None:
        def shown() -> bool:
            content = seen_by.state_content(room_id, "m.room.member", user.user_id)
            found = (content.get("displayname") or None, content.get("avatar_url") or None)
            assert found == (name, avatar_url), content
            return True

        eventually(shown, f"{seen_by.user_id} sees the new profile of {user.user_id}")


def set_field(user: User, name: str, value: Any) -> None:
    user.put(f"/profile/{quote(user.user_id)}/{name}", {name: value})


class ProfilesOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, ProfileScenarios):
    pass


class ProfilesOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, ProfileScenarios):
    pass


class ProfilesBetweenOursTests(TwoOfOurs, ProfileScenarios):
    pass
