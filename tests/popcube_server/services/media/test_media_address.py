"""What may stand in an mxc:// URI."""

from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.errors import NotFound
from popcube_server.services.media.media_address import MediaAddress, parse_media_address


class MediaAddressTests(SynchronousTestCase):
    def test_valid_parts_are_taken_as_they_are(self) -> None:
        for server_name in ("one.example", "localhost:8448", "[::1]:80", "1.2.3.4"):
            self.assertEqual(parse_media_address(server_name, "aZ_-09"), MediaAddress(server_name, "aZ_-09"))
        parse_media_address("one.example", "a" * 255)

    def test_impossible_media_ids_are_not_found(self) -> None:
        for media_id in ("", ".", "..", "a/b", "a.b", "a\\b", "a\0", "a\n", "ä", "١", "a" * 256):
            self.assertRaises(NotFound, parse_media_address, "one.example", media_id)

    def test_impossible_server_names_are_not_found(self) -> None:
        for server_name in (
            "",
            "a/b",
            "../one.example",
            "one.example\n",
            "[::1",
            "one.example:x",
            "ä.example",
        ):
            self.assertRaises(NotFound, parse_media_address, server_name, "abc")
