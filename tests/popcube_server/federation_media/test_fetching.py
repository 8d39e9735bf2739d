"""Other servers' media for our users."""

from collections.abc import Iterator
from typing import Any

from federation.transport.errors import TransportError
from federation.transport.https import HttpRequest
from federation.transport.route import Route
from popcube_server.services.media.fetch_remote_media import AT_ONCE, AT_ONCE_PER_SERVER
from tests.popcube_server.rest.client.media_case import NEW, OLD, MediaTestCase
from tests.popcube_server.server_case import ONE, TWO
from tests.support.loop_network import FarAnswer
from tests.support.pictures import given_picture, opened

FAR = "far.example"
CDN = "cdn.example"
HOME = f"{NEW}/download/{FAR}"


def multipart(data: bytes, head: str = "Content-Type: text/plain\r\n", metadata: str = "{}") -> FarAnswer:
    body = (
        f"--b\r\nContent-Type: application/json\r\n\r\n{metadata}\r\n--b\r\n{head}\r\n".encode()
        + data
        + b"\r\n--b--\r\n"
    )
    return answer(body, "multipart/mixed; boundary=b")


def answer(body: bytes, content_type: str = "text/plain", status: int = 200, **headers: str) -> FarAnswer:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    length = {"content-length": str(len(body)), "content-type": content_type}
    return FarAnswer(status, {**length, **more}, iter([body]))


def unrecognized(status: int = 404) -> FarAnswer:
    return answer(b'{"errcode":"M_UNRECOGNIZED"}', "application/json", status)


