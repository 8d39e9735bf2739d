"""The X-Matrix header: what we send, and everything that others may send."""

from nacl.signing import SigningKey
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.base64 import decode_base64
from federation.room_dag.canonical_json import encode_canonical
from federation.room_dag.signing import EventSigner, verify_bytes, verify_signature
from federation.transport.x_matrix import (
    InvalidHeader,
    XMatrix,
    build_x_matrix,
    parse_x_matrix,
    request_signed_bytes,
)

# The key of the specification's signing examples.
SEED = decode_base64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
SIGNER = EventSigner("origin.hs.example.com", "ed25519:key1", SigningKey(SEED))
WANTED = XMatrix("origin.hs.example.com", "destination.hs.example.com", "ed25519:key1", "ABCDEF...")


class ParseTests(SynchronousTestCase):
    def test_the_example_of_the_specification(self) -> None:
        header = (
            'X-Matrix origin="origin.hs.example.com",destination="destination.hs.example.com",'
            'key="ed25519:key1",sig="ABCDEF..."'
        )
        self.assertEqual(parse_x_matrix(header), WANTED)

    def test_names_in_any_case_and_order_with_spaces_and_empty_members(self) -> None:
        header = (
            'x-MATRIX   SIG = "ABCDEF..." ,, Key="ed25519:key1"\t, destination="destination.hs.example.com"'
            ',Origin="origin.hs.example.com",'
        )
        self.assertEqual(parse_x_matrix(header), WANTED)

    def test_values_need_no_quotes_and_may_have_colons(self) -> None:
        header = (
            "X-Matrix origin=origin.hs.example.com,destination=destination.hs.example.com,"
            "key=ed25519:key1,sig=ABCDEF..."
        )
        self.assertEqual(parse_x_matrix(header), WANTED)

    def test_escaped_characters_are_unescaped(self) -> None:
        header = (
            r'X-Matrix origin="origin.hs\.example.com",destination="destination.hs.example.com",'
            r'key="\ed25519:key1",sig="ABC\"D,=\\E"'
        )
        parsed = parse_x_matrix(header)
        self.assertEqual(parsed.origin, WANTED.origin)
        self.assertEqual((parsed.key_id, parsed.signature), ("ed25519:key1", 'ABC"D,=\\E'))

    def test_unknown_parameters_are_ignored(self) -> None:
        header = 'X-Matrix origin=a,new="x, sig=no",key=b,sig=c'
        self.assertEqual(parse_x_matrix(header), XMatrix("a", None, "b", "c"))

    def test_malformed_headers_are_refused(self) -> None:
        for header in (
            "",
            "X-Matrix",
            "Bearer origin=a,key=b,sig=c",
            "X-Matrix origin=a,key=b",
            'X-Matrix origin="a,key=b,sig=c',
            'X-Matrix origin="a"b,key=b,sig=c',
            "X-Matrix origin=a key=b sig=c",
            "X-Matrix origin=a,key=b,sig=c,origin=d",
            "X-Matrix =a,origin=a,key=b,sig=c",
            'X-Matrix origin=a,key=b,sig="' + "\\" * 5000,
        ):
            with self.assertRaises(InvalidHeader, msg=header):
                parse_x_matrix(header)


class BuildTests(SynchronousTestCase):
    def test_what_is_sent_is_read_again(self) -> None:
        header = build_x_matrix(SIGNER, "two.example:8448", "GET", "/target?a=b", None)
        parsed = parse_x_matrix(header)
        self.assertTrue(
            header.startswith('X-Matrix origin="origin.hs.example.com",destination="two.example:8448",')
        )
        self.assertEqual((parsed.origin, parsed.destination), ("origin.hs.example.com", "two.example:8448"))
        message = encode_canonical(
            {
                "method": "GET",
                "uri": "/target?a=b",
                "origin": "origin.hs.example.com",
                "destination": "two.example:8448",
            }
        )
        verify_bytes(message, parsed.signature, SIGNER.verify_key)

    def test_the_signature_covers_the_body_as_json(self) -> None:
        content = {"b": [1, "\u00e9"], "a": {}}
        header = build_x_matrix(SIGNER, "d.example", "PUT", "/x", encode_canonical(content))
        request = {
            "method": "PUT",
            "uri": "/x",
            "origin": "origin.hs.example.com",
            "destination": "d.example",
            "content": content,
            "signatures": {"origin.hs.example.com": {"ed25519:key1": parse_x_matrix(header).signature}},
        }
        verify_signature(request, "origin.hs.example.com", "ed25519:key1", SIGNER.verify_key)

    def test_spliced_bytes_are_canonical_json(self) -> None:
        content = {"z": 1, "a": "\n"}
        spliced = request_signed_bytes("o", "d", "POST", '/"\u2028', encode_canonical(content))
        whole = {"origin": "o", "destination": "d", "method": "POST", "uri": '/"\u2028', "content": content}
        self.assertEqual(spliced, encode_canonical(whole))
