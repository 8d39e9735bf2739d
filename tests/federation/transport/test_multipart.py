"""Reading bodies of several parts: however they are cut, and whatever they hold."""

import random
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from federation.transport.multipart import (
    MAX_HEAD_BYTES,
    MAX_PADDING_BYTES,
    InvalidMultipart,
    MultipartReader,
    PartEnd,
    PartHead,
    parse_boundary,
)

GOOD = (
    b"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n"
    b'--b\r\nContent-Type: text/plain\r\nContent-Disposition: inline; filename="a"\r\n\r\nhello\r\n--b--\r\n'
)
GOOD_PARTS = [
    ({"content-type": "application/json"}, b"{}"),
    ({"content-type": "text/plain", "content-disposition": 'inline; filename="a"'}, b"hello"),
]

Parts = list[tuple[dict[str, str], bytes]]


def read(pieces: Sequence[bytes], boundary: bytes = b"b") -> tuple[Parts, bool]:
    """The parts that came to their end, and whether the body did."""
    reader = MultipartReader(boundary)
    parts: Parts = []
    headers: dict[str, str] | None = None
    data = b""
    for piece in pieces:
        for item in reader.feed(piece):
            match item:
                case PartHead():
                    assert headers is None
                    headers, data = dict(item.headers), b""
                case bytes():
                    assert item and headers is not None
                    data += item
                case PartEnd():
                    assert headers is not None
                    parts.append((headers, data))
                    headers = None
    return parts, reader.is_complete


