"""The keys of other servers, for whoever checks a signature: known, or fetched if that can help.

A server is asked first itself, then the notaries. When many servers are wanted at once (the members of a room that is
joined), the notaries are asked first: one request instead of hundreds, of which many would find nobody there.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore

from federation.coalescing import Coalescing
from federation.expiring_cache import ExpiringCache
from federation.keys.fetch_keys import MAX_SERVERS_ASKED, FetchKeys, KeyTimes, Notary
from federation.keys.own_keys import OwnKeys
from federation.keys.server_keys import InvalidKeyDocument, ServerKeys, VerifyKey, is_usable_key_id
from federation.keys.stored_keys import StoredKeys
from federation.room_dag.identifiers import is_server_name
from federation.transport.errors import FederationError
from federation.turns import BoundedTurns, TurnLimits

logger = logging.getLogger(__name__)

FEW_SERVERS = 3
"""Up to so many servers are asked themselves first."""
MAX_FETCHES = 20
"""Servers asked at the same time for the keys of events."""
STRANGERS = TurnLimits(at_once=20, waiting=100, per_minute=600)
"""For servers that anybody names, signing a request in their name or asking us as a notary: this is work that strangers
make, and requests to whom they want. It has turns of its own, so that it does not get in the way of events."""
CALLERS = TurnLimits(at_once=20, waiting=500, per_minute=2_000)
"""For new keys of servers that are known: whoever signs a request can name any of these, too."""
ATTEMPTS_SIZE = 20_000
# "Requesting servers should limit how frequently they query for certificates to avoid flooding a server with requests."
PAUSE_MS = 60 * 1000
MAX_PAUSE_MS = 10 * 60 * 1000


class KeyRing:
    """Gives keys. What cannot be had is not in the answer; nothing is raised because another server is down."""

    def __init__(
        self,
        own: OwnKeys,
        stored: StoredKeys,
        fetch: FetchKeys,
        notaries: Sequence[Notary],
        now_ms: Callable[[], int],
    ) -> None:
        self._own = own
        self._stored = stored
        self._fetch = fetch
        self._notaries = tuple(notary for notary in notaries if notary.server_name != own.server_name)
        self._now_ms = now_ms
        self._attempts: ExpiringCache[str, int] = ExpiringCache(ATTEMPTS_SIZE, now_ms)
        self._failures: ExpiringCache[str, int] = ExpiringCache(ATTEMPTS_SIZE, now_ms)
        self._refreshes: Coalescing[str, None] = Coalescing()
        self._turns = DeferredSemaphore(MAX_FETCHES)
        self._strangers_turns = BoundedTurns(STRANGERS, now_ms)
        self._callers_turns = BoundedTurns(CALLERS, now_ms)

    async def get_verify_keys(
        self, server_name: str, key_ids: Collection[str], valid_at_ms: int | None
    ) -> Mapping[str, VerifyKey]:
        """Those of the keys that can be had and were valid at a time; None is for room versions that do not ask."""
        wanted = {key_id: valid_at_ms for key_id in key_ids if is_usable_key_id(key_id)}
        if not is_server_name(server_name):
            return {}
        keys = await self._known(server_name)
        if _is_lacking(keys, wanted):
            await self._in_turn(server_name, wanted, self._notaries)
            keys = await self._known(server_name)
        return {key_id: keys[key_id] for key_id in wanted if _is_had(keys, key_id, valid_at_ms)}

    async def get_keys_of_caller(self, server_name: str, key_ids: Collection[str]) -> Mapping[str, VerifyKey]:
        """Those of the keys that are in use now, for whoever says to be that server.

        Raises `Busy` if too many servers are being asked already on the word of such callers.
        """
        now_ms = self._now_ms()
        wanted: dict[str, int | None] = {key_id: now_ms for key_id in key_ids if is_usable_key_id(key_id)}
        if not is_server_name(server_name):
            return {}
        keys = await self._known(server_name)
        if _is_lacking(keys, wanted) and self._may_ask(server_name):
            # Who is no stranger need not wait behind names that are made up.
            turns = self._callers_turns if keys else self._strangers_turns
            await turns.run(lambda: self._refresh(server_name, wanted, self._notaries))
            keys = await self._known(server_name)
        # Old keys are "only valid for signing events".
        return {
            key_id: keys[key_id]
            for key_id in wanted
            if _is_had(keys, key_id, now_ms) and not keys[key_id].is_old
        }

    async def prefetch(self, wanted: Mapping[str, KeyTimes]) -> None:
        """Fetch what is missing of many servers' keys, so that `get_verify_keys` has them. Raises nothing."""
        lacking = await self._lacking(wanted)
        notaries = self._notaries
        if len(lacking) > FEW_SERVERS:
            await self._ask_notaries(notaries, lacking)
            lacking = await self._lacking(lacking)
            notaries = ()
        work = [self._in_turn(name, times, notaries) for name, times in lacking.items()]
        for succeeded, failure in await DeferredList(work, consumeErrors=True):
            if not succeeded:
                logger.error("Fetching keys failed: %s", failure)

    async def refresh(self, server_name: str) -> None:
        """Ask a server for its keys once more, for anybody, unless that was done a moment ago. Raises `Busy`."""
        if is_server_name(server_name) and self._may_ask(server_name):
            await self._strangers_turns.run(lambda: self._refresh(server_name, {}, ()))

    def _in_turn(self, server_name: str, wanted: KeyTimes, notaries: Sequence[Notary]) -> "Deferred[None]":
        return self._turns.run(lambda: Deferred.fromCoroutine(self._refresh(server_name, wanted, notaries)))

    async def _known(self, server_name: str) -> Mapping[str, VerifyKey]:
        if server_name == self._own.server_name:
            return self._own.all_keys()
        return await self._stored.get(server_name)

    async def _lacking(self, wanted: Mapping[str, KeyTimes]) -> dict[str, KeyTimes]:
        return {
            name: times
            for name, times in wanted.items()
            if name != self._own.server_name
            and is_server_name(name)
            and _is_lacking(await self._stored.get(name), times)
        }

    def _may_ask(self, server_name: str) -> bool:
        """False if that was done a moment ago, or is no use."""
        return server_name != self._own.server_name and self._attempts.find(server_name) is None

    async def _refresh(self, server_name: str, wanted: KeyTimes, notaries: Sequence[Notary]) -> None:
        if not self._may_ask(server_name):
            return
        await self._refreshes.run(server_name, lambda: self._fetch_one(server_name, wanted, notaries))

    async def _fetch_one(self, server_name: str, wanted: KeyTimes, notaries: Sequence[Notary]) -> None:
        try:
            await self._stored.store_direct(await self._fetch.fetch_directly(server_name))
        except (FederationError, InvalidKeyDocument) as error:
            logger.info("No keys from %s itself: %s", server_name, error)
            failures = min((self._failures.find(server_name) or 0) + 1, 16)
            pause_ms = min(PAUSE_MS << (failures - 1), MAX_PAUSE_MS)
            self._failures.put(server_name, failures, self._now_ms() + 2 * MAX_PAUSE_MS)
        else:
            self._failures.drop(server_name)
            pause_ms = PAUSE_MS
        self._attempts.put(server_name, pause_ms, self._now_ms() + pause_ms)
        if _is_lacking(await self._stored.get(server_name), wanted):
            await self._ask_notaries(notaries, {server_name: wanted})

    async def _ask_notaries(self, notaries: Sequence[Notary], wanted: Mapping[str, KeyTimes]) -> None:
        for notary in notaries:
            # A notary is trusted for others, not for itself.
            lacking = {name: times for name, times in wanted.items() if name != notary.server_name}
            for batch in _batches(await self._lacking(lacking), MAX_SERVERS_ASKED):
                await self._ask_notary(notary, batch)

    async def _ask_notary(self, notary: Notary, wanted: Mapping[str, KeyTimes]) -> None:
        try:
            found: list[ServerKeys] = await self._fetch.fetch_from_notary(
                await self._with_keys(notary), wanted
            )
        except FederationError as error:
            logger.info("No keys from the notary %s: %s", notary.server_name, error)
            return
        await self._stored.store_told(found)

    async def _with_keys(self, notary: Notary) -> Notary:
        """The notary with the keys that it publishes itself, unless they are configured."""
        if notary.verify_keys:
            return notary
        keys = await self._stored.get(notary.server_name)
        if not any(key.is_valid_at(self._now_ms()) and not key.is_old for key in keys.values()):
            await self._refresh(notary.server_name, {}, ())
            keys = await self._stored.get(notary.server_name)
        valid = {key.key_id: key.key for key in keys.values() if key.is_valid_at(self._now_ms())}
        return Notary(notary.server_name, valid)


def _is_had(keys: Mapping[str, VerifyKey], key_id: str, valid_at_ms: int | None) -> bool:
    key = keys.get(key_id)
    return key is not None and (valid_at_ms is None or key.is_valid_at(valid_at_ms))


def _is_lacking(keys: Mapping[str, VerifyKey], wanted: KeyTimes) -> bool:
    """Whether fetching could help: a key is unknown, or in use and was last seen before the time in question."""
    return any(
        not _is_had(keys, key_id, time_ms) and not (key_id in keys and keys[key_id].is_old)
        for key_id, time_ms in wanted.items()
    )


def _batches(wanted: Mapping[str, KeyTimes], size: int) -> Iterator[dict[str, KeyTimes]]:
    items = iter(wanted.items())
    while batch := dict(islice(items, size)):
        yield batch
