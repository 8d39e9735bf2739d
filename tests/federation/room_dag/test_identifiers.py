"""The grammar of identifiers."""

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.identifiers import (
    InvalidIdentifier,
    ServerName,
    check_new_user_id,
    domain_of,
    is_compliant_user_id,
    is_event_id,
    is_new_localpart,
    is_room_alias,
    is_room_id,
    is_server_name,
    is_user_id,
    localpart_of,
    parse_server_name,
    parse_user_id,
)


class ServerNameTests(SynchronousTestCase):
    def test_examples_of_the_specification(self) -> None:
        for name, expected in (
            ("matrix.org", ServerName("matrix.org", None)),
            ("matrix.org:8888", ServerName("matrix.org", 8888)),
            ("1.2.3.4", ServerName("1.2.3.4", None)),
            ("1.2.3.4:1234", ServerName("1.2.3.4", 1234)),
            ("[1234:5678::abcd]", ServerName("1234:5678::abcd", None)),
            ("[1234:5678::abcd]:5678", ServerName("1234:5678::abcd", 5678)),
            ("localhost", ServerName("localhost", None)),
        ):
            self.assertEqual(parse_server_name(name), expected)
            self.assertTrue(is_user_id(f"@a:{name}"), name)

    def test_limits_are_inclusive(self) -> None:
        for name in ("255.255.255.255", "a:65535", "a:59999", "a:60000", "1.2.3.4.5", "0.0.0.0:0", "1.2.3"):
            self.assertTrue(is_server_name(name), name)
            self.assertTrue(is_user_id(f"@a:{name}"), name)
        self.assertTrue(is_server_name("a" * 255))

    def test_other_strings_are_refused(self) -> None:
        for name in (
            "",
            ":80",
            "a:",
            "a:123456",
            "a:65536",
            "a:x",
            "a:１",
            "a b",
            "a_b",
            "exämple.org",
            "1.2.3.256",
            "1234:5678::abcd",
            "[::1",
            "[::g]",
            "[1::2::3]",
            "[]",
            "[fe80::1%eth0]",
            "a\n",
            "a/b",
            "user@host",
            "a" * 256,
        ):
            self.assertFalse(is_server_name(name), name)
            self.assertFalse(is_user_id(f"@a:{name}"), name)


class UserIdTests(SynchronousTestCase):
    def test_new_users_have_the_narrow_grammar(self) -> None:
        check_new_user_id("@a.b_c=d-e/f+0:example.org")
        for user_id in ("@A:example.org", "@ä:example.org", "@:example.org", "@a b:example.org"):
            self.assertRaises(InvalidIdentifier, check_new_user_id, user_id)
        self.assertFalse(is_new_localpart("a\n"))

    def test_historical_users_are_accepted(self) -> None:
        for user_id in ("@A:example.org", "@ä b\x07:example.org", "@:example.org", "@a:[::1]:8448"):
            self.assertTrue(is_user_id(user_id), user_id)

    def test_other_strings_are_refused(self) -> None:
        for user_id in (
            "",
            "@",
            "a:example.org",
            "@a",
            "@a:",
            "@a:b:c",
            "@a\0:b",
            "#a:b",
            "@\ud800:b",
            "@a:b c",
        ):
            self.assertFalse(is_user_id(user_id), user_id)

    def test_255_bytes_are_the_limit(self) -> None:
        self.assertTrue(is_user_id("@" + "a" * 252 + ":b"))
        self.assertFalse(is_user_id("@" + "a" * 253 + ":b"))
        self.assertTrue(is_user_id("@" + "ä" * 126 + ":b"))
        self.assertFalse(is_user_id("@" + "ä" * 127 + ":b"))

    def test_compliant_users_are_printable(self) -> None:
        self.assertTrue(is_compliant_user_id("@A~:example.org"))
        for user_id in ("@ä:example.org", "@:example.org", "@a b:example.org", "alice"):
            self.assertFalse(is_compliant_user_id(user_id), user_id)

    def test_parts(self) -> None:
        self.assertEqual(parse_user_id("@a:b.example:80"), ("a", "b.example:80"))
        self.assertEqual(domain_of("@a:b.example:80"), "b.example:80")
        self.assertEqual(localpart_of("@a:b.example:80"), "a")
        for identifier in ("!hash", "@a:", ""):
            self.assertRaises(InvalidIdentifier, domain_of, identifier)
        self.assertRaises(InvalidIdentifier, localpart_of, "@a")


class OtherIdentifierTests(SynchronousTestCase):
    def test_room_ids_with_and_without_domain(self) -> None:
        self.assertTrue(is_room_id("!opaque:example.org"))
        self.assertTrue(is_room_id("!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ"))
        for room_id in ("", "!", "opaque:example.org", "#a:b", "!a\0:b", "!" + "a" * 255):
            self.assertFalse(is_room_id(room_id), room_id)

    def test_aliases_need_a_domain(self) -> None:
        self.assertTrue(is_room_alias("#a room:example.org"))
        for alias in ("#a", "#a:", "a:b", "#a:b:c", "#" + "a" * 255 + ":b"):
            self.assertFalse(is_room_alias(alias), alias)

    def test_event_ids(self) -> None:
        self.assertTrue(is_event_id("$abc:example.org"))
        self.assertTrue(is_event_id("$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk"))
        for event_id in ("", "$", "abc", "$" + "a" * 255):
            self.assertFalse(is_event_id(event_id), event_id)
