"""What is made of chance."""

from collections import Counter
from string import ascii_letters
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.platform import Platform


class RandomLettersTests(SynchronousTestCase):
    def platform(self, *drawings: bytes) -> Platform:
        waiting = iter(drawings)
        no_threads: Any = None
        return Platform(Clock(), lambda size: next(waiting), no_threads)

    def test_every_letter_is_as_likely(self) -> None:
        letters = self.platform(bytes(range(256))).random_letters(4 * 52)
        self.assertEqual(Counter(letters), Counter(ascii_letters * 4))

    def test_there_are_as_many_as_asked_for_whatever_is_drawn(self) -> None:
        letters = self.platform(b"\xff" * 9, b"\x00\x01\xff", b"\x1a\x33\x00").random_letters(4)
        self.assertEqual(letters, "abAZ")
