"""Signatures: the specification's vectors, and the key file."""

from typing import Any

from signedjson.key import decode_verify_key_bytes, read_signing_keys
from signedjson.sign import verify_signed_json
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.base64 import decode_base64, encode_base64, encode_base64_url_safe
from federation.room_dag.signing import (
    EventSigner,
    InvalidKeyFile,
    InvalidSignature,
    format_key_file,
    generate_key,
    parse_key_file,
    verify_signature,
)

# Appendices, "Cryptographic Test Vectors".
SEED = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"
KEY = parse_key_file(f"ed25519 1 {SEED}\n")[0]
SIGNER = EventSigner("domain", KEY.key_id, KEY.signing_key)
EMPTY_SIGNATURE = "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"
DATA_SIGNATURE = "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"


class Base64Tests(SynchronousTestCase):
    def test_examples_of_the_specification(self) -> None:
        for data, text in (
            (b"", ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg"),
            (b"fooba", "Zm9vYmE"),
            (b"foobar", "Zm9vYmFy"),
        ):
            self.assertEqual(encode_base64(data), text)
            self.assertEqual(decode_base64(text), data)
            self.assertEqual(decode_base64(text + "=" * (-len(text) % 4)), data)

    def test_both_alphabets_are_read(self) -> None:
        data = b"\xfb\xff\xfe"
        self.assertEqual(encode_base64_url_safe(data), "-__-")
        self.assertEqual(decode_base64("-__-"), data)
        self.assertEqual(decode_base64("+//+"), data)

    def test_other_text_is_refused(self) -> None:
        for text in ("a", "ab c", "é", "ab*d"):
            self.assertRaises(ValueError, decode_base64, text)


class SigningTests(SynchronousTestCase):
    def test_vectors_of_the_specification(self) -> None:
        self.assertEqual(SIGNER.sign_json({}), {"signatures": {"domain": {"ed25519:1": EMPTY_SIGNATURE}}})
        self.assertEqual(
            SIGNER.sign_json({"one": 1, "two": "Two"}),
            {"one": 1, "two": "Two", "signatures": {"domain": {"ed25519:1": DATA_SIGNATURE}}},
        )

    def test_other_signatures_and_unsigned_are_kept_and_not_signed(self) -> None:
        value = {
            "one": 1,
            "two": "Two",
            "unsigned": {"age": 1},
            "signatures": {"other": {"ed25519:x": "sig"}},
        }
        signed = SIGNER.sign_json(value)
        self.assertEqual(signed["signatures"]["domain"]["ed25519:1"], DATA_SIGNATURE)
        self.assertEqual(signed["signatures"]["other"], {"ed25519:x": "sig"})
        self.assertEqual(signed["unsigned"], {"age": 1})
        self.assertEqual(value["signatures"], {"other": {"ed25519:x": "sig"}})

    def test_valid_signature_is_accepted(self) -> None:
        signed = SIGNER.sign_json({"a": "日"})
        verify_signature(signed, "domain", "ed25519:1", SIGNER.verify_key)
        verify_signed_json(signed, "domain", decode_verify_key_bytes("ed25519:1", SIGNER.verify_key))

    def test_everything_else_is_refused(self) -> None:
        signed = SIGNER.sign_json({"a": 1})
        key = SIGNER.verify_key
        good = signed["signatures"]["domain"]["ed25519:1"]

        def refused(
            value: dict[str, Any], name: str = "domain", key_id: str = "ed25519:1", by: bytes = key
        ) -> None:
            self.assertRaises(InvalidSignature, verify_signature, value, name, key_id, by)

        refused({**signed, "a": 2})
        refused(signed, name="other")
        refused(signed, key_id="ed25519:2")
        refused(signed, by=generate_key("x", b"y" * 32).signing_key.verify_key.encode())
        refused(signed, by=b"short")
        for signature in ("", "!", good[:-4], good + "AAAA", 7, None):
            refused({**signed, "signatures": {"domain": {"ed25519:1": signature}}})
        malformed: list[Any] = [None, [], {"domain": None}, {"domain": []}]
        for signatures in malformed:
            refused({**signed, "signatures": signatures})


class KeyFileTests(SynchronousTestCase):
    def test_round_trip_and_agreement_with_signedjson(self) -> None:
        # The last character of the specification's seed has bits that no byte uses.
        text = f"ed25519 a_AbCd {SEED[:-1]}0\n"
        keys = parse_key_file(text)
        self.assertEqual([key.key_id for key in keys], ["ed25519:a_AbCd"])
        self.assertEqual(format_key_file(keys), text)
        (other,) = read_signing_keys([text])
        self.assertEqual(bytes(other), bytes(keys[0].signing_key))

    def test_several_keys_and_blank_lines(self) -> None:
        keys = parse_key_file(f"\ned25519 1 {SEED}\n\n  ed25519 2 {SEED}=  ")
        self.assertEqual([key.key_id for key in keys], ["ed25519:1", "ed25519:2"])

    def test_errors_name_the_line_and_not_the_key(self) -> None:
        for text in (
            "ed25519 1",
            f"rsa 1 {SEED}",
            f"ed25519 a-b {SEED}",
            "ed25519 1 AAAA",
            f"ed25519 1 {SEED}*",
        ):
            error = self.assertRaises(InvalidKeyFile, parse_key_file, "\n" + text)
            self.assertIn("line 2", str(error))
            self.assertNotIn(SEED, str(error))
        self.assertRaises(InvalidKeyFile, parse_key_file, "\n")