class FetchingCase(MediaTestCase):
    """`far.example` gives `self.answers`, one after the other; the last one again and again."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.answers: list[Any] = []
        self.asked: list[str] = []
        self.network.far_streams[FAR] = self._answer
        self.network.far_streams[CDN] = self._answer

    def _answer(self, route: Route, request: HttpRequest) -> FarAnswer:
        names = {name.lower() for name in request.headers}
        self.asked.append(f"{route.host_header}{request.uri}{' signed' if 'authorization' in names else ''}")
        made = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        result: FarAnswer = made() if callable(made) else made
        return result

    def advance(self, *, seconds: int) -> None:
        """Let retries and time limits pass."""
        for _ in range(seconds * 2):
            self.clock.advance(0.5)

    def assert_failed(self, path: str, status: int = 502, errcode: str = "M_UNKNOWN") -> None:
        pending = self.begin("GET", path, None, self.alice)
        self.advance(seconds=5)
        self.assert_refusal("GET", path, self.finish(pending), status, errcode)
        self.assertEqual(self.stored_files(), 0)

    def remote_rows(self, server_name: str = ONE) -> int:
        database = self.organisations[server_name].core.database
        return int(database.read_now(lambda tx: tx.value("SELECT COUNT(*) FROM remote_media")))


class FederatedTests(MediaTestCase):
    """Both ends are ours."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob", TWO)

    def media_requests(self) -> list[str]:
        return [uri.partition("?")[0] for _, _, uri in self.network.requests if "/media/" in uri]

    def test_media_are_fetched_once_and_look_as_at_home(self) -> None:
        data = bytes(range(256)) * 1000
        media = self.given_media(self.bob, data, "image/png", "%C3%BC%22.png")
        at_home = self.fetch(f"{NEW}/download/{media}", self.bob)
        for _ in range(2):
            fetched = self.fetch(f"{NEW}/download/{media}", self.alice)
            self.assertEqual(fetched, at_home)
        media_id = media.partition("/")[2]
        self.assertEqual(self.media_requests(), [f"/_matrix/federation/v1/media/download/{media_id}"])
        self.assertEqual((self.stored_files(), self.stored_files(TWO)), (1, 1))

    def test_types_that_could_do_harm_are_attachments(self) -> None:
        media = self.given_media(self.bob, b"<script>", "text/html", "a.html")
        headers = self.fetch(f"{NEW}/download/{media}", self.alice).headers
        self.assertEqual(headers["content-disposition"], 'attachment; filename="a.html"')
        self.assertIn("sandbox", headers["content-security-policy"])

    def test_file_name_in_the_path_replaces_the_uploader_s(self) -> None:
        media = self.given_media(self.bob, b"x", "text/plain", "old.txt")
        headers = self.fetch(f"{NEW}/download/{media}/new.txt", self.alice).headers
        self.assertEqual(headers["content-disposition"], 'inline; filename="new.txt"')

    def test_thumbnail_is_made_here_and_once(self) -> None:
        media = self.given_media(self.bob, given_picture(800, 600), "image/png")
        path = f"{NEW}/thumbnail/{media}?width=90&height=90&method=crop"
        first = self.fetch(path, self.alice)
        self.assertEqual(opened(first.data).size, (96, 96))
        self.network.down.add(TWO)
        self.assertEqual(self.fetch(path, self.alice).data, first.data)
        self.assertEqual((self.stored_files(), self.stored_files(TWO)), (2, 1))
        folder = self.directory / ONE / "media" / "remote"
        self.assertEqual(sum(path.is_file() for path in folder.rglob("*")), 2)

    def test_cached_media_are_there_after_a_restart(self) -> None:
        media = self.given_media(self.bob)
        self.fetch(f"{NEW}/download/{media}", self.alice)
        self.network.down.add(TWO)
        self.restart()
        self.assertEqual(self.fetch(f"{NEW}/download/{media}", self.alice).data, b"data")

    def test_lost_files_are_fetched_again(self) -> None:
        media = self.given_media(self.bob, given_picture(800, 600), "image/png")
        thumbnail = f"{NEW}/thumbnail/{media}?width=90&height=90&method=crop"
        for path in (f"{NEW}/download/{media}", thumbnail):
            first = self.fetch(path, self.alice)
            for file in (self.directory / ONE / "media" / "remote").rglob("*"):
                if file.is_file():
                    file.unlink()
            with self.assertLogs("popcube_server.services.media", "ERROR"):
                self.assertEqual(self.fetch(path, self.alice).data, first.data)

    def test_unknown_media_are_not_found_and_not_asked_for_again(self) -> None:
        path = f"{NEW}/download/{TWO}/unknown"
        self.assert_get_refused(path, self.alice, 404, "M_NOT_FOUND")
        self.assert_get_refused(path, self.alice, 404, "M_NOT_FOUND")
        self.assertEqual(len(self.media_requests()), 1)
        self.clock.advance(61)
        self.assert_get_refused(path, self.alice, 404, "M_NOT_FOUND")
        self.assertEqual(len(self.media_requests()), 2)

    def test_content_that_comes_later_is_waited_for(self) -> None:
        media = self.given_reserved(self.bob)
        path = f"{NEW}/download/{media}"
        self.assert_get_refused(f"{path}?timeout_ms=0", self.alice, 504, "M_NOT_YET_UPLOADED")
        hasty = self.begin("GET", f"{path}?timeout_ms=5000", None, self.alice)
        patient = self.begin("GET", f"{path}?timeout_ms=15000", None, self.alice)
        self.clock.advance(5)
        self.network.flush()
        self.assert_refused(self.finish(hasty), 504, "M_NOT_YET_UPLOADED")
        self.assert_waiting(patient)
        self.ok(self.call("PUT", f"{OLD}/upload/{media}", b"late", self.bob))
        self.network.flush()
        self.assertEqual(self.finish(patient), (200, b"late"))

    def test_nothing_is_fetched_for_those_who_would_not_get_it(self) -> None:
        media = self.given_media(self.bob)
        self.assert_get_refused(f"{OLD}/download/{media}", None, 404, "M_NOT_FOUND")
        self.assert_get_refused(f"{NEW}/download/{media}", None, 401, "M_MISSING_TOKEN")
        self.assert_get_refused(f"{NEW}/download/{media}?allow_remote=false", self.alice, 404, "M_NOT_FOUND")
        self.assertEqual(self.media_requests(), [])
        self.fetch(f"{NEW}/download/{media}", self.alice)
        self.assert_get_refused(f"{OLD}/download/{media}", None, 404, "M_NOT_FOUND")

    def test_requests_at_the_same_time_fetch_once(self) -> None:
        media = self.given_reserved(self.bob)
        waiting = [self.begin("GET", f"{NEW}/download/{media}", None, self.alice) for _ in range(3)]
        gone = waiting.pop(0)
        gone.cancel()
        self.ok(self.call("PUT", f"{OLD}/upload/{media}", b"late", self.bob))
        for pending in waiting:
            self.assertEqual(self.finish(pending), (200, b"late"))
        self.failureResultOf(gone)
        self.assertEqual((len(self.media_requests()), self.stored_files()), (1, 1))


