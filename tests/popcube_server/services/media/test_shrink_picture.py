"""The process that makes a thumbnail, and what becomes of it when it fails."""

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.errors import TooLarge, WithCode
from popcube_server.services.media.shrink_picture import ShrinkInProcess, Shrunk
from storage.media import ThumbnailKey
from tests.support.pictures import given_picture, opened

WANTED = ThumbnailKey(20, 10, "scale", False)


class ShrinkInProcessTests(SynchronousTestCase):
    def shrink(self, data: bytes, shrink: ShrinkInProcess) -> tuple[Shrunk, bytes]:
        path = Path(self.mktemp())
        path.write_bytes(data)
        with path.open("rb") as source, tempfile.TemporaryFile() as target:
            return shrink.shrink(source, WANTED, target), target.read()

    def refusal(self, data: bytes, shrink: ShrinkInProcess) -> tuple[int, str]:
        error = self.assertRaises(WithCode, self.shrink, data, shrink)
        return error.status, error.errcode

    def program(self, text: str, timeout_s: float = 60.0) -> ShrinkInProcess:
        """Another program in place of the true one."""
        path = Path(self.mktemp()).absolute()
        path.write_text(text)
        return ShrinkInProcess(1_000_000, path, timeout_s)

    def test_thumbnail_comes_back(self) -> None:
        shrunk, data = self.shrink(given_picture(200, 100), ShrinkInProcess(1_000_000))
        self.assertEqual((shrunk, opened(data).size), (Shrunk("image/jpeg", is_original=False), (20, 10)))

    def test_small_picture_is_its_own_thumbnail(self) -> None:
        shrunk, data = self.shrink(given_picture(20, 10), ShrinkInProcess(1_000_000))
        self.assertEqual((shrunk, data), (Shrunk("image/png", is_original=True), b""))

    def test_too_many_pixels_are_too_large(self) -> None:
        self.assertRaises(TooLarge, self.shrink, given_picture(200, 100), ShrinkInProcess(19_999))

    def test_no_process_is_started_for_what_does_not_look_like_a_picture(self) -> None:
        shrink = self.program("print('made image/png')")
        for data in (b"", b"GIF", b"encrypted, say", b"RIFF....WAVE", b"<?xml version='1.0'?><svg/>"):
            self.assertEqual(self.refusal(data, shrink), (400, "M_UNKNOWN"))

    def test_process_that_fails_makes_no_thumbnail(self) -> None:
        picture = given_picture(200, 100)
        for text in ("raise SystemExit(1)", "import os; os.abort()", "open('/nonexistent')"):
            self.assertEqual(self.refusal(picture, self.program(text)), (400, "M_UNKNOWN"))

    def test_process_that_hangs_is_ended(self) -> None:
        hanging = self.program("import signal; signal.pause()", timeout_s=0.2)
        self.assertEqual(self.refusal(given_picture(200, 100), hanging), (400, "M_UNKNOWN"))

    def test_answer_that_is_none_makes_no_thumbnail(self) -> None:
        picture = given_picture(200, 100)
        for text in (
            "",
            "print('nonsense')",
            "print('made')",
            "print('made text/html')",
            "print('x' * 10**6)",
        ):
            self.assertEqual(self.refusal(picture, self.program(text)), (400, "M_UNKNOWN"), text)

    def test_process_does_not_get_the_environment(self) -> None:
        os.environ["POPCUBE_TEST_SECRET"] = "secret"
        self.addCleanup(os.environ.pop, "POPCUBE_TEST_SECRET")
        text = "import os; assert 'POPCUBE_TEST_SECRET' not in os.environ; "
        text += "print('made image/png')"
        shrunk, _ = self.shrink(given_picture(200, 100), self.program(text))
        self.assertEqual(shrunk.content_type, "image/png")
