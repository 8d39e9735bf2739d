"""What users set for a room holds for its replacement."""

from typing import Any

import orjson

from popcube_server.services.push.rule_set import Place, RuleSet, UserRule, decode_rule_set, encode_rule_set
from storage.account_data import NO_ROOM, AccountDataRepository, SetAccountData
from storage.push_rules import PushRulesRepository, SetPushRules
from tests.popcube_server.followers.followers_case import V3, FollowersCase
from tests.popcube_server.server_case import ONE, TestUser


class CarryOverTests(FollowersCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob")
        self.room = self.given_room(self.alice, room_version="10")

    def set_data(self, user: TestUser, room_id: str, event_type: str, content: Any) -> None:
        committer = self.organisations[ONE].core.committer
        change = SetAccountData(user.user_id, room_id, event_type, orjson.dumps(content))
        self.result_of(committer.commit(change))

    def data(self, user: TestUser, room_id: str, event_type: str) -> Any:
        database = self.organisations[ONE].core.database
        row = database.read_now(
            lambda tx: AccountDataRepository().find(tx, user.user_id, room_id, event_type)
        )
        return None if row is None else orjson.loads(row.content)

    def given_settings(self, user: TestUser) -> None:
        self.set_data(user, self.room, "m.tag", {"tags": {"m.favourite": {"order": 1}}})
        self.set_data(
            user, NO_ROOM, "m.direct", {"@x:y.example": [self.room], "@z:y.example": ["!other:y.example"]}
        )
        rules = RuleSet().put("room", UserRule(self.room, ()), Place())
        committer = self.organisations[ONE].core.committer
        self.result_of(committer.commit(SetPushRules(user.user_id, encode_rule_set(rules), 0)))

    def assert_carried(self, user: TestUser, replacement: str) -> None:
        self.assertEqual(self.data(user, replacement, "m.tag"), {"tags": {"m.favourite": {"order": 1}}})
        direct = {"@x:y.example": [self.room, replacement], "@z:y.example": ["!other:y.example"]}
        self.assertEqual(self.data(user, NO_ROOM, "m.direct"), direct)
        database = self.organisations[ONE].core.database
        row = database.read_now(lambda tx: PushRulesRepository().find(tx, user.user_id))
        assert row is not None
        rules = [rule.rule_id for rule in decode_rule_set(row.rules).of_kind("room")]
        self.assertEqual(sorted(rules), sorted([self.room, replacement]))

    def upgrade(self) -> str:
        answer = self.ok(self.post(f"{V3}/rooms/{self.room}/upgrade", {"new_version": "12"}, self.alice))
        replacement: str = answer["replacement_room"]
        return replacement

    def test_settings_follow_whoever_upgrades_and_whoever_joins(self) -> None:
        self.given_joined(self.bob, self.room)
        self.given_settings(self.alice)
        self.given_settings(self.bob)
        replacement = self.upgrade()
        self.settle()
        self.assert_carried(self.alice, replacement)
        self.assertIsNone(self.data(self.bob, replacement, "m.tag"))
        self.given_joined(self.bob, replacement)
        self.settle()
        self.assert_carried(self.bob, replacement)

    def test_join_right_before_a_stop_is_made_good_at_the_next_start(self) -> None:
        self.given_joined(self.bob, self.room)
        self.given_settings(self.bob)
        replacement = self.upgrade()
        self.settle()
        self.given_joined(self.bob, replacement)
        self.restart()
        self.settle()
        self.assert_carried(self.bob, replacement)

    def test_who_never_was_in_the_old_room_gets_nothing(self) -> None:
        self.given_settings(self.bob)
        replacement = self.upgrade()
        self.given_joined(self.bob, replacement)
        self.settle()
        self.assertIsNone(self.data(self.bob, replacement, "m.tag"))

    def test_change_of_the_profile_does_not_bring_old_settings_back(self) -> None:
        self.given_settings(self.alice)
        replacement = self.upgrade()
        self.settle()
        self.set_data(self.alice, NO_ROOM, "m.direct", {"@x:y.example": [self.room]})
        self.set_profile(self.alice, "displayname", "Alicia")
        self.settle()
        self.assertEqual(len(self.member_events(self.alice, replacement)), 2)
        self.assertEqual(self.data(self.alice, NO_ROOM, "m.direct"), {"@x:y.example": [self.room]})

    def test_room_that_calls_itself_the_successor_of_one_that_knows_nothing_of_it_gets_nothing(self) -> None:
        self.given_settings(self.alice)
        pretender = self.given_successor()
        self.given_joined(self.alice, pretender)
        self.settle()
        self.assertIsNone(self.data(self.alice, pretender, "m.tag"))
        # Nor does one that is not the one that the old room names.
        replacement = self.upgrade()
        second = self.given_successor()
        self.given_joined(self.alice, second)
        self.settle()
        self.assertIsNone(self.data(self.alice, second, "m.tag"))
        self.assert_carried(self.alice, replacement)

    def test_who_joined_before_the_tombstone_came_is_followed_up_once(self) -> None:
        self.given_settings(self.alice)
        replacement = self.given_successor()
        self.given_joined(self.alice, replacement)
        self.settle()
        self.set_tombstone(replacement, "gone")
        self.settle()
        self.assert_carried(self.alice, replacement)
        self.set_data(self.alice, NO_ROOM, "m.direct", {"@x:y.example": [self.room]})
        self.set_tombstone(replacement, "gone for good")
        self.settle()
        self.assertEqual(self.data(self.alice, NO_ROOM, "m.direct"), {"@x:y.example": [self.room]})

    def given_successor(self) -> str:
        """A room of bob's that says so, whatever the old room says."""
        predecessor = {"room_id": self.room, "event_id": "$x"}
        return self.given_room(self.bob, preset="public_chat", creation_content={"predecessor": predecessor})

    def set_tombstone(self, replacement: str, text: str) -> None:
        content = {"body": text, "replacement_room": replacement}
        self.ok(self.put(f"{V3}/rooms/{self.room}/state/m.room.tombstone/", content, self.alice))
