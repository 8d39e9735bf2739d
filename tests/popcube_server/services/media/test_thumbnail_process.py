"""The program that makes thumbnails: sizes, formats, orientation, metadata, limits."""

from io import BytesIO
from typing import cast

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.media.thumbnail_process import (
    ORIENTATION_TAG,
    Order,
    Plan,
    make_plan,
    make_thumbnail,
)
from tests.support.pictures import given_animation, given_halves, given_picture, opened, saved

PIXELS = 1_000_000


def order(
    width: int, height: int, method: str = "scale", animated: bool = False, pixels: int = PIXELS
) -> Order:
    return Order(width, height, method, animated, pixels)


def shrunk(picture: bytes, wanted: Order) -> tuple[str, str, bytes]:
    """Outcome, content type and bytes."""
    target = BytesIO()
    make_thumbnail(BytesIO(picture), wanted, target)
    line, _, data = target.getvalue().partition(b"\n")
    outcome, _, content_type = line.decode().partition(" ")
    return outcome, content_type, data


def color_at(data: bytes, x: int, y: int) -> tuple[int, int, int]:
    red, green, blue = (opened(data).convert("RGB").getchannel(band).getpixel((x, y)) for band in "RGB")
    return cast("tuple[int, int, int]", (red, green, blue))


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    exif[0x010F] = "A camera"
    return exif


class PlanTests(SynchronousTestCase):
    def test_scale_keeps_the_aspect_ratio_and_is_never_smaller_than_asked(self) -> None:
        self.assertEqual(make_plan((1600, 1200), order(320, 240)), Plan((1600, 1200), (320, 240)))
        self.assertEqual(make_plan((1000, 1000), order(320, 240)), Plan((1000, 1000), (320, 320)))
        self.assertEqual(make_plan((2000, 100), order(50, 50)), Plan((2000, 100), (1000, 50)))

    def test_scale_never_enlarges(self) -> None:
        self.assertEqual(make_plan((1000, 20), order(100, 100)), Plan((1000, 20), (1000, 20)))
        self.assertEqual(make_plan((10, 10), order(100, 100)), Plan((10, 10), (10, 10)))

    def test_crop_has_the_aspect_ratio_that_is_asked_for(self) -> None:
        self.assertEqual(make_plan((1000, 500), order(96, 96, "crop")), Plan((500, 500), (96, 96)))
        self.assertEqual(make_plan((500, 1000), order(100, 50, "crop")), Plan((500, 250), (100, 50)))

    def test_crop_never_enlarges(self) -> None:
        self.assertEqual(make_plan((1000, 40), order(96, 96, "crop")), Plan((40, 40), (40, 40)))
        self.assertEqual(make_plan((50, 40), order(96, 96, "crop")), Plan((50, 40), (50, 40)))

    def test_no_side_is_ever_empty(self) -> None:
        self.assertEqual(make_plan((3000, 1), order(10, 1, "crop")).size, (10, 1))
        self.assertEqual(make_plan((3000, 1), order(1, 3000, "crop")).size, (1, 1))


