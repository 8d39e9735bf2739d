"""What other servers get of our media."""

from typing import Any

from twisted.web.client import readBody
from twisted.web.http_headers import Headers

from federation.transport.multipart import MultipartReader, PartEnd, PartHead, parse_boundary
from federation.transport.x_matrix import build_x_matrix
from popcube_server.services.media.serve_media import DOWNLOADS, THUMBNAILS
from tests.popcube_server.rest.client.media_case import NEW, MediaTestCase
from tests.popcube_server.server_case import NO_LIMITS, ONE, TWO
from tests.support.openapi import specification
from tests.support.pictures import given_picture, opened

PATH = "/_matrix/federation/v1/media"


class ServingCase(MediaTestCase):
    """`two.example` asks `one.example`."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")

    def signed(self, path: str) -> dict[str, str]:
        signer = self.organisations[TWO].core.signer
        return {"Authorization": build_x_matrix(signer, ONE, "GET", path, None)}

    def ask(self, path: str) -> tuple[int, Any]:
        return self.call("GET", path, None, None, self.signed(path))

    def id_of(self, media: str) -> str:
        return media.partition("/")[2]

    def parts(self, path: str) -> list[tuple[dict[str, str], bytes]]:
        """The parts of an answer that must be a success."""
        pending = self.begin("GET", path, None, None, self.signed(path))
        self._agent.flush()
        response = self.successResultOf(pending)
        reading = readBody(response)
        self._agent.flush()
        data = self.successResultOf(reading)
        self.assertEqual((response.code, response.length), (200, len(data)), data)
        headers: Headers = response.headers
        content_type = (headers.getRawHeaders("Content-Type") or [""])[0]
        specification().validate_response("GET", path, 200, None, content_type)
        reader = MultipartReader(parse_boundary(content_type))
        parts: list[tuple[dict[str, str], bytes]] = []
        for item in reader.feed(data):
            match item:
                case PartHead():
                    parts.append((dict(item.headers), b""))
                case PartEnd():
                    pass
                case _:
                    parts[-1] = (parts[-1][0], parts[-1][1] + item)
        self.assertTrue(reader.is_complete)
        return parts

    def assert_ask_refused(self, path: str, status: int, errcode: str) -> None:
        self.assert_refusal("GET", path, self.ask(path), status, errcode)


class DownloadTests(ServingCase):
    def test_content_is_the_second_of_two_parts(self) -> None:
        data = b"\r\n--".join(bytes(range(256)) for _ in range(600))
        media = self.given_media(self.alice, data, "image/png", "%C3%BC.png")
        metadata, content = self.parts(f"{PATH}/download/{self.id_of(media)}")
        self.assertEqual(metadata, ({"content-type": "application/json"}, b"{}"))
        self.assertEqual(
            content,
            (
                {
                    "content-type": "image/png",
                    "content-disposition": "inline; filename*=utf-8''%C3%BC.png",
                },
                data,
            ),
        )

    def test_empty_content_is_an_empty_part(self) -> None:
        media = self.given_media(self.alice, b"", "text/html")
        _, content = self.parts(f"{PATH}/download/{self.id_of(media)}")
        self.assertEqual(content, ({"content-type": "text/html", "content-disposition": "attachment"}, b""))

    def test_request_must_be_signed(self) -> None:
        path = f"{PATH}/download/{self.id_of(self.given_media(self.alice))}"
        self.assertEqual(self.call("GET", path)[0], 401)
        self.assertEqual(self.call("GET", path, None, self.alice)[0], 401)
        self.ok(self.ask(path))

    def test_unknown_media_are_not_found(self) -> None:
        for media_id in ("unknown", "a.b", "..%2Fa", "x" * 256):
            self.assert_ask_refused(f"{PATH}/download/{media_id}", 404, "M_NOT_FOUND")

    def test_media_that_were_fetched_are_not_given_on(self) -> None:
        bob = self.given_user("bob", TWO)
        media = self.given_media(bob)
        self.fetch(f"{NEW}/download/{media}", self.alice)
        self.assert_ask_refused(f"{PATH}/download/{self.id_of(media)}", 404, "M_NOT_FOUND")
        path = f"{PATH}/thumbnail/{self.id_of(media)}?width=1&height=1"
        self.assert_ask_refused(path, 404, "M_NOT_FOUND")

    def test_content_that_comes_later_is_waited_for(self) -> None:
        media = self.given_reserved(self.alice)
        path = f"{PATH}/download/{self.id_of(media)}?timeout_ms=10000"
        self.assert_ask_refused(path.replace("10000", "0"), 504, "M_NOT_YET_UPLOADED")
        pending = self.begin("GET", path, None, None, self.signed(path))
        self.clock.advance(9)
        self.assert_waiting(pending)
        self.ok(self.call("PUT", f"/_matrix/media/v3/upload/{media}", b"late", self.alice))
        self.assertIn(b"\r\n\r\nlate\r\n", self.ok(self.finish(pending)))

    def test_wrong_parameters_are_refused(self) -> None:
        media_id = self.id_of(self.given_media(self.alice))
        self.assert_ask_refused(f"{PATH}/download/{media_id}?timeout_ms=soon", 400, "M_INVALID_PARAM")
        self.assert_ask_refused(f"{PATH}/thumbnail/{media_id}?width=1", 400, "M_MISSING_PARAM")

    def test_requests_under_way_are_limited_by_origin(self) -> None:
        reserved = f"{PATH}/download/{self.id_of(self.given_reserved(self.alice))}"
        path = f"{PATH}/download/{self.id_of(self.given_media(self.alice))}"
        waiting = [
            self.begin("GET", reserved, None, None, self.signed(reserved)) for _ in range(DOWNLOADS.requests)
        ]
        self.assert_ask_refused(path, 429, "M_LIMIT_EXCEEDED")
        self.clock.advance(20)
        for pending in waiting:
            self.assertEqual(self.finish(pending)[0], 504)
        for _ in range(DOWNLOADS.requests + 1):
            self.ok(self.ask(path))

    def test_thumbnails_under_way_are_limited_by_origin(self) -> None:
        reserved = f"{PATH}/thumbnail/{self.id_of(self.given_reserved(self.alice))}?width=1&height=1"
        waiting = [
            self.begin("GET", reserved, None, None, self.signed(reserved)) for _ in range(THUMBNAILS.requests)
        ]
        self.assert_ask_refused(reserved, 429, "M_LIMIT_EXCEEDED")
        self.clock.advance(20)
        for pending in waiting:
            self.assertEqual(self.finish(pending)[0], 504)


class TurnsTests(ServingCase):
    limits = NO_LIMITS.replace("concurrent: 10000", "concurrent: 1")

    def test_waiting_for_an_upload_keeps_nothing_else_waiting(self) -> None:
        path = f"{PATH}/download/{self.id_of(self.given_reserved(self.alice))}"
        waiting = [self.begin("GET", path, None, None, self.signed(path)) for _ in range(3)]
        url = f"/_matrix/federation/v1/query/profile?user_id={self.alice.user_id}"
        self.ok(self.ask(url))
        for pending in waiting:
            self.assert_waiting(pending)
        self.clock.advance(20)
        for pending in waiting:
            self.assertEqual(self.finish(pending)[0], 504)


class ThumbnailTests(ServingCase):
    extra_configuration = "max_image_pixels: 500000"

    def test_thumbnail_is_the_second_of_two_parts(self) -> None:
        media = self.given_media(self.alice, given_picture(600, 500), "image/png")
        path = f"{PATH}/thumbnail/{self.id_of(media)}?width=90&height=90&method=crop&animated=false"
        metadata, (headers, data) = self.parts(path)
        self.assertEqual(metadata, ({"content-type": "application/json"}, b"{}"))
        self.assertEqual(headers["content-disposition"], 'inline; filename="thumbnail.jpeg"')
        self.assertEqual((headers["content-type"], opened(data).size), ("image/jpeg", (96, 96)))

    def test_what_cannot_be_made_smaller_is_refused(self) -> None:
        text = self.given_media(self.alice, b"text")
        path = f"{PATH}/thumbnail/{self.id_of(text)}?width=90&height=90"
        self.assert_ask_refused(path, 400, "M_UNKNOWN")
        large = self.given_media(self.alice, given_picture(1000, 501), "image/png")
        path = f"{PATH}/thumbnail/{self.id_of(large)}?width=90&height=90"
        self.assert_ask_refused(path, 413, "M_TOO_LARGE")


class WhitelistTests(ServingCase):
    extra_configuration = "federation_domain_whitelist: [three.example]"

    def test_servers_we_do_not_talk_to_get_nothing(self) -> None:
        path = f"{PATH}/download/{self.id_of(self.given_media(self.alice))}"
        self.assertEqual(self.ask(path)[0], 403)
