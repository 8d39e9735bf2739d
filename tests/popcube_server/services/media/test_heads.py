"""Types and names that strangers give."""

from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.media.content_type import UNKNOWN_TYPE, clean_content_type
from popcube_server.services.media.file_name import MAX_FILE_NAME_BYTES, parse_file_name


class ContentTypeTests(SynchronousTestCase):
    def test_types_are_kept_as_they_are(self) -> None:
        for text in ("image/png", "Text/Plain; charset=utf-8", " a/b\t"):
            self.assertEqual(clean_content_type(text), text.strip())

    def test_what_is_no_type_is_unknown(self) -> None:
        for text in (None, "", "image", "a/b\r\nX: y", "a/b; \x01", "a/\u00fc", "a/b" + "c" * 253):
            self.assertEqual(clean_content_type(text), UNKNOWN_TYPE)


class FileNameTests(SynchronousTestCase):
    def test_names_are_read(self) -> None:
        for header, name in (
            ("inline; filename=a.txt", "a.txt"),
            ('attachment; FileName="a \\"b\\\\;=.txt" ; x=y', 'a "b\\;=.txt'),
            ("inline; filename*=UTF-8''%C3%BC.txt", "\u00fc.txt"),
            ("inline; filename*=utf-8'en'a; filename=b", "a"),
            ("inline; filename=b; filename*=utf-8''a", "a"),
            ("inline; filename=b; filename*=latin-1''a", "b"),
            ("inline; filename=b; filename*=utf-8''%FF", "b"),
            ('inline; filename="\u00c3\u00bc"', "\u00fc"),
            ("inline; filename=first; filename=second", "first"),
            ("inline; filename=" + "a" * MAX_FILE_NAME_BYTES, "a" * MAX_FILE_NAME_BYTES),
        ):
            self.assertEqual(parse_file_name(header), name, header)

    def test_what_is_no_name_is_none(self) -> None:
        for header in (
            None,
            "",
            "inline",
            "inline;",
            "inline; filename=",
            'inline; filename=""',
            'inline; filename="open',
            "inline; filename*=a",
            'inline; filename="\u00fc"',
            "inline, filename=a",
            "inline; filename=" + "a" * (MAX_FILE_NAME_BYTES + 1),
        ):
            self.assertIsNone(parse_file_name(header), header)
