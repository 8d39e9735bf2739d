"""Thumbnails as clients get them."""

from tests.popcube_server.rest.client.media_case import NEW, OLD, MediaTestCase
from tests.support.pictures import given_animation, given_picture, opened


class ThumbnailTests(MediaTestCase):
    extra_configuration = "max_image_pixels: 500000\nenable_authenticated_media: false"

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.media = self.given_media(self.alice, given_picture(800, 600), "image/png", "cat.png")

    def path(self, query: str, media: str | None = None) -> str:
        return f"{NEW}/thumbnail/{media or self.media}?{query}"

    def test_thumbnail_has_a_fixed_size_that_holds_what_is_asked(self) -> None:
        fetched = self.fetch(self.path("width=300&height=200&method=scale"), self.alice)
        self.assertEqual(opened(fetched.data).size, (320, 240))
        self.assertEqual(fetched.headers["content-type"], "image/jpeg")
        self.assertEqual(fetched.headers["content-disposition"], 'inline; filename="thumbnail.jpeg"')
        self.assertIn("sandbox", fetched.headers["content-security-policy"])

    def test_method_is_scale_unless_told_otherwise(self) -> None:
        self.assertEqual(
            opened(self.fetch(self.path("width=90&height=90"), self.alice).data).size, (320, 240)
        )
        crop = self.fetch(self.path("width=90&height=90&method=crop"), self.alice)
        self.assertEqual(opened(crop.data).size, (96, 96))

    def test_thumbnail_is_made_once(self) -> None:
        first = self.fetch(self.path("width=32&height=32&method=crop"), self.alice)
        self.assertEqual(self.stored_files(), 2)
        self.restart()
        # Without the original nothing could be made.
        store = self.directory / "one.example" / "media"
        max(
            (path for path in store.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
        ).unlink()
        again = self.fetch(self.path("width=30&height=30&method=crop"), self.alice)
        self.assertEqual(again.data, first.data)

    def test_requests_for_more_than_there_is_get_the_original(self) -> None:
        fetched = self.fetch(self.path("width=5000&height=5000"), self.alice)
        self.assertEqual(opened(fetched.data).size, (800, 600))
        self.assertEqual(fetched.headers["content-type"], "image/png")
        self.assertEqual(self.stored_files(), 1)

    def test_animation_moves_only_if_asked_for(self) -> None:
        media = self.given_media(self.alice, given_animation(640, 480, 3), "image/gif")
        query = "width=320&height=240"
        for animated, content_type in (
            (query, "image/jpeg"),
            (f"{query}&animated=false", "image/jpeg"),
            (f"{query}&animated=true", "image/webp"),
        ):
            fetched = self.fetch(self.path(animated, media), self.alice)
            self.assertEqual(
                (fetched.headers["content-type"], opened(fetched.data).size), (content_type, (320, 240))
            )

    def test_old_path_gives_thumbnails_too(self) -> None:
        fetched = self.fetch(f"{OLD}/thumbnail/{self.media}?width=96&height=96&method=crop")
        self.assertEqual(opened(fetched.data).size, (96, 96))

    def test_thumbnail_needs_a_login(self) -> None:
        self.assert_get_refused(self.path("width=1&height=1"), None, 401, "M_MISSING_TOKEN")

    def test_sizes_must_be_given_and_positive(self) -> None:
        self.assert_get_refused(self.path("width=10"), self.alice, 400, "M_MISSING_PARAM")
        self.assert_get_refused(self.path("height=10"), self.alice, 400, "M_MISSING_PARAM")
        for query in (
            "width=0&height=10",
            "width=10&height=-1",
            "width=1.5&height=10",
            "width=a&height=1",
            "width=1&height=1&method=stretch",
            "width=1&height=1&animated=1",
        ):
            self.assert_get_refused(self.path(query), self.alice, 400, "M_INVALID_PARAM")

    def test_content_that_is_no_picture_is_refused(self) -> None:
        picture = given_picture(800, 600, "JPEG")
        for data in (b"", b"text", b"<svg/>", picture[:200], b"\x89PNG\r\n\x1a\n" + b"\0" * 100):
            media = self.given_media(self.alice, data, "image/png")
            self.assert_get_refused(self.path("width=10&height=10", media), self.alice, 400, "M_UNKNOWN")

    def test_picture_with_too_many_pixels_is_refused(self) -> None:
        media = self.given_media(self.alice, given_picture(1000, 501), "image/png")
        files = self.stored_files()
        self.assert_get_refused(self.path("width=10&height=10", media), self.alice, 413, "M_TOO_LARGE")
        self.assertEqual(self.stored_files(), files)
        fitting = self.given_media(self.alice, given_picture(1000, 500), "image/png")
        self.fetch(self.path("width=10&height=10", fitting), self.alice)

    def test_picture_is_known_by_its_content_not_by_what_the_uploader_says(self) -> None:
        media = self.given_media(self.alice, given_picture(20, 20), "text/html")
        fetched = self.fetch(self.path("width=32&height=32", media), self.alice)
        self.assertEqual(fetched.headers["content-type"], "image/png")


class DynamicThumbnailTests(MediaTestCase):
    extra_configuration = "dynamic_thumbnails: true"

    def test_thumbnail_has_the_size_that_is_asked_for(self) -> None:
        alice = self.given_user("alice")
        media = self.given_media(alice, given_picture(800, 600), "image/png")
        fetched = self.fetch(f"{NEW}/thumbnail/{media}?width=77&height=33&method=crop", alice)
        self.assertEqual(opened(fetched.data).size, (77, 33))
