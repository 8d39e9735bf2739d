"""Which thumbnail is made for which request."""

from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.media.thumbnail_sizes import (
    MAX_DYNAMIC,
    SPECIFIED_SIZES,
    ThumbnailSizes,
    WantedThumbnail,
)
from storage.media import ThumbnailKey


def chosen(width: int, height: int, method: str, sizes: ThumbnailSizes) -> tuple[int, int, str]:
    key = sizes.choose(WantedThumbnail(width, height, method, False), ())
    return key.width, key.height, key.method


class ThumbnailSizesTests(SynchronousTestCase):
    fixed = ThumbnailSizes(SPECIFIED_SIZES, dynamic=False)

    def test_smallest_fixed_size_of_the_method_that_holds_what_is_asked(self) -> None:
        self.assertEqual(chosen(32, 32, "crop", self.fixed), (32, 32, "crop"))
        self.assertEqual(chosen(33, 20, "crop", self.fixed), (96, 96, "crop"))
        self.assertEqual(chosen(20, 20, "scale", self.fixed), (320, 240, "scale"))
        self.assertEqual(chosen(320, 241, "scale", self.fixed), (640, 480, "scale"))

    def test_other_method_where_that_has_no_size_large_enough(self) -> None:
        self.assertEqual(chosen(97, 97, "crop", self.fixed), (320, 240, "scale"))

    def test_request_beyond_all_sizes_gets_the_largest_doubled(self) -> None:
        self.assertEqual(chosen(801, 600, "scale", self.fixed), (1600, 1200, "scale"))
        self.assertEqual(chosen(10, 5000, "scale", self.fixed), (800 * 16, 600 * 16, "scale"))
        self.assertEqual(chosen(1000, 1000, "crop", self.fixed), (96 * 16, 96 * 16, "crop"))

    def test_animation_is_kept_in_mind(self) -> None:
        self.assertTrue(self.fixed.choose(WantedThumbnail(10, 10, "crop", True), ()).animated)

    def test_dynamic_sizes_are_as_asked_until_the_picture_has_too_many(self) -> None:
        dynamic = ThumbnailSizes((), dynamic=True)
        made = [ThumbnailKey(100 + number, 100, "scale", False) for number in range(MAX_DYNAMIC)]
        wanted = WantedThumbnail(77, 55, "scale", False)
        self.assertEqual(dynamic.choose(wanted, made[:-1]), ThumbnailKey(77, 55, "scale", False))
        self.assertEqual(dynamic.choose(wanted, made), ThumbnailKey(320, 240, "scale", False))
        again = WantedThumbnail(105, 100, "scale", False)
        self.assertEqual(dynamic.choose(again, made), made[5])
