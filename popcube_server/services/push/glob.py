"""Glob patterns of push rules, matched without case and in time that no pattern can blow up.

A pattern is cut at its `*` into pieces of fixed length. `*` matches anything, so taking each piece at its first place
behind the one before is always as good as any later place: nothing is ever tried again, as a regular expression
with several `.*` would.

Source: appendices, "Glob-style matching"; client-server API, "Push rules".
"""

import re
from typing import Final

_NOT_AFTER_WORD: Final = "(?<![A-Za-z0-9_])"
_NOT_BEFORE_WORD: Final = "(?![A-Za-z0-9_])"


class Glob:
    """A compiled pattern. Give it text in lower case."""

    __slots__ = ("_literal", "_needed", "_pieces", "is_literal", "pattern")

    def __init__(self, pattern: str, whole_words: bool) -> None:
        lowered = pattern.lower()
        self.pattern = pattern
        self.is_literal = not whole_words and "*" not in lowered and "?" not in lowered
        self._literal = lowered
        # Looking for a plain string first is many times faster than an expression that begins with a condition.
        self._needed = max((piece for piece in re.split(r"[*?]", lowered)), key=len)
        pieces = [_expression(piece) for piece in lowered.split("*")]
        self._pieces = _compile(_between_words(pieces) if whole_words else _from_end_to_end(pieces))

    def may_match(self, lowered: str) -> bool:
        """False if it certainly does not match: known at the price of one look through the text."""
        return self.is_literal or self._needed in lowered

    def matches(self, lowered: str) -> bool:
        if self.is_literal:
            return lowered == self._literal
        if self._needed not in lowered:
            return False
        at = 0
        for piece in self._pieces:
            found = piece.search(lowered, at)
            if found is None:
                return False
            at = found.end()
        return True


def _expression(piece: str) -> str:
    return "".join("." if char == "?" else re.escape(char) for char in piece)


def _from_end_to_end(pieces: list[str]) -> list[str]:
    pieces[0] = r"\A" + pieces[0]
    pieces[-1] += r"\Z"
    return pieces


def _between_words(pieces: list[str]) -> list[str]:
    # "must match any substring of the value of the property which starts and ends at a word boundary": a star at an
    # end of the pattern can always reach the end of the value, which is a boundary.
    if pieces[0] or len(pieces) == 1:
        pieces[0] = _NOT_AFTER_WORD + pieces[0]
    if pieces[-1] or len(pieces) == 1:
        pieces[-1] += _NOT_BEFORE_WORD
    return pieces


def _compile(pieces: list[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(piece, re.DOTALL) for piece in pieces if piece)
