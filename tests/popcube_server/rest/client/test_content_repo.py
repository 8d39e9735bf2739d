"""Uploads, downloads with and without login, and content that comes later than its ID."""

from collections.abc import Sequence
from typing import Any

from tests.popcube_server.rest.client.media_case import NEW, OLD, MediaTestCase
from tests.popcube_server.server_case import NO_LIMITS
from tests.support.openapi import specification

DAY_S = 24 * 3600


class UploadTests(MediaTestCase):
    extra_configuration = "max_upload_size: 2K"

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")

    def test_upload_is_downloaded_as_it_was(self) -> None:
        data = bytes(range(256)) * 8
        media = self.given_media(self.alice, data, "image/png", "cat.png")
        fetched = self.fetch(f"{NEW}/download/{media}", self.alice)
        self.assertEqual(fetched.data, data)
        self.assertEqual(fetched.headers["content-type"], "image/png")
        self.assertEqual(fetched.length, 2048)
        self.assertEqual(fetched.headers["content-disposition"], 'inline; filename="cat.png"')

    def test_download_is_safe_to_show(self) -> None:
        headers = self.fetch(f"{NEW}/download/{self.given_media(self.alice)}", self.alice).headers
        self.assertIn("sandbox", headers["content-security-policy"])
        self.assertEqual(headers["cross-origin-resource-policy"], "cross-origin")
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertIn("private", headers["cache-control"])

    def test_types_that_could_do_harm_are_attachments(self) -> None:
        for content_type in (
            "text/html",
            "image/svg+xml",
            "application/pdf",
            "TEXT/HTML; charset=utf-8",
            "x/y",
        ):
            media = self.given_media(self.alice, b"<script>", content_type, "page.html")
            headers = self.fetch(f"{NEW}/download/{media}", self.alice).headers
            self.assertEqual(headers["content-disposition"], 'attachment; filename="page.html"')
            self.assertEqual(headers["content-type"], content_type)

    def test_safe_type_with_parameters_is_shown(self) -> None:
        media = self.given_media(self.alice, b"hello", "Text/Plain; charset=utf-8")
        headers = self.fetch(f"{NEW}/download/{media}", self.alice).headers
        self.assertEqual(headers["content-disposition"], "inline")

    def test_type_that_is_missing_or_none_at_all_is_octet_stream(self) -> None:
        for content_type in (None, "image", "text/plain; a=\x01", "a/b" + "c" * 300):
            media = self.given_media(self.alice, b"", content_type)
            headers = self.fetch(f"{NEW}/download/{media}", self.alice).headers
            self.assertEqual(headers["content-type"], "application/octet-stream")
            self.assertEqual(headers["content-disposition"], "attachment")

    def test_file_name_cannot_leave_its_header(self) -> None:
        for sent, header in (
            ("a%22b%5C.txt", 'inline; filename="a\\"b\\\\.txt"'),
            ("%C3%BC.txt", "inline; filename*=utf-8''%C3%BC.txt"),
            ("a%0D%0ASet-Cookie%3A%20b%00", "inline; filename*=utf-8''a%0D%0ASet-Cookie%3A%20b%00"),
        ):
            media = self.given_media(self.alice, b"x", "text/plain", sent)
            self.assertEqual(
                self.fetch(f"{NEW}/download/{media}", self.alice).headers["content-disposition"], header
            )

    def test_file_name_in_the_path_replaces_the_uploader_s(self) -> None:
        media = self.given_media(self.alice, b"x", "text/plain", "old.txt")
        headers = self.fetch(f"{NEW}/download/{media}/new%2Fname.txt", self.alice).headers
        self.assertEqual(headers["content-disposition"], 'inline; filename="new/name.txt"')

    def test_file_name_that_is_too_long_is_refused(self) -> None:
        path = f"{OLD}/upload?filename={'a' * 1025}"
        answer = self.call("POST", path, b"x", self.alice)
        self.assert_refusal("POST", path, answer, 400, "M_INVALID_PARAM")
        self.assertEqual(self.stored_files(), 0)
        media = self.given_media(self.alice, b"x", "text/plain", "a" * 1024)
        self.assert_get_refused(f"{NEW}/download/{media}/{'a' * 1025}", self.alice, 400, "M_INVALID_PARAM")

    def test_upload_that_is_too_large_is_refused(self) -> None:
        self.given_media(self.alice, b"x" * 2048)
        answer = self.call("POST", f"{OLD}/upload", b"x" * 2049, self.alice)
        self.assert_refusal("POST", f"{OLD}/upload", answer, 413, "M_TOO_LARGE")
        self.assertEqual(self.stored_files(), 1)

    def test_upload_needs_a_login(self) -> None:
        answer = self.call("POST", f"{OLD}/upload", b"x")
        self.assert_refusal("POST", f"{OLD}/upload", answer, 401, "M_MISSING_TOKEN")
        self.assertEqual(self.stored_files(), 0)

    def test_media_are_there_after_a_restart(self) -> None:
        media = self.given_media(self.alice, b"kept")
        self.restart()
        self.assertEqual(self.fetch(f"{NEW}/download/{media}", self.alice).data, b"kept")

    def test_ids_are_new_each_time(self) -> None:
        self.assertNotEqual(self.given_media(self.alice), self.given_media(self.alice))

    def test_configuration_tells_the_limit(self) -> None:
        for path in (f"{NEW}/config", f"{OLD}/config"):
            answer = self.ok(self.get(path, self.alice))
            self.assertEqual(answer, {"m.upload.size": 2048})
            specification().validate_response("GET", path, 200, answer)
            self.assert_get_refused(path, None, 401, "M_MISSING_TOKEN")


