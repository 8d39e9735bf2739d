"""The threads of a room, the liveliest first. Source: client-server API, "Querying threads in a room"."""

from collections.abc import Sequence
from typing import Protocol

from federation.rooms.event_store import EventStore, live_ordering
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.account_data.personal_rules import PersonalRules
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.event_json import EventJson
from popcube_server.services.rooms.read_event import BUNDLED_STYLE
from popcube_server.services.rooms.relation_summaries import RelationSummaries
from popcube_server.services.rooms.room_views import RoomViews
from popcube_server.services.rooms.visibility import Visibility
from popcube_server.services.sync.places import Places
from storage.database import Database
from storage.log import Log
from storage.relations import RelationsRepository, ThreadRow
from synapse_like_config.lazy_dataclasses import dataclass

MAX_EXAMINED = 1_000
"""After so many threads that the user may not see or took no part in, a page ends as short as it is."""
BATCH = 100


@dataclass(frozen=True, slots=True)
class Threads:
    """A page of roots, rendered."""

    chunk: Sequence[bytes]
    next_batch: str | None


class ListThreads:
    def __init__(
        self,
        views: RoomViews,
        database: Database,
        repository: RelationsRepository,
        events: EventStore,
        visibility: Visibility,
        summaries: RelationSummaries,
        personal: PersonalRules,
        event_json: EventJson,
        log: Log,
        places: Places,
    ) -> None:
        self._views = views
        self._database = database
        self._repository = repository
        self._events = events
        self._visibility = visibility
        self._summaries = summaries
        self._personal = personal
        self._event_json = event_json
        self._log = log
        self._places = places

    async def all(self, requester: Requester, room_id: str, start: str | None, limit: int) -> Threads:
        """Raises `NotAllowed`, `InvalidParam` for a wrong token."""
        return await self._list(requester, room_id, start, limit, self._seen)

    async def participated(
        self, requester: Requester, room_id: str, start: str | None, limit: int
    ) -> Threads:
        """As `all`, of those that the user wrote in or began."""
        return await self._list(requester, room_id, start, limit, self._seen_and_participated)

    async def _list(
        self,
        requester: Requester,
        room_id: str,
        start: str | None,
        limit: int,
        select: "_Select",
    ) -> Threads:
        upto = live_ordering(self._log.position)
        if start is not None:
            upto = min(upto, await self._places.behind(start))
        await self._views.of(requester.user_id, room_id)
        found: list[StoredEvent] = []
        next_upto: int | None = upto
        examined = 0
        while next_upto is not None and len(found) < limit and examined < MAX_EXAMINED:
            threads = await self._read(room_id, next_upto, BATCH)
            examined += len(threads)
            roots = {stored.event.event_id: stored for stored in await select(requester.user_id, threads)}
            next_upto = None
            for index, thread in enumerate(threads):
                if thread.root in roots:
                    found.append(roots[thread.root])
                if len(found) == limit or index == BATCH - 1:
                    is_last = index == len(threads) - 1 and len(threads) < BATCH
                    next_upto = None if is_last else thread.newest - 1
                    break
        found = await self._without_ignored(requester.user_id, found)
        return Threads(
            await self._event_json.render(found, requester, BUNDLED_STYLE),
            None if next_upto is None else str(self._places.token(next_upto)),
        )

    async def _read(self, room_id: str, upto: int, limit: int) -> list[ThreadRow]:
        return await self._database.read(lambda tx: self._repository.get_threads(tx, room_id, upto, limit))

    async def _seen(self, user_id: str, threads: Sequence[ThreadRow]) -> list[StoredEvent]:
        found = await self._events.get_many(thread.root for thread in threads)
        return await self._visibility.visible(user_id, list(found.values()))

    async def _seen_and_participated(self, user_id: str, threads: Sequence[ThreadRow]) -> list[StoredEvent]:
        seen = await self._seen(user_id, threads)
        summaries = await self._summaries.of(seen)
        return [
            stored
            for stored in seen
            if stored.event.sender == user_id
            or (
                (summary := summaries.get(stored.event.event_id)) is not None
                and any(replies.sender == user_id for replies in summary.replies)
            )
        ]

    async def _without_ignored(self, user_id: str, roots: Sequence[StoredEvent]) -> list[StoredEvent]:
        # Of roots: "If [it] was sent by an ignored user, the event is returned redacted to the caller."
        ignored = await self._personal.ignored(user_id)
        return [
            stored.redacted("") if stored.event.sender in ignored and stored.redacted_by is None else stored
            for stored in roots
        ]


class _Select(Protocol):
    async def __call__(self, user_id: str, threads: Sequence[ThreadRow]) -> list[StoredEvent]: ...
