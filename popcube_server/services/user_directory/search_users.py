"""Search for people. Source: client-server API, "User directory"."""

from collections.abc import Mapping, Sequence

import orjson

from federation.room_dag.identifiers import domain_of
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.requester import Requester
from popcube_server.services.user_directory.member_names import read_names
from popcube_server.services.user_directory.words import typed_words, words_of_user
from storage.database import Database, Transaction
from storage.user_directory import DirectorySearch, FoundUser, UserDirectoryRepository
from synapse_like_config.lazy_dataclasses import dataclass
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
    """Finds users that the searcher can know of.

    "the homeserver MUST at a minimum consider the users the requesting user shares a room with and those who reside in
    public rooms (known to the homeserver)", wherever their accounts are.
    """

    def __init__(
        self, server_name: str, database: Database, config: UserDirectoryConfig, limiter: RateLimiter
    ) -> None:
        self._server_name = server_name
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
        found, events = await self._database.read(lambda tx: self._with_names(tx, find(tx, search), search))
        people = [_person(one, events, words) for one in found[:limit]]
        return People(_ranked([one for one in people if one is not None], words), len(found) > limit)

    def _with_names(
        self, tx: Transaction, found: list[FoundUser], search: DirectorySearch
    ) -> tuple[list[FoundUser], Mapping[str, Sequence[bytes]]]:
        """What users of other servers are called where the searcher may know of it."""
        others = [one.user_id for one in found if domain_of(one.user_id) != self._server_name]
        return found, self._repository.get_visible_member_events(tx, search.searcher, others)


def _person(found: FoundUser, events: Mapping[str, Sequence[bytes]], words: Sequence[str]) -> Person | None:
    """None for a user of another server who is called so only where the searcher is not."""
    if found.user_id not in events:
        return Person(found.user_id, _text(found.display_name), _avatar(found.avatar_url))
    for name in read_names(events[found.user_id]):
        if _fits(found.user_id, name.display_name, words):
            return Person(found.user_id, name.display_name, name.avatar_url)
    return Person(found.user_id, None, None) if _fits(found.user_id, None, words) else None


def _fits(user_id: str, name: str | None, words: Sequence[str]) -> bool:
    own = words_of_user(user_id, name)
    return all(any(one.startswith(word) for one in own) for word in words)


def _ranked(people: Sequence[Person], words: Sequence[str]) -> list[Person]:
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