class ThawedTests(FetchingCase):
    extra_configuration = "enable_authenticated_media: false"

    def test_anybody_gets_other_servers_media_if_nothing_is_frozen(self) -> None:
        self.answers = [multipart(b"data")]
        self.assertEqual(self.fetch(f"{OLD}/download/{FAR}/a").data, b"data")
        self.assertEqual(self.fetch(f"{OLD}/download/{FAR}/a?allow_redirect=true").data, b"data")

    def test_what_was_fetched_before_the_freeze_stays_open(self) -> None:
        self.answers = [lambda: multipart(b"data")]
        self.fetch(f"{OLD}/download/{FAR}/a")
        self.extra_configuration = "enable_authenticated_media: true"
        self.restart()
        self.fetch(f"{NEW}/download/{FAR}/b", self.alice)
        self.assertEqual(self.fetch(f"{OLD}/download/{FAR}/a").data, b"data")
        self.assert_get_refused(f"{OLD}/download/{FAR}/b", None, 404, "M_NOT_FOUND")


class OldServerTests(FetchingCase):
    def test_old_endpoint_is_asked_where_there_is_no_other(self) -> None:
        for number, refusal in enumerate(
            (unrecognized(), unrecognized(400), answer(b"no", "text/html", 404))
        ):
            disposition = "attachment; filename=a.png"
            self.answers = [refusal, answer(b"data", "image/png", content_disposition=disposition)]
            self.asked.clear()
            fetched = self.fetch(f"{HOME}/m{number}", self.alice)
            self.assertEqual((fetched.data, fetched.headers["content-type"]), (b"data", "image/png"))
            self.assertEqual(fetched.headers["content-disposition"], 'inline; filename="a.png"')
            query = "allow_remote=false&allow_redirect=true&timeout_ms=20000"
            self.assertEqual(
                self.asked,
                [
                    f"{FAR}/_matrix/federation/v1/media/download/m{number}?timeout_ms=20000 signed",
                    f"{FAR}/_matrix/media/v3/download/{FAR}/m{number}?{query}",
                ],
            )

    def test_oldest_spelling_is_asked_last(self) -> None:
        self.answers = [unrecognized(), unrecognized(), answer(b"data")]
        self.assertEqual(self.fetch(f"{HOME}/a", self.alice).data, b"data")
        self.assertIn("/_matrix/media/r0/download/", self.asked[2])

    def test_other_refusals_end_the_search(self) -> None:
        for number, (status, body, ours) in enumerate(
            (
                (404, b'{"errcode":"M_NOT_FOUND"}', (404, "M_NOT_FOUND")),
                (502, b'{"errcode":"M_TOO_LARGE"}', (502, "M_TOO_LARGE")),
                (413, b'{"errcode":"M_TOO_LARGE"}', (502, "M_TOO_LARGE")),
                (504, b'{"errcode":"M_NOT_YET_UPLOADED"}', (504, "M_NOT_YET_UPLOADED")),
                (403, b'{"errcode":"M_FORBIDDEN"}', (502, "M_UNKNOWN")),
                (429, b'{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":7000}', (429, "M_LIMIT_EXCEEDED")),
                (302, b"", (502, "M_UNKNOWN")),
                (500, b'{"errcode":"M_UNKNOWN"}', (502, "M_UNKNOWN")),
            )
        ):
            self.answers = [answer(body, "application/json", status, location="https://cdn.example/")]
            self.asked.clear()
            self.assert_failed(f"{HOME}/r{number}", *ours)
            self.assertEqual(len(self.asked), 1)

    def test_error_of_a_file_is_no_reason_for_back_off(self) -> None:
        self.answers = [answer(b'{"errcode":"M_NOT_YET_UPLOADED"}', "application/json", 504), multipart(b"x")]
        self.assert_failed(f"{HOME}/a?timeout_ms=0", 504, "M_NOT_YET_UPLOADED")
        self.assertEqual(self.fetch(f"{HOME}/a", self.alice).data, b"x")

    def test_server_that_fails_is_left_alone_for_a_while(self) -> None:
        self.answers = [answer(b"oops", "text/html", 500), multipart(b"data")]
        self.assert_failed(f"{HOME}/a")
        self.assert_failed(f"{HOME}/b")
        self.assertEqual(len(self.asked), 1)

    def test_server_that_is_down_is_left_alone_for_a_while(self) -> None:
        self.network.down.add(FAR)
        self.answers = [multipart(b"data")]
        self.assert_failed(f"{HOME}/a")
        self.network.down.clear()
        self.assert_failed(f"{HOME}/b")
        self.assertEqual(self.asked, [])

    def test_refusal_is_repeated_only_for_as_long_as_the_other_server_says(self) -> None:
        limited = b'{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":7000}'
        self.answers = [answer(limited, "application/json", 429), multipart(b"data")]
        self.assert_get_refused(f"{HOME}/a", self.alice, 429, "M_LIMIT_EXCEEDED")
        self.assert_get_refused(f"{HOME}/a", self.alice, 429, "M_LIMIT_EXCEEDED")
        self.clock.advance(7.1)
        self.assertEqual(self.fetch(f"{HOME}/a", self.alice).data, b"data")


