"""Events: building, parsing, loading and showing them."""

import json
from dataclasses import replace
from typing import Any

from canonicaljson import encode_canonical_json
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import (
    Event,
    EventTemplate,
    EventTooLarge,
    InvalidEvent,
    build_event,
    client_fields,
    decode_pdu,
    load_event,
    parse_event,
    sign_event,
)
from federation.room_dag.hashes import check_content_hash, derive_event_id, signed_bytes
from federation.room_dag.identifiers import InvalidIdentifier
from federation.room_dag.required_signers import required_signers
from federation.room_dag.room_versions import ROOM_VERSIONS, get_room_rules
from federation.room_dag.signing import find_signature, verify_bytes
from tests.federation.room_dag.builders import ALICE, BOB, given_room, make_signer

SIGNER = make_signer("one.example")
FIELDS = [
    "event_id",
    "room_id",
    "type",
    "sender",
    "state_key",
    "content",
    "origin_server_ts",
    "depth",
    "prev_events",
    "auth_events",
    "redacts",
    "rules",
    "json",
]


def fields_of(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in FIELDS}


def make_template(version: str, **changes: Any) -> EventTemplate:
    ids = [f"${letter}" + "x" * 42 for letter in "abc"]
    template = EventTemplate(
        type="m.room.message",
        sender=ALICE,
        room_id="!room:one.example",
        state_key=None,
        content={"body": 'hällo "you"\n', "nested": {"b": [1, None, True], "a": -5}},
        origin_server_ts=1_700_000_000_000,
        depth=12,
        prev_events=ids[:2],
        auth_events=ids,
        reference_hashes=dict.fromkeys(ids, "h" * 43),
    )
    return replace(template, **changes)


def build(version: str, **changes: Any) -> Event:
    return build_event(make_template(version, **changes), get_room_rules(version), SIGNER, "local")