class DownloadTests(MediaTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.media = self.given_media(self.alice)

    def test_download_needs_a_login(self) -> None:
        self.assert_get_refused(f"{NEW}/download/{self.media}", None, 401, "M_MISSING_TOKEN")
        self.assert_get_refused(f"{NEW}/download/{self.media}/a.txt", None, 401, "M_MISSING_TOKEN")

    def test_new_media_are_not_given_without_login(self) -> None:
        for path in (
            f"{OLD}/download/{self.media}",
            f"{OLD}/download/{self.media}/a.txt",
            f"{OLD}/thumbnail/{self.media}?width=1&height=1",
        ):
            self.assert_get_refused(path, None, 404, "M_NOT_FOUND")
            self.assert_get_refused(path, self.alice, 404, "M_NOT_FOUND")

    def test_any_user_may_download(self) -> None:
        self.assertEqual(self.fetch(f"{NEW}/download/{self.media}", self.given_user("bob")).data, b"data")

    def test_unknown_media_are_not_found(self) -> None:
        self.assert_get_refused(f"{NEW}/download/one.example/unknown", self.alice, 404, "M_NOT_FOUND")

    def test_media_of_one_organization_are_unknown_to_the_other(self) -> None:
        dan = self.given_user("dan", "two.example")
        media_id = self.media.partition("/")[2]
        self.assert_get_refused(f"{NEW}/download/two.example/{media_id}", dan, 404, "M_NOT_FOUND")
        # By their own address they are fetched, as from any server.
        self.assert_get_refused(f"{NEW}/download/{self.media}?allow_remote=false", dan, 404, "M_NOT_FOUND")
        path = f"{NEW}/thumbnail/two.example/{media_id}?width=1&height=1"
        self.assert_get_refused(path, dan, 404, "M_NOT_FOUND")
        self.assertEqual((self.stored_files(), self.stored_files("two.example")), (1, 0))

    def test_impossible_addresses_are_not_found(self) -> None:
        secret = self.directory / "one.example" / "media" / "secret"
        secret.write_text("secret")
        media_id = self.media.partition("/")[2]
        for address in (
            "one.example/..%2Fsecret",
            "one.example/%2E%2E%2Fsecret",
            "one.example/a.b",
            "one.example/%00",
            f"..%2Fone.example/{media_id}",
            f"one.example%2F..%2Fone.example/{media_id}",
            f"%5B%3A%3A/{media_id}",
            "one.example/" + "a" * 256,
        ):
            self.assert_get_refused(f"{NEW}/download/{address}", self.alice, 404, "M_NOT_FOUND")

    def test_parameters_of_the_wrong_kind_are_refused(self) -> None:
        for query in ("timeout_ms=soon", "timeout_ms=-1", "allow_remote=maybe"):
            self.assert_get_refused(
                f"{NEW}/download/{self.media}?{query}", self.alice, 400, "M_INVALID_PARAM"
            )

    def test_file_that_the_store_lost_is_not_found(self) -> None:
        for path in (self.directory / "one.example" / "media" / "files").rglob("*"):
            if path.is_file():
                path.unlink()
        with self.assertLogs("popcube_server.services.media.find_media", "ERROR"):
            self.assert_get_refused(f"{NEW}/download/{self.media}", self.alice, 404, "M_NOT_FOUND")


class ThawedMediaTests(MediaTestCase):
    extra_configuration = "enable_authenticated_media: false"

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.media = self.given_media(self.alice, b"old", "text/plain", "old.txt")

    def test_download_needs_no_login(self) -> None:
        fetched = self.fetch(f"{OLD}/download/{self.media}")
        self.assertEqual(
            (fetched.data, fetched.headers["content-disposition"]), (b"old", 'inline; filename="old.txt"')
        )
        fetched = self.fetch(f"{OLD}/download/{self.media}/new.txt")
        self.assertEqual(fetched.headers["content-disposition"], 'inline; filename="new.txt"')

    def test_older_spellings_of_the_path_work(self) -> None:
        for version in ("r0", "v1"):
            self.assertEqual(self.ok(self.get(f"/_matrix/media/{version}/download/{self.media}")), b"old")

    def test_media_from_before_the_freeze_stay_open(self) -> None:
        self.extra_configuration = "enable_authenticated_media: true"
        self.restart()
        new = self.given_media(self.alice)
        self.assertEqual(self.fetch(f"{OLD}/download/{self.media}").data, b"old")
        self.assert_get_refused(f"{OLD}/download/{new}", None, 404, "M_NOT_FOUND")

    def test_frozen_media_open_when_the_operator_says_so(self) -> None:
        self.extra_configuration = "enable_authenticated_media: true"
        self.restart()
        new = self.given_media(self.alice)
        self.extra_configuration = "enable_authenticated_media: false"
        self.restart()
        self.assertEqual(self.fetch(f"{OLD}/download/{new}").data, b"data")


class LaterContentTests(MediaTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob")
        self.media = self.given_reserved(self.alice)
        self.path = f"{OLD}/upload/{self.media}"

    def test_content_comes_later(self) -> None:
        answer = self.ok(
            self.call(
                "PUT", f"{self.path}?filename=a.txt", b"late", self.alice, {"Content-Type": "text/plain"}
            )
        )
        specification().validate_response("PUT", self.path, 200, answer)
        fetched = self.fetch(f"{NEW}/download/{self.media}", self.bob)
        self.assertEqual((fetched.data, fetched.headers["content-type"]), (b"late", "text/plain"))
        self.assertEqual(fetched.headers["content-disposition"], 'inline; filename="a.txt"')

    def test_content_comes_once(self) -> None:
        self.ok(self.call("PUT", self.path, b"first", self.alice))
        answer = self.call("PUT", self.path, b"second", self.alice)
        self.assert_refusal("PUT", self.path, answer, 409, "M_CANNOT_OVERWRITE_MEDIA")
        self.assertEqual(self.fetch(f"{NEW}/download/{self.media}", self.bob).data, b"first")
        self.assertEqual(self.stored_files(), 1)

    def test_finished_upload_is_not_overwritten(self) -> None:
        path = f"{OLD}/upload/{self.given_media(self.alice)}"
        answer = self.call("PUT", path, b"second", self.alice)
        self.assert_refusal("PUT", path, answer, 409, "M_CANNOT_OVERWRITE_MEDIA")

    def test_only_the_user_who_created_the_id_uploads_to_it(self) -> None:
        answer = self.call("PUT", self.path, b"mine", self.bob)
        self.assert_refusal("PUT", self.path, answer, 403, "M_FORBIDDEN")
        self.ok(self.call("PUT", self.path, b"hers", self.alice))

    def test_id_that_nobody_created_is_not_found(self) -> None:
        media_id = self.media.partition("/")[2]
        for address in ("one.example/unknown", "one.example/a.b", f"two.example/{media_id}"):
            path = f"{OLD}/upload/{address}"
            answer = self.call("PUT", path, b"data", self.alice)
            self.assert_refusal("PUT", path, answer, 404, "M_NOT_FOUND")
        self.assertEqual(self.stored_files(), 0)

    def test_expired_id_is_not_found(self) -> None:
        self.clock.advance(DAY_S)
        answer = self.call("PUT", self.path, b"data", self.alice)
        self.assert_refusal("PUT", self.path, answer, 404, "M_NOT_FOUND")
        self.assert_get_refused(f"{NEW}/download/{self.media}", self.bob, 404, "M_NOT_FOUND")
        self.assertEqual(self.stored_files(), 0)

    def test_download_waits_for_the_content(self) -> None:
        pending = self.begin("GET", f"{NEW}/download/{self.media}?timeout_ms=10000", None, self.bob)
        self.clock.advance(9)
        self.assert_waiting(pending)
        waiting = self._timers_at(1)
        self.ok(self.call("PUT", self.path, b"late", self.alice))
        self.assertEqual(self.finish(pending), (200, b"late"))
        # The timer of the wait is gone with it; others may end at the same time.
        self.assertEqual(self._timers_at(1), waiting - 1)

    def _timers_at(self, seconds: float) -> int:
        """How many timers end in just so many seconds."""
        end = self.clock.seconds() + seconds
        calls: Sequence[Any] = self.clock.getDelayedCalls()
        return sum(abs(call.getTime() - end) < 0.001 for call in calls)

    def test_download_does_not_wait_for_ever(self) -> None:
        path = f"{NEW}/download/{self.media}"
        for query, wait_s in (("", 20), ("?timeout_ms=500", 0.5), ("?timeout_ms=999999999", 60)):
            pending = self.begin("GET", path + query, None, self.bob)
            self.clock.advance(wait_s - 0.1)
            self.assert_waiting(pending)
            self.clock.advance(0.1)
            self.assert_refusal("GET", path, self.finish(pending), 504, "M_NOT_YET_UPLOADED")
        self.assert_get_refused(f"{path}?timeout_ms=0", self.bob, 504, "M_NOT_YET_UPLOADED")

    def test_thumbnail_waits_like_a_download(self) -> None:
        path = f"{NEW}/thumbnail/{self.media}?width=1&height=1&timeout_ms=0"
        self.assert_get_refused(path, self.bob, 504, "M_NOT_YET_UPLOADED")

    def test_download_that_waits_is_answered_when_the_server_stops(self) -> None:
        pending = self.begin("GET", f"{NEW}/download/{self.media}", None, self.bob)
        self.close(self.organisations["one.example"])
        self._agent.flush()
        self.assertEqual(self.finish(pending)[0], 504)

    def test_ids_without_content_are_limited_per_user(self) -> None:
        for _ in range(4):
            self.given_reserved(self.alice)
        answer = self.post("/_matrix/media/v1/create", {}, self.alice)
        self.assert_refusal("POST", "/_matrix/media/v1/create", answer, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(answer[1]["retry_after_ms"], DAY_S * 1000)
        self.given_reserved(self.bob)
        self.ok(self.call("PUT", self.path, b"data", self.alice))
        self.given_reserved(self.alice)

    def test_reserving_needs_a_login(self) -> None:
        answer = self.post("/_matrix/media/v1/create", {})
        self.assert_refusal("POST", "/_matrix/media/v1/create", answer, 401, "M_MISSING_TOKEN")


class ReservationRateTests(MediaTestCase):
    extra_configuration = "rc_media_create: {per_second: 1, burst_count: 2}\nmax_pending_media_uploads: 100"

    def test_ids_are_not_created_too_quickly(self) -> None:
        alice = self.given_user("alice")
        self.given_reserved(alice)
        self.given_reserved(alice)
        answer = self.post("/_matrix/media/v1/create", {}, alice)
        self.assert_refusal("POST", "/_matrix/media/v1/create", answer, 429, "M_LIMIT_EXCEEDED")
        self.clock.advance(1.1)
        self.given_reserved(alice)


class QuotaTests(MediaTestCase):
    limits = NO_LIMITS
    extra_configuration = "media_upload_limits: [{time_period: 1h, max_size: 100}]"

    def test_user_uploads_no_more_than_the_quota(self) -> None:
        alice = self.given_user("alice")
        reserved = self.given_reserved(alice)
        self.given_media(alice, b"x" * 60)
        answer = self.call("POST", f"{OLD}/upload", b"x" * 41, alice)
        self.assert_refusal("POST", f"{OLD}/upload", answer, 403, "M_FORBIDDEN")
        path = f"{OLD}/upload/{reserved}"
        self.assert_refusal("PUT", path, self.call("PUT", path, b"x" * 41, alice), 403, "M_FORBIDDEN")
        self.assertEqual(self.stored_files(), 1)
        self.ok(self.call("PUT", path, b"x" * 40, alice))
        self.given_media(self.given_user("bob"), b"x" * 100)
        self.clock.advance(3600)
        self.given_media(alice, b"x" * 100)


class NoMediaTests(MediaTestCase):
    extra_configuration = "enable_media_repo: false"

    def test_without_media_repository_there_are_no_endpoints(self) -> None:
        alice = self.given_user("alice")
        self.assert_refused(self.call("POST", f"{OLD}/upload", b"x", alice), 404, "M_UNRECOGNIZED")
        self.assert_refused(self.get(f"{NEW}/config", alice), 404, "M_UNRECOGNIZED")