class RedirectTests(FetchingCase):
    def located(self, location: str) -> FarAnswer:
        return multipart(b"", f"Location: {location}\r\n")

    def test_location_of_a_part_is_followed(self) -> None:
        self.answers = [
            self.located(f"https://{CDN}:444/a?b=c"),
            answer(b"", status=307, location="/d"),
            answer(b"data", "image/png", content_disposition='inline; filename="a b.png"'),
        ]
        fetched = self.fetch(f"{HOME}/a", self.alice)
        self.assertEqual((fetched.data, fetched.headers["content-type"]), (b"data", "image/png"))
        self.assertEqual(fetched.headers["content-disposition"], 'inline; filename="a b.png"')
        # Nothing that could prove who we are goes along.
        self.assertEqual(self.asked[1:], [f"{CDN}:444/a?b=c", f"{CDN}:444/d"])

    def test_redirect_of_the_old_endpoint_is_followed(self) -> None:
        self.answers = [unrecognized(), answer(b"", status=308, location=f"https://{CDN}/a"), answer(b"data")]
        self.assertEqual(self.fetch(f"{HOME}/a", self.alice).data, b"data")

    def test_odd_locations_are_not_followed(self) -> None:
        for number, location in enumerate(
            (
                f"http://{CDN}/a",
                "file:///etc/passwd",
                "/relative",
                "https://",
                f"https://user:password@{CDN}/",
                f"https://{CDN}:99999/",
                "https://[::1/",
                f"https://{CDN}/ a",
                f"https://{CDN}/" + "a" * 3000,
                "",
            )
        ):
            self.answers = [self.located(location)]
            self.asked.clear()
            self.assert_failed(f"{HOME}/a{number}")
            self.assertEqual(len(self.asked), 1, location)

    def test_redirects_without_end_are_given_up(self) -> None:
        self.answers = [
            self.located(f"https://{CDN}/a"),
            lambda: answer(b"", status=302, location=f"https://{CDN}/a"),
        ]
        self.assert_failed(f"{HOME}/a")
        self.assertEqual(len(self.asked), 5)

    def test_place_that_does_not_answer_is_not_the_server_s_fault(self) -> None:
        self.answers = [self.located(f"https://{CDN}/a"), lambda: answer(b"no", status=404)]
        self.assert_failed(f"{HOME}/a")
        self.network.down.add(CDN)
        self.answers = [self.located(f"https://{CDN}/a"), multipart(b"data")]
        self.assert_failed(f"{HOME}/b")
        self.assertEqual(self.fetch(f"{HOME}/c", self.alice).data, b"data")


