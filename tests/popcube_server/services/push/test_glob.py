"""Glob patterns: the specification's own examples, and patterns made to take long."""

import re
import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.push.glob import Glob

WHOLE = (
    ("lunc?*", "Lunch plans", True),
    ("lunc?*", "LUNCH", True),
    ("lunc?*", " lunch", False),
    ("lunc?*", "lunc", False),
    ("*", "", True),
    ("", "", True),
    ("", "x", False),
    ("?", "", False),
    ("**", "anything", True),
    ("a*a", "a", False),
    ("a*a", "aa", True),
    ("a*b*c", "a b c d", False),
    ("*b", "abab", True),
    ("a.c", "abc", False),
    ("[ab]", "a", False),
    ("x\ny", "x\ny", True),
    ("x?y", "x\ny", True),
    ("m.notice", "m.notice\n", False),
    ("?", "\N{GRINNING FACE}", True),
)

WORDS = (
    ("ex*ple", "An example event.", True),
    ("ex*ple", "exple", True),
    ("ex*ple", "An exciting triple-whammy", True),
    ("cake", "cakes", False),
    ("cake", "pan_cake", False),
    ("cake", "Pancakes and CAKE!", True),
    ("@room", "hello @room", True),
    ("@room", "hello@room", False),
    ("@room", "@rooms", False),
    ("cake*", "cakes", True),
    ("*cake", "pancake", True),
    ("*", "", True),
    ("", "", True),
    ("", "a", False),
    ("", "a - b", True),
    ("a?c", "xx abc xx", True),
    ("a?c", "xx abcd", False),
    ("caf\u00e9", "un CAF\u00c9 noir", True),
    # Only ASCII letters, digits and the underscore make words.
    ("caf", "caf\u00e9", True),
    ("foo bar", "a foo bar b", True),
    ("beta*end", "alphabeta beta weekend end", True),
    ("beta*end", "alphabeta end", False),
)


class GlobTests(SynchronousTestCase):
    def test_whole_values(self) -> None:
        for pattern, text, expected in WHOLE:
            with self.subTest(pattern=pattern, text=text):
                self.assertIs(Glob(pattern, whole_words=False).matches(text.lower()), expected)

    def test_words_in_values(self) -> None:
        for pattern, text, expected in WORDS:
            with self.subTest(pattern=pattern, text=text):
                self.assertIs(Glob(pattern, whole_words=True).matches(text.lower()), expected)

    @settings(deadline=None)
    @given(st.text("ab*?_ .", max_size=6), st.text("ab_ .", max_size=12))
    def test_agrees_with_a_regular_expression(self, pattern: str, text: str) -> None:
        expression = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
        whole = re.fullmatch(expression, text, re.DOTALL) is not None
        self.assertIs(Glob(pattern, whole_words=False).matches(text), whole)
        words = re.search(f"(?<![A-Za-z0-9_])(?:{expression})(?![A-Za-z0-9_])", text, re.DOTALL) is not None
        # A star at an end may stand for more than one word, and need not end at one.
        self.assertIs(Glob(pattern, whole_words=True).matches(text), words)

    def test_hostile_pattern_takes_no_time(self) -> None:
        text = "a" * 60_000
        started = time.process_time()
        self.assertFalse(Glob("*a" * 100 + "*b", whole_words=True).matches(text + "b a".replace("b", "c")))
        self.assertFalse(Glob("*a?" * 100 + "*a*c?", whole_words=False).matches(text + "c"))
        # A regular expression would need longer than the universe.
        self.assertLess(time.process_time() - started, 2.0)
