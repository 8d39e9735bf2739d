"""Search for people. Source: client-server API, "User directory"."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.requester import Requester
from popcube_server.services.user_directory.words import typed_words
from storage.database import Database
from storage.user_directory import DirectorySearch, FoundUser, UserDirectoryRepository
from synapse_like_config.profiles import UserDirectoryConfig

MAX_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Person:
    """A user that was found."""

    user_id: str
    display_name: str | None
    avatar_url: str | None


@dataclass(frozen=True, slots=True)
class People:
    results: Sequence[Person]
    limited: bool
    """Whether there are more."""


class SearchUsers:
    """Finds local users that the searcher can know of."""

    def __init__(self, database: Database, config: UserDirectoryConfig, limiter: RateLimiter) -> None:
        self._database = database
        self._config = config
        self._limiter = limiter
        self._repository = UserDirectoryRepository()

    async def search(self, requester: Requester, term: str, limit: int) -> People:
        """At most `limit` users, and never more than `MAX_LIMIT`."""
        self._limiter.spend(requester.user_id)
        words = typed_words(term)
        if not self._config.enabled or not words:
            return People((), limited=False)
        limit = min(limit, MAX_LIMIT)
        # One more tells whether there are more.
        search = DirectorySearch(requester.user_id, words, limit + 1, self._config.show_locked_users)
        find = self._repository.search_visible
        if self._config.search_all_users:
            find = self._repository.search_all
        found = await self._database.read(lambda tx: find(tx, search))
        return People(_ranked(found[:limit], words), len(found) > limit)


def _ranked(found: Sequence[FoundUser], words: Sequence[str]) -> list[Person]:
    people = [Person(one.user_id, _text(one.display_name), _avatar(one.avatar_url)) for one in found]
    # "Ordered by rank and then whether or not profile info is available."; sorting keeps the order of equals.
    return sorted(people, key=lambda person: (not _has_whole(person, words), person.display_name is None))


def _has_whole(person: Person, words: Sequence[str]) -> bool:
    """Whether what was typed is all of one of the names."""
    typed = " ".join(words)
    localpart = person.user_id[1:].partition(":")[0]
    return typed in (localpart, person.user_id[1:]) or typed_words(person.display_name or "") == list(words)


def _text(value: bytes | None) -> str | None:
    text = None if value is None else orjson.loads(value)
    return text if isinstance(text, str) else None


def _avatar(value: bytes | None) -> str | None:
    text = _text(value)
    return text if text is not None and text.startswith("mxc://") else None