class HostileTests(FetchingCase):
    extra_configuration = "max_upload_size: 100K"

    def test_answers_that_are_no_media_are_refused_and_nothing_is_kept(self) -> None:
        def broken() -> FarAnswer:
            def body() -> Iterator[bytes]:
                yield b"--b\r\n\r\n{}\r\n--b\r\n\r\nsome"
                raise TransportError("broken")

            return FarAnswer(200, {"content-type": "multipart/mixed; boundary=b"}, body())

        mixed = "multipart/mixed; boundary=b"
        for number, made in enumerate(
            (
                answer(b"<html>", "text/html"),
                answer(b"data", "multipart/mixed"),
                answer(b"", mixed),
                answer(b"<html>", mixed),
                answer(b"--b--", mixed),
                answer(b"--b\r\n\r\n{}\r\n--b--", mixed),
                answer(b"--b\r\n\r\n{}\r\n--b\r\n\r\ndata", mixed),
                answer(b"--b\r\n\r\n{}\r\n--b\r\n\r\ndata\r\n--b", mixed),
                answer(b"--b\r\n\r\n{}\r\n--b\r\n\r\na\r\n--b\r\n\r\nb\r\n--b--", mixed),
                answer(b"--b\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", mixed),
                multipart(b"data", metadata="x" * 70_000),
                multipart(b"data", "what is this\r\n"),
                FarAnswer(200, {**multipart(b"").headers, "content-encoding": "gzip"}, multipart(b"x").body),
                broken(),
            )
        ):
            self.answers = [made]
            self.assert_failed(f"{HOME}/h{number}")
        self.assertEqual(self.remote_rows(), 0)

    def test_media_that_are_too_large_are_refused_and_nothing_is_kept(self) -> None:
        def endless() -> FarAnswer:
            def body() -> Iterator[bytes]:
                yield b"--b\r\n\r\n{}\r\n--b\r\n\r\n"
                while True:
                    yield b"x" * 10_000

            return FarAnswer(200, {"content-type": "multipart/mixed; boundary=b"}, body())

        announced = FarAnswer(200, {**multipart(b"").headers, "content-length": "999999"}, iter([]))
        for number, made in enumerate((multipart(b"x" * 102_401), endless(), announced)):
            self.answers = [made]
            self.assert_failed(f"{HOME}/h{number}", 502, "M_TOO_LARGE")
        self.answers = [multipart(b"x" * 102_400)]
        self.assertEqual(len(self.fetch(f"{HOME}/good", self.alice).data), 102_400)

    def test_body_that_drips_is_given_up(self) -> None:
        def drip() -> FarAnswer:
            return FarAnswer(200, {"content-type": "multipart/mixed; boundary=b"}, iter([b"--b\r\n", None]))

        self.answers = [drip]
        pending = self.begin("GET", f"{HOME}/a", None, self.alice)
        self.clock.advance(29)
        self.assert_waiting(pending)
        self.clock.advance(2)
        self.assert_refused(self.finish(pending), 502, "M_UNKNOWN")
        self.assertEqual(self.stored_files(), 0)

    def test_server_that_says_nothing_is_given_up(self) -> None:
        self.network.far_streams.clear()
        self.network.silent.add(FAR)
        pending = self.begin("GET", f"{HOME}/a?timeout_ms=1000", None, self.alice)
        self.advance(seconds=60)
        self.assert_refused(self.finish(pending), 502, "M_UNKNOWN")

    def test_slow_server_keeps_only_its_own_places(self) -> None:
        self.answers = [lambda: FarAnswer(200, multipart(b"").headers, iter([None]))]
        waiting = [self.begin("GET", f"{HOME}/s{number}", None, self.alice) for number in range(AT_ONCE + 1)]
        bob = self.given_user("bob", TWO)
        media = self.given_media(bob)
        self.assertEqual(self.fetch(f"{NEW}/download/{media}", self.alice).data, b"data")
        self.advance(seconds=31 * (AT_ONCE // AT_ONCE_PER_SERVER + 1))
        for pending in waiting:
            self.assert_refused(self.finish(pending), 502, "M_UNKNOWN")

    def test_heads_are_made_safe(self) -> None:
        head = (
            "Content-Type: text/plain; a=\x01\r\nContent-Disposition: inline; filename*=utf-8''%0D%0Aa%00\r\n"
        )
        self.answers = [multipart(b"x", head)]
        headers = self.fetch(f"{HOME}/a", self.alice).headers
        self.assertEqual(headers["content-type"], "application/octet-stream")
        self.assertEqual(headers["content-disposition"], "attachment; filename*=utf-8''%0D%0Aa%00")

    def test_fetch_under_way_ends_with_the_server(self) -> None:
        drips = FarAnswer(200, {"content-type": "multipart/mixed; boundary=b"}, iter([b"--b", None]))
        self.answers = [drips]
        pending = self.begin("GET", f"{HOME}/a", None, self.alice)
        self.close(self.organisations[ONE])
        self.assertEqual(self.finish(pending)[0], 502)


class PictureTests(FetchingCase):
    extra_configuration = "max_image_pixels: 500000"

    def test_picture_with_too_many_pixels_is_refused_like_a_file_that_is_too_large(self) -> None:
        self.answers = [multipart(given_picture(1000, 501), "Content-Type: image/png\r\n")]
        path = f"{NEW}/thumbnail/{FAR}/a?width=9&height=9"
        self.assert_get_refused(path, self.alice, 502, "M_TOO_LARGE")


class AllowanceTests(FetchingCase):
    extra_configuration = "remote_media_download_burst_count: 1000\nremote_media_download_per_second: 100"

    def test_clients_have_an_allowance(self) -> None:
        self.answers = [lambda: multipart(b"x" * 500)]
        self.fetch(f"{HOME}/a", self.alice)
        self.fetch(f"{HOME}/a", self.alice)
        path = f"{HOME}/b"
        self.assert_get_refused(path, self.alice, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(self.stored_files(), 1)
        self.clock.advance(5)
        self.assertEqual(len(self.fetch(path, self.alice).data), 500)

    def test_what_has_no_length_counts_as_it_comes(self) -> None:
        def unsized(size: int) -> FarAnswer:
            sized = multipart(b"x" * size)
            return FarAnswer(200, {"content-type": sized.headers["content-type"]}, sized.body)

        self.answers = [unsized(2000), unsized(500)]
        self.assert_get_refused(f"{HOME}/a", self.alice, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(self.stored_files(), 0)
        self.clock.advance(20)
        self.assertEqual(len(self.fetch(f"{HOME}/b", self.alice).data), 500)

    def test_what_did_not_come_is_given_back(self) -> None:
        self.answers = [
            FarAnswer(
                200,
                {**multipart(b"").headers, "content-length": "900"},
                iter([b"--b\r\n\r\n{}\r\n--b\r\n\r\nsome"]),
            ),
            multipart(b"x" * 700),
        ]
        self.assert_get_refused(f"{HOME}/a", self.alice, 502, "M_UNKNOWN")
        self.fetch(f"{HOME}/b", self.alice)


class PreventedTests(FetchingCase):
    def test_media_of_prevented_servers_are_not_found_also_if_they_are_here(self) -> None:
        self.answers = [multipart(b"data")]
        self.fetch(f"{HOME}/a", self.alice)
        self.extra_configuration = "prevent_media_downloads_from: [FAR.example, one.example]"
        self.restart()
        for path in (f"{HOME}/a", f"{HOME}/b", f"{NEW}/thumbnail/{FAR}/a?width=1&height=1"):
            self.assert_get_refused(path, self.alice, 404, "M_NOT_FOUND")
        self.assertEqual(len(self.asked), 1)
        self.fetch(f"{NEW}/download/{self.given_media(self.alice)}", self.alice)

    def test_servers_we_do_not_talk_to_are_not_asked(self) -> None:
        self.extra_configuration = "federation_domain_whitelist: [two.example]"
        self.restart()
        self.assert_get_refused(f"{HOME}/a", self.alice, 404, "M_NOT_FOUND")
        self.assertEqual(self.asked, [])
