"""The feature matrix of room versions."""

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.room_versions import (
    ROOM_VERSIONS,
    EventFormat,
    EventIdFormat,
    RoomRules,
    StateResolution,
    UnknownRoomVersion,
    get_room_rules,
)

# feature -> the versions that have it, as (first, last)
FEATURES = {
    "strict_canonical_json": (6, 12),
    "enforce_key_validity": (5, 12),
    "special_aliases_auth": (1, 5),
    "redaction_auth": (1, 2),
    "guarded_notifications": (6, 12),
    "knocking": (7, 12),
    "restricted_joins": (8, 12),
    "knock_restricted_joins": (10, 12),
    "integer_power_levels": (10, 12),
    "creator_in_content": (1, 10),
    "redacts_in_content": (11, 12),
    "redaction_keeps_origin": (1, 10),
    "redaction_keeps_allow": (8, 12),
    "redaction_keeps_authorising_user": (9, 12),
    "redaction_keeps_create_content": (11, 12),
    "redaction_keeps_redacts": (11, 12),
    "redaction_keeps_invite_level": (11, 12),
    "redaction_keeps_third_party_signed": (11, 12),
    "room_id_is_create_hash": (12, 12),
    "room_create_in_auth_events": (1, 11),
    "privileged_creators": (12, 12),
}


class RoomVersionTests(SynchronousTestCase):
    def test_all_versions_are_there(self) -> None:
        self.assertEqual(list(ROOM_VERSIONS), [str(number) for number in range(1, 13)])
        for version, rules in ROOM_VERSIONS.items():
            self.assertIs(get_room_rules(version), rules)
            self.assertEqual(rules.version, version)

    def test_unknown_versions_are_refused(self) -> None:
        for version in ("", "0", "13", "01", " 1", "org.example.custom"):
            error = self.assertRaises(UnknownRoomVersion, get_room_rules, version)
            self.assertEqual(error.version, version)

    def test_feature_matrix(self) -> None:
        for feature, (first, last) in FEATURES.items():
            for version, rules in ROOM_VERSIONS.items():
                self.assertIs(getattr(rules, feature), first <= int(version) <= last, (feature, version))

    def test_feature_matrix_is_complete(self) -> None:
        others = {"version", "event_format", "event_id_format", "state_resolution"}
        self.assertEqual(set(RoomRules.__slots__), set(FEATURES) | others)

    def test_formats_and_algorithms(self) -> None:
        for version, rules in ROOM_VERSIONS.items():
            number = int(version)
            is_old = number <= 2
            self.assertIs(
                rules.event_format, EventFormat.ID_AND_HASH_PAIRS if is_old else EventFormat.ID_LISTS
            )
            if is_old:
                self.assertIs(rules.event_id_format, EventIdFormat.LOCALPART_AND_DOMAIN)
            elif number == 3:
                self.assertIs(rules.event_id_format, EventIdFormat.HASH_BASE64)
            else:
                self.assertIs(rules.event_id_format, EventIdFormat.HASH_URL_SAFE_BASE64)
            algorithms = {1: StateResolution.V1, 12: StateResolution.V2_1}
            self.assertIs(rules.state_resolution, algorithms.get(number, StateResolution.V2))