class MultipartTests(SynchronousTestCase):
    def assert_invalid(self, body: bytes) -> None:
        with self.assertRaises(InvalidMultipart):
            read([body])
        with self.assertRaises(InvalidMultipart):
            read([body[at : at + 1] for at in range(len(body))])

    def test_parts_are_read_however_the_body_is_cut(self) -> None:
        for at in range(len(GOOD) + 1):
            self.assertEqual(read([GOOD[:at], GOOD[at:]]), (GOOD_PARTS, True), at)
        for first in range(len(GOOD)):
            for second in range(first, len(GOOD), 7):
                pieces = [GOOD[:first], GOOD[first:second], GOOD[second:]]
                self.assertEqual(read(pieces), (GOOD_PARTS, True))
        self.assertEqual(read([GOOD[at : at + 1] for at in range(len(GOOD))]), (GOOD_PARTS, True))

    def test_generated_bodies_are_read_as_they_were_written(self) -> None:
        chance = random.Random(3)
        for _ in range(300):
            boundary = b"-" * chance.randrange(3) + b"b-b"[: chance.randrange(1, 4)].strip(b"-") + b"1"
            parts: Parts = []
            body = chance.choice((b"", b"\r\n", b"preamble\r\n"))
            for number in range(chance.randrange(1, 4)):
                # Data that look like beginnings of boundaries.
                data = b"".join(chance.choices((b"\r", b"\n", b"-", b"--", b"\r\n--", b"x"), k=12))
                data = data.replace(b"--" + boundary, b"")
                if b"\r\n--" + boundary in b"\r\n" + data + b"\r\n":
                    data = b""
                parts.append(({"x": str(number)}, data))
                body += b"--" + boundary + b"\r\nX: %d\r\n\r\n" % number + data + b"\r\n"
            body += b"--" + boundary + b"--" + chance.choice((b"", b"\r\n", b"\r\nepilogue"))
            cuts = sorted(chance.randrange(len(body) + 1) for _ in range(5))
            pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
            self.assertEqual(read(pieces, boundary), (parts, True), body)

    def test_body_that_breaks_off_is_not_complete(self) -> None:
        end = GOOD.rindex(b"--\r\n")
        for at in range(end + 2):
            parts, complete = read([GOOD[:at]])
            self.assertFalse(complete, at)
            self.assertEqual(parts, GOOD_PARTS[: len(parts)])

    def test_part_may_have_no_headers_or_no_data(self) -> None:
        self.assertEqual(read([b"--b\r\n\r\nx\r\n--b--"]), ([({}, b"x")], True))
        self.assertEqual(read([b"--b\r\nA: b\r\n\r\n\r\n--b--"]), ([({"a": "b"}, b"")], True))
        # RFC 2046: the empty line belongs to the data, and without data it is the boundary's.
        self.assertEqual(read([b"--b\r\nA: b\r\n\r\n--b--"]), ([({"a": "b"}, b"")], True))
        self.assertEqual(read([b"--b\r\n\r\n--b--"]), ([({}, b"")], True))

    def test_boundary_may_be_followed_by_blanks(self) -> None:
        self.assertEqual(read([b"--b \t\r\n\r\nx\r\n--b--"]), ([({}, b"x")], True))

    def test_other_boundary_never_begins_a_part(self) -> None:
        self.assertEqual(read([GOOD.replace(b"--b", b"--c")]), ([], False))
        self.assertEqual(read([b"<html>"]), ([], False))

    def test_boundary_that_goes_on_is_refused(self) -> None:
        self.assert_invalid(b"--bc\r\n\r\nx")
        self.assert_invalid(b"--b-\r\n\r\nx")
        self.assert_invalid(b"--b\r\n\r\nx\r\n--bc\r\n")
        self.assert_invalid(b"--b\n\nx\n--b--\n")

    def test_what_is_no_header_is_refused(self) -> None:
        for head in (
            b"no colon",
            b": no name",
            b"a b: c",
            b"A: b\r\n folded",
            b"A: b\0c",
            b"A: b\rc",
            b"A\xff: b",
        ):
            self.assert_invalid(b"--b\r\n" + head + b"\r\n\r\nx")

    def test_first_of_a_repeated_header_counts(self) -> None:
        self.assertEqual(read([b"--b\r\nA: 1\r\na: 2\r\n\r\n\r\n--b--"])[0], [({"a": "1"}, b"")])

    def test_nothing_that_never_ends_is_held(self) -> None:
        for start in (b"", b"--b", b"--b\r\nA: ", b"--b\r\n"):
            reader = MultipartReader(b"b")
            with self.assertRaises(InvalidMultipart):
                for _ in range(10):
                    list(reader.feed(start + b" " * (MAX_HEAD_BYTES // 4)))
                    start = b""
        reader = MultipartReader(b"b")
        with self.assertRaises(InvalidMultipart):
            list(reader.feed(b"--b" + b" " * (MAX_PADDING_BYTES + 1) + b"\r\n"))
        headers = b"".join(b"X-%d: y\r\n" % number for number in range(MAX_HEAD_BYTES // 8))
        self.assert_invalid(b"--b\r\n" + headers + b"\r\nx")

    def test_data_are_handed_on_and_not_collected(self) -> None:
        reader = MultipartReader(b"b")
        list(reader.feed(b"--b\r\n\r\n"))
        for _ in range(100):
            taken = b"".join(item for item in reader.feed(b"\r\n--" * 1000) if isinstance(item, bytes))
            self.assertGreater(len(taken), 3990)
        self.assertLess(len(reader._held), 10)


class BoundaryTests(SynchronousTestCase):
    def test_boundary_is_read_from_the_type(self) -> None:
        for text, boundary in (
            ("multipart/mixed; boundary=abc", b"abc"),
            ('Multipart/Mixed;boundary="a b"', b"a b"),
            ('multipart/mixed; charset=utf-8 ; BOUNDARY="a\\=c"; x=y', b"a=c"),
            ("multipart/mixed; boundary=" + "x" * 70, b"x" * 70),
        ):
            self.assertEqual(parse_boundary(text), boundary)

    def test_type_without_a_boundary_is_refused(self) -> None:
        for text in (
            "",
            "text/html; boundary=a",
            "multipart/form-data; boundary=a",
            "multipart/mixed",
            "multipart/mixed; boundary=",
            'multipart/mixed; boundary=""',
            'multipart/mixed; boundary="a "',
            "multipart/mixed; boundary=" + "x" * 71,
            "multipart/mixed; boundary=\u00fc",
            'multipart/mixed; boundary="a\r\nb"',
            "multipart/mixed; x; boundary=a",
            "multipart/mixed boundary=a",
        ):
            with self.assertRaises(InvalidMultipart, msg=text):
                parse_boundary(text)