class ThumbnailProcessTests(SynchronousTestCase):
    def test_each_format_is_read(self) -> None:
        for file_format in ("PNG", "JPEG", "GIF", "WEBP"):
            outcome, _, data = shrunk(given_picture(400, 200, file_format), order(40, 20))
            self.assertEqual((outcome, opened(data).size), ("made", (40, 20)), file_format)

    def test_opaque_pictures_become_jpeg_and_transparent_ones_png(self) -> None:
        self.assertEqual(shrunk(given_picture(400, 200), order(40, 20))[1], "image/jpeg")
        clear = given_picture(400, 200, color=(255, 0, 0, 100))
        _, content_type, data = shrunk(clear, order(40, 20))
        self.assertEqual(content_type, "image/png")
        self.assertEqual(opened(data).getpixel((5, 5)), (255, 0, 0, 100))

    def test_unusual_color_modes_are_read(self) -> None:
        for mode in ("1", "L", "LA", "P", "I;16"):
            _, _, data = shrunk(saved(Image.new(mode, (200, 200), 1), "PNG"), order(20, 20))
            self.assertEqual(opened(data).size, (20, 20), mode)
        for mode in ("L", "CMYK"):
            _, _, data = shrunk(saved(Image.new(mode, (200, 200)), "JPEG"), order(20, 20))
            self.assertEqual(opened(data).size, (20, 20), mode)

    def test_crop_takes_the_middle(self) -> None:
        _, _, data = shrunk(given_halves(400, 100, "PNG"), order(50, 50, "crop"))
        self.assertGreater(color_at(data, 5, 25)[0], 200)
        self.assertGreater(color_at(data, 45, 25)[2], 200)

    def test_a_picture_that_fits_is_its_own_thumbnail(self) -> None:
        self.assertEqual(shrunk(given_picture(30, 20, "GIF"), order(32, 32)), ("original", "image/gif", b""))

    def test_orientation_is_honored_and_metadata_are_left_out(self) -> None:
        # Turned left by the camera: what is left in the file is at the top for the viewer.
        picture = given_halves(400, 200, exif=exif_with(6))
        _, _, data = shrunk(picture, order(50, 100))
        self.assertEqual(opened(data).size, (50, 100))
        self.assertGreater(color_at(data, 25, 5)[0], 200)
        self.assertGreater(color_at(data, 25, 95)[2], 200)
        self.assertNotIn("exif", opened(data).info)

    def test_small_picture_with_metadata_is_made_anew_without_them(self) -> None:
        outcome, _, data = shrunk(given_picture(30, 20, "JPEG", exif=exif_with(1)), order(32, 32))
        self.assertEqual((outcome, opened(data).size), ("made", (30, 20)))
        self.assertNotIn(b"A camera", data)
        notes = PngInfo()
        notes.add_text("Author", "Somebody")
        clear = given_picture(30, 20, color=(1, 2, 3, 4), pnginfo=notes)
        outcome, content_type, data = shrunk(clear, order(32, 32))
        self.assertEqual((outcome, content_type), ("made", "image/png"))
        self.assertNotIn(b"Somebody", data)

    def test_text_that_is_called_like_something_harmless_is_left_out(self) -> None:
        notes = PngInfo()
        notes.add_text("gamma", "Somebody")
        outcome, _, data = shrunk(given_picture(30, 20, pnginfo=notes), order(32, 32))
        self.assertEqual(outcome, "made")
        self.assertNotIn(b"Somebody", data)

    def test_comment_is_left_out(self) -> None:
        picture = given_picture(400, 200, "JPEG", comment=b"Somebody")
        self.assertIn(b"Somebody", picture)
        for size in (40, 400):
            self.assertNotIn(b"Somebody", shrunk(picture, order(size, size))[2])

    def test_large_jpeg_keeps_its_details(self) -> None:
        stripes = Image.new("L", (800, 800))
        for left in range(0, 800, 8):
            stripes.paste(255, (left, 0, left + 4, 800))
        _, _, data = shrunk(saved(stripes, "JPEG", quality=95), order(400, 400))
        darkest, lightest = cast("tuple[int, int]", opened(data).convert("L").getextrema())
        self.assertGreater(lightest - darkest, 200)

    def test_broken_metadata_do_no_harm(self) -> None:
        picture = given_picture(100, 100, "JPEG", exif=b"Exif\0\0garbage that is no TIFF file")
        self.assertEqual(opened(shrunk(picture, order(10, 10))[2]).size, (10, 10))

    def test_animation_stays_still_unless_asked_for(self) -> None:
        for file_format in ("GIF", "PNG", "WEBP"):
            picture = given_animation(200, 100, 4, file_format)
            outcome, content_type, data = shrunk(picture, order(20, 10))
            self.assertEqual((outcome, content_type), ("made", "image/jpeg"), file_format)
            self.assertEqual(opened(data).size, (20, 10))

    def test_animation_moves_if_asked_for(self) -> None:
        for file_format in ("GIF", "PNG", "WEBP"):
            picture = given_animation(200, 100, 4, file_format)
            outcome, content_type, data = shrunk(picture, order(20, 10, animated=True))
            self.assertEqual((outcome, content_type), ("made", "image/webp"), file_format)
            self.assertEqual(
                (opened(data).size, getattr(opened(data), "n_frames", 1)), ((20, 10), 4), file_format
            )

    def test_small_animation_stays_still_unless_asked_for(self) -> None:
        picture = given_animation(20, 10, 4)
        self.assertEqual(shrunk(picture, order(32, 32))[:2], ("made", "image/jpeg"))
        self.assertEqual(shrunk(picture, order(32, 32, animated=True))[:2], ("original", "image/gif"))

    def test_still_picture_cannot_be_made_to_move(self) -> None:
        self.assertEqual(shrunk(given_picture(200, 100), order(20, 10, animated=True))[1], "image/jpeg")

    def test_long_animation_stays_still(self) -> None:
        picture = given_animation(100, 100, 6)
        self.assertEqual(shrunk(picture, order(50, 50, animated=True, pixels=15_000))[1], "image/webp")
        self.assertEqual(shrunk(picture, order(50, 50, animated=True, pixels=14_999))[1], "image/jpeg")

    def test_too_many_pixels_are_not_decoded(self) -> None:
        picture = given_picture(100, 100)
        # Only the header is there: whoever decodes it fails.
        header = picture[:60]
        self.assertEqual(shrunk(header, order(10, 10, pixels=9_999))[0], "too_large")
        self.assertRaises(OSError, shrunk, header, order(10, 10, pixels=10_000))

    def test_what_is_no_picture_is_unknown(self) -> None:
        self.assertEqual(shrunk(b"\x89PNG\r\n\x1a\nno", order(10, 10))[0], "unknown")
        self.assertEqual(shrunk(b"<svg/>", order(10, 10))[0], "unknown")