class BuildEventTests(SynchronousTestCase):
    def all_kinds(self, version: str) -> list[Event]:
        levels = {"users": {ALICE: 100}, "invite": 3, "notifications": {"room": 50}}
        return [
            build(version),
            build(version, type="m.room.topic", state_key="", content={"topic": "x"}),
            build(
                version,
                type="m.room.member",
                state_key=ALICE,
                content={"membership": "join", "avatar_url": "x"},
            ),
            build(version, type="m.room.power_levels", state_key="", content=levels),
            build(version, type="m.room.redaction", content={"reason": "x"}, redacts="$other:one.example"),
            build(version, content={}),
            build(
                version, content={str(number): number for number in range(12)}, prev_events=(), auth_events=()
            ),
            *given_room(version).events.by_id.values(),
        ]

    def test_a_reference_without_a_known_hash_is_an_id_alone(self) -> None:
        # Synapse's templates of version 1 have such ones.
        known = {**make_template("1").reference_hashes, "$" + "a" + "x" * 42: None}
        event = build("1", reference_hashes=known)
        pair = ["$" + "b" + "x" * 42, {"sha256": "h" * 43}]
        self.assertEqual(decode_pdu(event)["prev_events"], [["$" + "a" + "x" * 42, {}], pair])

    def test_built_json_is_canonical_hashed_signed_and_named(self) -> None:
        for version, rules in ROOM_VERSIONS.items():
            for event in self.all_kinds(version):
                pdu = json.loads(event.json)
                self.assertEqual(event.json, encode_canonical_json(pdu))
                check_content_hash(pdu, rules)
                signature = find_signature(pdu, SIGNER.server_name, SIGNER.key_id)
                assert signature is not None
                verify_bytes(signed_bytes(pdu, rules), signature, SIGNER.verify_key)
                self.assertEqual(derive_event_id(pdu, rules), event.event_id)

    def test_built_parsed_and_loaded_events_are_the_same(self) -> None:
        for version, rules in ROOM_VERSIONS.items():
            for event in self.all_kinds(version):
                pdu = {**decode_pdu(event), "unsigned": {"age": 1}}
                self.assertEqual(fields_of(parse_event(pdu, rules)), fields_of(event))
                self.assertEqual(fields_of(load_event(event.event_id, event.json, rules)), fields_of(event))

    def test_event_id_has_the_form_of_the_version(self) -> None:
        self.assertEqual(build("1").event_id, "$local:one.example")
        self.assertRegex(build("3").event_id, r"\A\$[A-Za-z0-9+/]{43}\Z")
        self.assertRegex(build("12").event_id, r"\A\$[A-Za-z0-9_-]{43}\Z")

    def test_redacts_is_where_the_version_wants_it(self) -> None:
        for version, is_in_content in (("1", False), ("10", False), ("11", True), ("12", True)):
            event = build(version, type="m.room.redaction", content={"reason": "x"}, redacts="$other")
            pdu = decode_pdu(event)
            self.assertEqual("redacts" in pdu["content"], is_in_content)
            self.assertEqual("redacts" in pdu, not is_in_content)
            self.assertEqual(event.redacts, "$other")

    def test_redacts_elsewhere_or_in_other_types_means_nothing(self) -> None:
        self.assertIsNone(build("12", content={"redacts": "$x"}).redacts)
        self.assertIsNone(build("10", type="m.room.redaction", content={"redacts": "$x"}).redacts)
        self.assertIsNone(build("11", type="m.room.redaction", content={"redacts": 7}).redacts)

    def test_room_id_of_version_12_is_the_hash_of_the_create_event(self) -> None:
        create = given_room("12").create
        self.assertNotIn("room_id", decode_pdu(create))
        self.assertEqual(create.room_id, "!" + create.event_id[1:])
        self.assertEqual(load_event(create.event_id, create.json, create.rules).room_id, create.room_id)

    def test_room_id_must_be_given_just_when_it_is_not_a_hash(self) -> None:
        create = {"type": "m.room.create", "state_key": ""}
        build("12", room_id=None, **create)
        self.assertRaises(InvalidEvent, build, "12", **create)
        self.assertRaises(InvalidEvent, build, "12", room_id=None)
        self.assertRaises(InvalidEvent, build, "11", room_id=None, **create)

    def test_limits_are_inclusive(self) -> None:
        used = len(build("12", content={"body": ""}).json)
        build("12", content={"body": "x" * (65536 - used)})
        self.assertRaises(EventTooLarge, build, "12", content={"body": "x" * (65537 - used)})
        build("12", type="x" * 255, state_key="ä" * 127)
        too_long: list[dict[str, str]] = [
            {"type": "x" * 256},
            {"state_key": "ä" * 128},
            {"sender": "@" + "a" * 253 + ":b"},
        ]
        for changes in too_long:
            self.assertRaises(EventTooLarge, build, "12", **changes)
        build("6", depth=2**53 - 1, prev_events=["$x"] * 20, auth_events=["$x"] * 10)
        out_of_range: list[dict[str, Any]] = [
            {"depth": 2**53},
            {"depth": -1},
            {"prev_events": ["$x"] * 21},
            {"auth_events": ["$x"] * 11},
        ]
        for change in out_of_range:
            self.assertRaises(InvalidEvent, build, "6", **change)
        build("5", depth=2**63 - 1)
        build("5", depth=0)
        self.assertRaises(InvalidEvent, build, "5", depth=2**63)

    def test_content_must_be_canonical_since_version_6(self) -> None:
        for number in (1.5, 2**53):
            self.assertRaises(InvalidEvent, build, "6", content={"a": number})
            self.assertEqual(build("5", content={"a": number}).content, {"a": number})
        for value in (float("nan"), "\ud800"):
            for version in ROOM_VERSIONS:
                self.assertRaises(InvalidEvent, build, version, content={"a": value})
        self.assertRaises(InvalidEvent, build, "12", state_key="\ud800")
        self.assertRaises(InvalidEvent, build, "12", sender="alice")

    def test_old_versions_need_a_local_id_and_reference_hashes(self) -> None:
        rules = get_room_rules("2")
        self.assertRaises(InvalidEvent, build_event, make_template("2"), rules, SIGNER)
        self.assertRaises(InvalidEvent, build, "2", reference_hashes={})

    def test_further_signatures_do_not_change_the_event(self) -> None:
        other = make_signer("two.example")
        for version, rules in ROOM_VERSIONS.items():
            event = build(version)
            signed = sign_event(event, other)
            self.assertEqual(fields_of(signed) | {"json": b""}, fields_of(event) | {"json": b""})
            pdu = decode_pdu(signed)
            self.assertEqual(signed.json, encode_canonical_json(pdu))
            for signer in (SIGNER, other):
                signature = find_signature(pdu, signer.server_name, signer.key_id)
                assert signature is not None
                verify_bytes(signed_bytes(pdu, rules), signature, signer.verify_key)


