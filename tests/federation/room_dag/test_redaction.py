"""What redaction keeps, in each room version."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import decode_pdu, parse_event
from federation.room_dag.hashes import reference_hash
from federation.room_dag.power_levels import PowerLevels
from federation.room_dag.redaction import is_redaction_allowed, redact_event, redact_pdu
from federation.room_dag.room_versions import ROOM_VERSIONS, get_room_rules
from tests.federation.room_dag.builders import ALICE, BOB, CAROL, DAVE, given_room

KEPT_AT_TOP = {
    "event_id",
    "type",
    "room_id",
    "sender",
    "state_key",
    "content",
    "hashes",
    "signatures",
    "depth",
    "prev_events",
    "auth_events",
    "origin_server_ts",
}
TOP_LEVEL = [*KEPT_AT_TOP, "prev_state", "origin", "membership", "redacts", "unsigned", "age_ts", "other"]

LEVELS = {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}

# type -> content keys that are kept, from the room version on
KEPT_IN_CONTENT: dict[str, dict[int, set[str]]] = {
    "m.room.member": {1: {"membership"}, 9: {"membership", "join_authorised_via_users_server"}},
    "m.room.create": {1: {"creator"}, 11: {"creator", "room_version", "m.federate", "predecessor", "other"}},
    "m.room.join_rules": {1: {"join_rule"}, 8: {"join_rule", "allow"}},
    "m.room.power_levels": {1: LEVELS, 11: LEVELS | {"invite"}},
    "m.room.aliases": {1: {"aliases"}, 6: set()},
    "m.room.history_visibility": {1: {"history_visibility"}},
    "m.room.redaction": {1: set(), 11: {"redacts"}},
    "m.room.topic": {1: set()},
}
CONTENT_KEYS = {
    "m.room.member": ["membership", "join_authorised_via_users_server", "displayname", "other"],
    "m.room.create": ["creator", "room_version", "m.federate", "predecessor", "other"],
    "m.room.join_rules": ["join_rule", "allow", "other"],
    "m.room.power_levels": [*LEVELS, "invite", "notifications", "other"],
    "m.room.aliases": ["aliases", "other"],
    "m.room.history_visibility": ["history_visibility", "other"],
    "m.room.redaction": ["redacts", "reason", "other"],
    "m.room.topic": ["topic", "body"],
}


def expected_content(event_type: str, version: int) -> set[str]:
    by_version = KEPT_IN_CONTENT[event_type]
    return by_version[max(since for since in by_version if since <= version)]


class RedactionTests(SynchronousTestCase):
    def test_top_level_keys_of_each_version(self) -> None:
        for version, rules in ROOM_VERSIONS.items():
            kept = KEPT_AT_TOP | ({"prev_state", "origin", "membership"} if int(version) <= 10 else set())
            pdu: dict[str, Any] = {**dict.fromkeys(TOP_LEVEL, "x"), "content": {}}
            self.assertEqual(set(redact_pdu(pdu, rules)), kept, version)

    def test_content_keys_of_each_type_and_version(self) -> None:
        for version, rules in ROOM_VERSIONS.items():
            for event_type, keys in CONTENT_KEYS.items():
                redacted = redact_pdu({"type": event_type, "content": dict.fromkeys(keys, "x")}, rules)
                self.assertEqual(
                    set(redacted["content"]),
                    expected_content(event_type, int(version)),
                    (version, event_type),
                )

    def test_signed_part_of_a_third_party_invite_is_kept_since_version_11(self) -> None:
        content = {
            "membership": "invite",
            "third_party_invite": {"display_name": "x", "signed": {"token": "t"}},
        }
        pdu = {"type": "m.room.member", "content": content}
        self.assertEqual(redact_pdu(pdu, get_room_rules("10"))["content"], {"membership": "invite"})
        self.assertEqual(
            redact_pdu(pdu, get_room_rules("11"))["content"],
            {"membership": "invite", "third_party_invite": {"signed": {"token": "t"}}},
        )
        odd_invites: list[Any] = [None, [], {"display_name": "x"}]
        for odd in odd_invites:
            odd_pdu = {
                "type": "m.room.member",
                "content": {"membership": "invite", "third_party_invite": odd},
            }
            self.assertEqual(redact_pdu(odd_pdu, get_room_rules("11"))["content"], {"membership": "invite"})

    def test_content_that_is_no_object_becomes_empty(self) -> None:
        self.assertEqual(
            redact_pdu({"type": "m.room.member", "content": []}, get_room_rules("9"))["content"], {}
        )

    def test_redacted_event_keeps_id_and_hash(self) -> None:
        for version in ROOM_VERSIONS:
            room = given_room(version)
            for event in [*room.events.by_id.values(), room.say(ALICE)]:
                redacted = redact_event(event)
                self.assertEqual(parse_event(decode_pdu(redacted), room.rules).event_id, event.event_id)
                self.assertEqual(redact_event(redacted).json, redacted.json)
            self.assertEqual(redacted.content, {})
            self.assertNotIn(b"hello", redacted.json)
            self.assertIn(b'"signatures"', redacted.json)

    @settings(derandomize=True, max_examples=100, deadline=None)
    @given(
        st.sampled_from(list(ROOM_VERSIONS)),
        st.sampled_from(list(CONTENT_KEYS)),
        st.dictionaries(st.sampled_from(TOP_LEVEL), st.text(max_size=3)),
        st.data(),
    )
    def test_redaction_is_idempotent_and_keeps_the_reference_hash(
        self, version: str, event_type: str, top_level: dict[str, Any], data: st.DataObject
    ) -> None:
        rules = get_room_rules(version)
        keys = st.sampled_from([*CONTENT_KEYS[event_type], "third_party_invite"])
        values = (
            st.none()
            | st.text(max_size=3)
            | st.dictionaries(st.sampled_from(["signed", "x"]), st.integers(0, 9))
        )
        content = data.draw(st.dictionaries(keys, values))
        pdu = {**top_level, "type": event_type, "content": content}
        redacted = redact_pdu(pdu, rules)
        self.assertEqual(redact_pdu(redacted, rules), redacted)
        self.assertEqual(reference_hash(redacted, rules), reference_hash(pdu, rules))


class RedactionPermissionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = given_room("11")
        for user_id in (BOB, CAROL, DAVE):
            self.room.join(user_id)
        self.levels = PowerLevels(self.room.create, self.room.find("m.room.power_levels"), self.room.rules)

    def is_allowed(self, sender: str, target_sender: str) -> bool:
        target = self.room.say(target_sender)
        redaction = self.room.append("m.room.redaction", sender, {}, redacts=target.event_id)
        self.assertNotIn(redaction.event_id, self.room.rejected)
        return is_redaction_allowed(redaction, target, self.levels)

    def test_the_powerful_redact_anything(self) -> None:
        self.assertTrue(self.is_allowed(ALICE, BOB))

    def test_the_redact_level_is_enough(self) -> None:
        for level, is_allowed in ((49, False), (50, True)):
            event = self.room.set_power_levels(ALICE, {ALICE: 100, BOB: level})
            self.levels = PowerLevels(self.room.create, event, self.room.rules)
            self.assertEqual(self.is_allowed(BOB, CAROL), is_allowed)

    def test_auth_rules_have_decided_up_to_version_2(self) -> None:
        for version in ("2", "3"):
            self.room = given_room(version)
            self.levels = PowerLevels(
                self.room.create, self.room.find("m.room.power_levels"), self.room.rules
            )
            target = self.room.say(ALICE)
            redaction = self.room.build("m.room.redaction", BOB, {}, redacts=target.event_id)
            self.assertEqual(is_redaction_allowed(redaction, target, self.levels), version == "2")

    def test_users_redact_their_own(self) -> None:
        self.assertTrue(self.is_allowed(BOB, BOB))

    def test_users_of_the_same_server_redact_each_other(self) -> None:
        self.assertTrue(self.is_allowed(BOB, DAVE))

    def test_users_of_other_servers_do_not(self) -> None:
        self.assertFalse(self.is_allowed(BOB, CAROL))

    def test_redaction_of_another_event_does_not_count(self) -> None:
        one, other = self.room.say(BOB), self.room.say(BOB)
        redaction = self.room.append("m.room.redaction", ALICE, {}, redacts=one.event_id)
        self.assertTrue(is_redaction_allowed(redaction, one, self.levels))
        self.assertFalse(is_redaction_allowed(redaction, other, self.levels))
