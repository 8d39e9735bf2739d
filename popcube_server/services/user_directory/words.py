"""The words that people are found by, the same for what is stored and for what is typed."""

import re
import unicodedata
from typing import Final

from federation.room_dag.identifiers import localpart_of

MAX_WORD: Final = 64
"""In characters: more is cut off, of what is stored and of what is typed."""
MAX_WORDS: Final = 50
"""Per user."""
MAX_TYPED: Final = 6

_PIECE: Final = re.compile(r"\w+")


def fold(text: str) -> str:
    """Without regard to case, and to how characters are composed."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def words_of_user(user_id: str, display_name: str | None) -> frozenset[str]:
    """The user ID without its `@`, the words of both names, and what those are put together from."""
    localpart = fold(localpart_of(user_id))
    words = [fold(user_id[1:]), *_PIECE.findall(localpart)]
    for chunk in fold(display_name or "").split():
        words += [chunk, *_PIECE.findall(chunk)]
    return frozenset(word[:MAX_WORD] for word in words[:MAX_WORDS])


def typed_words(term: str) -> list[str]:
    """What somebody typed, as beginnings of such words."""
    words = [word.removeprefix("@")[:MAX_WORD] for word in fold(term).split()]
    return list(dict.fromkeys(word for word in words if word))[:MAX_TYPED]