class ParseEventTests(SynchronousTestCase):
    def refused(self, version: str, changes: dict[str, Any], without: str = "") -> None:
        pdu = decode_pdu(build(version))
        parse_event(dict(pdu), get_room_rules(version))
        pdu = {key: value for key, value in {**pdu, **changes}.items() if key != without}
        self.assertRaises(InvalidEvent, parse_event, pdu, get_room_rules(version))

    def test_missing_keys_are_refused(self) -> None:
        required = [
            "sender",
            "room_id",
            "type",
            "content",
            "origin_server_ts",
            "depth",
            "prev_events",
            "auth_events",
            "hashes",
            "signatures",
        ]
        for version in ROOM_VERSIONS:
            for name in required + (["event_id"] if version in ("1", "2") else []):
                self.refused(version, {}, without=name)

    def test_wrong_types_are_refused(self) -> None:
        bad: dict[str, list[Any]] = {
            "sender": [None, 7, "alice", "@alice", "@alice:", "@" + "a" * 253 + ":b"],
            "room_id": [None, 7, "room", "!" + "a" * 255],
            "type": [None, 7, "x" * 256],
            "state_key": [None, 7, "x" * 256],
            "content": [None, 7, "x", []],
            "origin_server_ts": [None, "7", 1.0, True, 2**63],
            "depth": [None, "7", 1.0, True, -1, 2**63],
            "prev_events": [None, {}, "x", [7], [None], [["$x"]], [["$x", 7]], [[7, {}]], ["$" + "x" * 255]],
            "auth_events": [None, {}, "x", [7], [None], [["$x"]], [["$x", 7]], [[7, {}]], ["$" + "x" * 255]],
            "hashes": [None, [], {}, {"sha256": 7}],
            "signatures": [None, [], {"a": None}, {"a": {"b": 7}}],
        }
        for version in ROOM_VERSIONS:
            for name, values in bad.items():
                for value in values:
                    self.refused(version, {name: value})

    def test_references_have_the_form_of_the_version(self) -> None:
        pair = ["$x:y", {"sha256": "h"}]
        for version in ROOM_VERSIONS:
            wrong = "$x" if version in ("1", "2") else pair
            for name in ("prev_events", "auth_events"):
                self.refused(version, {name: [wrong]})

    def test_too_many_references_are_refused(self) -> None:
        for version in ROOM_VERSIONS:
            entry = ["$x:y", {"sha256": "h"}] if version in ("1", "2") else "$x"
            self.refused(version, {"prev_events": [entry] * 21})
            self.refused(version, {"auth_events": [entry] * 11})

    def test_limits_are_inclusive(self) -> None:
        for version, rules in ROOM_VERSIONS.items():
            entry = ["$x:y", {"sha256": "h"}] if version in ("1", "2") else "$x"
            changes = {
                "prev_events": [entry] * 20,
                "auth_events": [entry] * 10,
                "depth": 0,
                "type": "ä" * 127 + "x",
            }
            event = parse_event({**decode_pdu(build(version)), **changes}, rules)
            self.assertEqual((len(event.prev_events), len(event.auth_events), event.depth), (20, 10, 0))
            self.refused(version, {"type": "ä" * 128})
            self.refused(version, {"type": "x\ud800"})
            used = len(parse_event({**decode_pdu(build(version)), "x": ""}, rules).json)
            parse_event({**decode_pdu(build(version)), "x": "x" * (65536 - used)}, rules)
            self.refused(version, {"x": "x" * (65537 - used)})

    def test_oversized_events_are_refused(self) -> None:
        self.refused("12", {"content": {"body": "x" * 65536}})
        pdu = {**decode_pdu(build("12")), "unsigned": {"big": "x" * 70000}}
        parse_event(pdu, get_room_rules("12"))

    def test_canonical_json_is_enforced_since_version_6(self) -> None:
        for version in ROOM_VERSIONS:
            pdu = {**decode_pdu(build(version)), "extra": 1.5}
            if int(version) >= 6:
                self.assertRaises(InvalidEvent, parse_event, pdu, get_room_rules(version))
            else:
                event = parse_event(pdu, get_room_rules(version))
                self.assertEqual(decode_pdu(event)["extra"], 1.5)
            self.refused(version, {"extra": "\ud800"})
        self.refused("6", {"depth": 2**53})

    def test_big_integers_of_old_versions_keep_their_hash(self) -> None:
        event = build("5", content={"big": 2**70})
        self.assertIn(str(2**70).encode(), event.json)
        check_content_hash(decode_pdu(event), event.rules)
        self.assertIn(str(2**70).encode(), client_fields(parse_event(decode_pdu(event), event.rules)))

    def test_room_ids_have_a_domain_up_to_version_11(self) -> None:
        self.refused("11", {"room_id": "!hash"})
        parse_event({**decode_pdu(build("12")), "room_id": "!hash"}, get_room_rules("12"))

    def test_create_event_of_version_12_with_a_room_id_is_refused(self) -> None:
        room = given_room("12")
        pdu = {**decode_pdu(room.create), "room_id": room.room_id}
        self.assertRaises(InvalidEvent, parse_event, pdu, room.rules)

    def test_event_ids_have_a_domain_up_to_version_2(self) -> None:
        self.refused("1", {"event_id": "$x"})
        self.refused("2", {"event_id": "x:y"})


