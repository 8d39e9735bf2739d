"""Power levels: defaults, forms of values, creators."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.power_levels import CREATOR_LEVEL, PowerLevels, creator_of, parse_level
from federation.room_dag.room_versions import ROOM_VERSIONS, get_room_rules
from tests.federation.room_dag.builders import ALICE, BOB, CAROL, RoomBuilder


def levels_in(
    version: str, content: dict[str, Any] | None, create: dict[str, Any] | None = None
) -> PowerLevels:
    room = RoomBuilder(version, ALICE, create)
    event = None
    if content is not None:
        event = room.build("m.room.power_levels", ALICE, content, "")
    return PowerLevels(room.create, event, room.rules)


class DefaultTests(SynchronousTestCase):
    def test_defaults_are_the_same_with_and_without_an_event(self) -> None:
        for version in ROOM_VERSIONS:
            content_values: list[Any] = [None, {}]
            for content in content_values:
                levels = levels_in(version, content)
                self.assertEqual((levels.users_default, levels.events_default, levels.invite), (0, 0, 0))
                self.assertEqual(
                    (levels.state_default, levels.kick, levels.ban, levels.redact), (50, 50, 50, 50)
                )
                self.assertEqual(levels.level_for_event("m.room.topic", True), 50)
                self.assertEqual(levels.level_for_event("m.room.message", False), 0)
                self.assertEqual(levels.level_for_notification("room"), 50)

    def test_creator_has_100_without_an_event_up_to_version_11(self) -> None:
        for version, rules in ROOM_VERSIONS.items():
            highest = CREATOR_LEVEL if rules.privileged_creators else 100
            levels = levels_in(version, None)
            self.assertEqual((levels.user_level(ALICE), levels.user_level(BOB)), (highest, 0))

    def test_creator_is_nobody_special_with_an_event_up_to_version_11(self) -> None:
        for version, rules in ROOM_VERSIONS.items():
            expected = CREATOR_LEVEL if rules.privileged_creators else 7
            self.assertEqual(levels_in(version, {"users_default": 7}).user_level(ALICE), expected)

    def test_additional_creators_count_in_version_12(self) -> None:
        create = {"additional_creators": [BOB]}
        self.assertEqual(levels_in("12", {}, create).user_level(BOB), CREATOR_LEVEL)
        self.assertEqual(levels_in("12", {}, create).user_level(CAROL), 0)
        self.assertEqual(levels_in("11", {}, create).user_level(BOB), 0)
        self.assertGreater(CREATOR_LEVEL, 2**53 - 1)

    def test_creator_is_named_in_content_up_to_version_10(self) -> None:
        for version, rules in ROOM_VERSIONS.items():
            create = RoomBuilder(version, ALICE, {"creator": BOB}).create
            self.assertEqual(creator_of(create), BOB if rules.creator_in_content else ALICE)
        self.assertIsNone(creator_of(RoomBuilder("1", ALICE, {"creator": 7}).create))


class ValueTests(SynchronousTestCase):
    def test_given_values_are_used(self) -> None:
        content: dict[str, Any] = {
            "users": {BOB: 10},
            "users_default": 1,
            "events": {"m.room.topic": 20, "m.room.message": 30},
            "events_default": 2,
            "state_default": 3,
            "invite": 4,
            "kick": 5,
            "ban": 6,
            "redact": 7,
            "notifications": {"room": 8},
        }
        for version in ROOM_VERSIONS:
            levels = levels_in(version, content)
            self.assertEqual((levels.user_level(BOB), levels.user_level(CAROL)), (10, 1))
            self.assertEqual((levels.invite, levels.kick, levels.ban, levels.redact), (4, 5, 6, 7))
            self.assertEqual(levels.level_for_event("m.room.topic", True), 20)
            self.assertEqual(levels.level_for_event("m.room.message", False), 30)
            self.assertEqual(levels.level_for_event("m.room.name", True), 3)
            self.assertEqual(levels.level_for_event("m.sticker", False), 2)
            self.assertEqual(levels.level_for_notification("room"), 8)

    def test_strings_count_up_to_version_9(self) -> None:
        for text, level in (
            ("100", 100),
            ("000100", 100),
            ("+100", 100),
            ("-100", -100),
            (" \t-00100\n", -100),
        ):
            for version, rules in ROOM_VERSIONS.items():
                expected = None if rules.integer_power_levels else level
                self.assertEqual(parse_level(text, rules), expected, version)

    def test_other_strings_never_count(self) -> None:
        for text in ("", " ", "1.0", "1e2", "0x10", "1_000", "+-1", "+ 1", "١", "ten", "9" * 5000):
            self.assertIsNone(parse_level(text, get_room_rules("1")), text)

    def test_floats_are_truncated(self) -> None:
        rules = get_room_rules("5")
        self.assertEqual([parse_level(value, rules) for value in (50.57, 5.114698e4, -1.9)], [50, 51146, -1])
        for value in (float("inf"), float("-inf"), float("nan")):
            self.assertIsNone(parse_level(value, rules))
        self.assertIsNone(parse_level(50.57, get_room_rules("10")))

    def test_other_types_never_count(self) -> None:
        value_values: list[Any] = [None, True, [], {}]
        for value in value_values:
            self.assertIsNone(parse_level(value, get_room_rules("1")))

    def test_malformed_maps_are_like_missing_ones(self) -> None:
        levels = levels_in("9", {"users": [], "events": 7, "notifications": None, "ban": {}})
        self.assertEqual((levels.user_level(ALICE), levels.ban), (0, 50))
        self.assertEqual(levels.level_for_event("m.room.topic", True), 50)
        self.assertEqual(levels.level_for_notification("room"), 50)
