"""Hashes and signatures of events: the specification's vectors, and forms of event IDs."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.base64 import encode_base64
from federation.room_dag.hashes import (
    ContentHashMismatch,
    check_content_hash,
    content_hash,
    derive_event_id,
    event_id_of_hash,
    has_valid_content_hash,
    reference_hash,
    signed_bytes,
)
from federation.room_dag.redaction import redact_pdu
from federation.room_dag.room_versions import get_room_rules
from tests.federation.room_dag.test_signing import SIGNER

# Appendices, "Event Signing". The vectors have `origin`, which is signed up to room version 10.
MINIMAL: dict[str, Any] = {
    "room_id": "!x:domain",
    "sender": "@a:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "signatures": {},
    "hashes": {},
    "type": "X",
    "content": {},
    "prev_events": [],
    "auth_events": [],
    "depth": 3,
    "unsigned": {"age_ts": 1000000},
}
WITH_CONTENT: dict[str, Any] = {
    "content": {"body": "Here is the message content"},
    "event_id": "$0:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "type": "m.room.message",
    "room_id": "!r:domain",
    "sender": "@u:domain",
    "signatures": {},
    "unsigned": {"age_ts": 1000000},
}
VECTORS = [
    (
        MINIMAL,
        "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
        "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
    ),
    (
        WITH_CONTENT,
        "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
        "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
    ),
]
V1 = get_room_rules("1")
V3 = get_room_rules("3")
V4 = get_room_rules("4")


class EventVectorTests(SynchronousTestCase):
    def test_content_hashes(self) -> None:
        for pdu, expected, _ in VECTORS:
            self.assertEqual(encode_base64(content_hash(pdu, V1)), expected)

    def test_signatures(self) -> None:
        for pdu, digest, expected in VECTORS:
            hashed = {**pdu, "hashes": {"sha256": digest}}
            self.assertEqual(SIGNER.sign_bytes(signed_bytes(hashed, V1)), expected)


class ContentHashTests(SynchronousTestCase):
    def test_right_hash_is_accepted_with_or_without_padding(self) -> None:
        for suffix in ("", "="):
            check_content_hash({**MINIMAL, "hashes": {"sha256": VECTORS[0][1] + suffix}}, V1)

    def test_everything_else_is_refused(self) -> None:
        wrong: list[Any] = [
            None,
            {},
            [],
            {"sha256": None},
            {"sha256": "*"},
            {"sha256": VECTORS[1][1]},
            {"sha256": ""},
        ]
        for hashes in wrong:
            pdu = {**MINIMAL, "hashes": hashes}
            self.assertFalse(has_valid_content_hash(pdu, V1))
            self.assertRaises(ContentHashMismatch, check_content_hash, pdu, V1)

    def test_redacted_copy_does_not_match(self) -> None:
        pdu = {**WITH_CONTENT, "hashes": {"sha256": VECTORS[1][1]}}
        self.assertTrue(has_valid_content_hash(pdu, V1))
        self.assertFalse(has_valid_content_hash(redact_pdu(pdu, V1), V1))


class EventIdTests(SynchronousTestCase):
    def test_id_is_in_the_event_up_to_version_2(self) -> None:
        self.assertEqual(derive_event_id(WITH_CONTENT, V1), "$0:domain")
        self.assertRaises(ValueError, derive_event_id, MINIMAL, V1)
        self.assertRaises(ValueError, event_id_of_hash, b"", V1)

    def test_id_is_the_reference_hash_later(self) -> None:
        pdu = {**MINIMAL, "depth": 33}
        digest = reference_hash(pdu, V4)
        self.assertEqual(derive_event_id(pdu, V3), "$" + encode_base64(digest))
        self.assertEqual(event_id_of_hash(b"\xfb\xff\xfe", V3), "$+//+")
        self.assertEqual(event_id_of_hash(b"\xfb\xff\xfe", V4), "$-__-")

    def test_reference_hash_ignores_what_is_not_essential(self) -> None:
        noisy = {**MINIMAL, "signatures": {"a": {"b": "c"}}, "unsigned": {}, "age_ts": 7, "other": 1}
        noisy["content"] = {"body": "x"}
        self.assertEqual(reference_hash(noisy, V4), reference_hash(MINIMAL, V4))
        self.assertNotEqual(reference_hash({**MINIMAL, "depth": 4}, V4), reference_hash(MINIMAL, V4))