class EventTests(SynchronousTestCase):
    def test_state_and_membership(self) -> None:
        message, member = (
            build("12"),
            build("12", type="m.room.member", state_key=ALICE, content={"membership": "join"}),
        )
        self.assertFalse(message.is_state)
        self.assertRaises(ValueError, lambda: message.state_pair)
        self.assertIsNone(message.membership)
        self.assertTrue(member.is_state)
        self.assertEqual(member.state_pair, ("m.room.member", ALICE))
        self.assertEqual(member.membership, "join")
        self.assertIsNone(build("12", content={"membership": ["join"]}).membership)

    def test_equal_by_id(self) -> None:
        one, other = build("12"), build("12", depth=13)
        self.assertEqual(one, load_event(one.event_id, one.json, one.rules))
        self.assertNotEqual(one, other)
        self.assertEqual(len({one, other, one}), 2)
        self.assertNotEqual(one, one.event_id)


class ClientFieldsTests(SynchronousTestCase):
    def shown(self, event: Event) -> dict[str, Any]:
        text = client_fields(event) + b',"room_id":"!x","unsigned":{}}'
        shown: dict[str, Any] = json.loads(text)
        self.assertEqual((shown.pop("room_id"), shown.pop("unsigned")), ("!x", {}))
        return shown

    def test_message_and_state(self) -> None:
        message = build("12")
        expected = {
            "content": message.content,
            "event_id": message.event_id,
            "origin_server_ts": message.origin_server_ts,
            "sender": ALICE,
            "type": "m.room.message",
        }
        self.assertEqual(self.shown(message), expected)
        topic = build("12", type="m.room.topic", state_key="")
        self.assertEqual(
            self.shown(topic),
            expected | {"event_id": topic.event_id, "type": "m.room.topic", "state_key": ""},
        )

    def test_redacts_is_shown_in_both_places_in_all_versions(self) -> None:
        for version in ROOM_VERSIONS:
            event = build(version, type="m.room.redaction", content={"reason": "x"}, redacts="$other")
            shown = self.shown(event)
            self.assertEqual(shown["redacts"], "$other")
            self.assertEqual(shown["content"], {"reason": "x", "redacts": "$other"})
            self.assertEqual(self.shown(load_event(event.event_id, event.json, event.rules)), shown)


class RequiredSignersTests(SynchronousTestCase):
    def member(self, version: str, **content: Any) -> frozenset[str]:
        return required_signers(
            build(version, type="m.room.member", state_key=BOB, sender=BOB, content=content)
        )

    def test_server_of_the_sender(self) -> None:
        self.assertEqual(required_signers(build("3", sender=BOB)), {"two.example"})

    def test_server_of_the_event_id_up_to_version_2(self) -> None:
        self.assertEqual(required_signers(build("2", sender=BOB)), {"one.example", "two.example"})

    def test_third_party_invites_need_no_signature_of_the_sender(self) -> None:
        self.assertEqual(self.member("12", membership="invite", third_party_invite={}), frozenset())
        self.assertEqual(self.member("12", membership="join", third_party_invite={}), {"two.example"})

    def test_server_of_the_authorising_user_since_version_8(self) -> None:
        content = {"membership": "join", "join_authorised_via_users_server": ALICE}
        self.assertEqual(self.member("7", **content), {"two.example"})
        self.assertEqual(self.member("8", **content), {"one.example", "two.example"})
        for odd in (7, "alice"):
            self.assertRaises(
                InvalidIdentifier, self.member, "8", membership="join", join_authorised_via_users_server=odd
            )
