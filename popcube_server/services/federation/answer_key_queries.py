"""This server as a notary: it tells others which keys a third server has.

Source: server-server API, "Querying Keys Through Another Server".
Anybody may ask, so what one request can make us do is bounded.
"""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.defer import TimeoutError as DeferredTimeout

from federation.keys.key_ring import KeyRing
from federation.keys.own_keys import OwnKeys
from federation.keys.stored_keys import StoredKeys
from federation.room_dag.identifiers import is_server_name
from federation.transport.allowed_servers import AllowedServers
from federation.turns import Busy
from popcube_server.services.errors import InvalidParam
from popcube_server.services.platform import Platform
from storage.server_keys import KeyDocumentRow
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

MAX_SERVERS = 100
MAX_KEYS = 20
TIMEOUT_S = 20.0
"""An answer is given after this, with what is known by then."""
MAX_DOCUMENTS = 5
"""Of one server: the newest, and those with older keys that were asked for."""


@dataclass(frozen=True, slots=True)
class KeyQuery:
    """Which keys of a server (none is all), and until when the answer should be valid (None is now)."""

    key_ids: frozenset[str]
    minimum_valid_until_ms: int | None


class AnswerKeyQueries:
    """Answers from what is stored, and asks the server in question if that is not fresh enough."""

    def __init__(
        self,
        own: OwnKeys,
        key_ring: KeyRing,
        stored: StoredKeys,
        allowed: AllowedServers,
        platform: Platform,
    ) -> None:
        self._own = own
        self._key_ring = key_ring
        self._stored = stored
        self._allowed = allowed
        self._platform = platform

    async def answer(self, queries: Mapping[str, KeyQuery]) -> list[dict[str, Any]]:
        """The documents of these servers, signed by this one too. Servers of which nothing is known are left out.

        Raises `InvalidParam` if it is too much at once.
        """
        if len(queries) > MAX_SERVERS or any(len(query.key_ids) > MAX_KEYS for query in queries.values()):
            raise InvalidParam(f"At most {MAX_SERVERS} servers and {MAX_KEYS} keys of each at a time.")
        work = [Deferred.fromCoroutine(self._answer_one(name, query)) for name, query in queries.items()]
        answers = await gatherResults(work, consumeErrors=True)
        return [document for answer in answers for document in answer]

    async def _answer_one(self, server_name: str, query: KeyQuery) -> list[dict[str, Any]]:
        if server_name == self._own.server_name:
            return [dict(self._own.document())]
        if not is_server_name(server_name) or not self._allowed.is_allowed(server_name):
            return []
        rows = await self._stored.get_documents(server_name)
        if not self._are_fresh(rows, query):
            # "Notary servers can return keys for servers that are offline": if nobody answers, what is there is given.
            await self._refresh(server_name)
            rows = await self._stored.get_documents(server_name)
        return [self._own.sign(orjson.loads(row.document)) for row in _chosen(rows, query)]

    async def _refresh(self, server_name: str) -> None:
        work = Deferred.fromCoroutine(self._key_ring.refresh(server_name))
        try:
            await work.addTimeout(TIMEOUT_S, self._platform.clock)  # type: ignore[arg-type]
        except DeferredTimeout:
            # What comes after this is stored all the same, for the next who asks.
            logger.debug("%s did not tell its keys in time", server_name)
        except Busy:
            logger.debug("%s is not asked for its keys: too many others are", server_name)

    def _are_fresh(self, rows: list[KeyDocumentRow], query: KeyQuery) -> bool:
        if not rows or not query.key_ids <= frozenset().union(*(row.key_ids for row in rows)):
            return False
        newest, now_ms = rows[0], self._platform.now_ms()
        # "Intermediate notary servers should cache a response for half of its lifetime"
        half_ms = (newest.fetched_at_ms + newest.valid_until_ms) // 2
        # "If not supplied, the notary server MUST use the current time."
        wanted_ms = now_ms if query.minimum_valid_until_ms is None else query.minimum_valid_until_ms
        return now_ms < half_ms and newest.valid_until_ms >= wanted_ms


def _chosen(rows: list[KeyDocumentRow], query: KeyQuery) -> list[KeyDocumentRow]:
    """The newest document, and for each key that is not in it the one that has it."""
    missing = set(query.key_ids)
    chosen: list[KeyDocumentRow] = []
    for row in rows[:MAX_DOCUMENTS]:
        if not chosen or not missing.isdisjoint(row.key_ids):
            chosen.append(row)
            missing -= row.key_ids
    return chosen
