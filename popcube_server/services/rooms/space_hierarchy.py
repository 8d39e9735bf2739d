"""The rooms below a space. Source: client-server API, "Spaces", `/rooms/{roomId}/hierarchy`.

A walk is remembered between its pages: a page goes on where the one before ended, whatever other servers say meanwhile.
A walk that was forgotten (after some minutes, or a restart) is done again from its root.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure

from federation.expiring_cache import ExpiringCache
from popcube_server.services.errors import InvalidParam, LimitExceeded, NotAllowed
from popcube_server.services.platform import Platform
from popcube_server.services.remote_queries.remote_spaces import RemoteSpace, RemoteSpaces
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.likely_servers import LikelyServers
from popcube_server.services.rooms.room_access import is_accessible
from popcube_server.services.rooms.room_summaries import RoomSummaries, RoomSummary
from popcube_server.services.rooms.space_walk import MAX_ASKED, HierarchyRequest, Place, Walk, children_of
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.memberships import MembershipRow
from synapse_like_config.lazy_dataclasses import dataclass

WALKS: Final = 500
WALK_LIFETIME_MS: Final = 10 * 60 * 1000
ASKED_AT_ONCE: Final = 10
PAGE_TIME_MS: Final = 15_000
"""After so long a page has what was found until then, and no other server is waited for longer."""

_ID_LETTERS: Final = 10
_TOKEN = re.compile(r"h([0-9]{1,6})\.([0-9]{1,3})\.([01])\.([A-Za-z]{10})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A part of the tree, depth first."""

    rooms: Sequence[Mapping[str, Any]]
    next_batch: str | None


@dataclass(frozen=True, slots=True)
class _Page:
    """One request: whose walk it is, and until when other servers are waited for."""

    requester: Requester
    request: HierarchyRequest
    memberships: Mapping[str, MembershipRow]
    ends_at_ms: int


class SpaceHierarchy:
    def __init__(
        self,
        summaries: RoomSummaries,
        user_rooms: UserRooms,
        remote: RemoteSpaces,
        likely_servers: LikelyServers,
        platform: Platform,
    ) -> None:
        self._summaries = summaries
        self._user_rooms = user_rooms
        self._remote = remote
        self._likely_servers = likely_servers
        self._platform = platform
        self._walks: ExpiringCache[tuple[str, str, str], Walk] = ExpiringCache(WALKS, platform.now_ms)

    async def read(self, requester: Requester, room_id: str, request: HierarchyRequest) -> Hierarchy:
        """A page; it may be short, and even empty, before the last one, if other servers are slow.

        Raises `NotAllowed` if the user may not see the space, `InvalidParam` for a wrong token, `LimitExceeded`.
        """
        skipped, walk_id = _parse_token(request)
        memberships = await self._user_rooms.of_user(requester.user_id)
        page = _Page(requester, request, dict(memberships), self._platform.now_ms() + PAGE_TIME_MS)
        known = None if walk_id is None else self._walks.find((requester.user_id, room_id, walk_id))
        if walk_id is None or known is None:
            walk_id = self._platform.random_letters(_ID_LETTERS)
        walk = known or await self._begin(requester, room_id)
        self._walks.put(
            (requester.user_id, room_id, walk_id), walk, self._platform.now_ms() + WALK_LIFETIME_MS
        )
        await walk.lock.acquire()
        try:
            # One more room tells whether there is more to come.
            await self._walk_to(walk, page, skipped + request.limit + 1)
        except LimitExceeded:
            # What was found is shown, and the next page goes on from there, if it comes later.
            if len(walk.found) <= skipped:
                raise
        finally:
            walk.lock.release()
        # The root, which may have been hidden since.
        if not await self._still_shown(walk.found[:1], page):
            raise NotAllowed("You may not see that room.")
        found = walk.found[skipped : skipped + request.limit]
        end = skipped + len(found)
        has_more = len(walk.found) > end or not walk.is_over
        return Hierarchy(
            [_entry(room, request) for room in await self._still_shown(found, page)],
            _token(end, request, walk_id) if has_more else None,
        )

    async def _begin(self, requester: Requester, room_id: str) -> Walk:
        # The endpoint has no `via`.
        servers = await self._likely_servers.of(requester.user_id, room_id)
        return Walk(requester.user_id, [Place(room_id, 0, servers)])

    async def _walk_to(self, walk: Walk, page: _Page, count: int) -> None:
        while len(walk.found) < count:
            walk.skip_seen()
            if walk.is_over:
                return
            place = walk.ahead[-1]
            local = await self._summaries.find(place.room_id)
            if local is not None and local.is_here:
                # "the local data should be used instead of the remote server's data"
                self._visit(walk, page, local, None)
                continue
            if place.needs_asking and place.room_id not in walk.asked:
                await self._ask(walk, page)
                if place.room_id not in walk.asked:
                    # No time is left; the next page goes on from here.
                    return
            asked = walk.asked.get(place.room_id)
            told = None if place.is_hidden else place.told
            self._visit(walk, page, told if asked is None else asked.room, asked)

    def _visit(self, walk: Walk, page: _Page, room: RoomSummary | None, told_by: RemoteSpace | None) -> None:
        place = walk.ahead[-1]
        if room is None or not is_accessible(room, page.memberships):
            walk.visit(None, ())
            return
        depth = place.depth + 1
        children = () if place.depth == page.request.max_depth else children_of(room, page.request)
        walk.visit(room, [Place(child.room_id, depth, child.via, told_by) for child in children])

    async def _ask(self, walk: Walk, page: _Page) -> None:
        """Ask for the next places together, unless there is no time left. Raises `LimitExceeded`."""
        places = await self._elsewhere(walk.next_to_ask(ASKED_AT_ONCE))
        if walk.asked_count >= MAX_ASKED:
            walk.asked.update((place.room_id, None) for place in places)
            return
        left_ms = page.ends_at_ms - self._platform.now_ms()
        if left_ms <= 0:
            return
        asking = [Deferred.fromCoroutine(self._ask_for(walk, page, place)) for place in places]
        walk.asked_count += len(places)
        together: Deferred[Any] = DeferredList(asking, consumeErrors=True)
        too_late = self._platform.call_later(left_ms / 1000, together.cancel)
        try:
            answers = await together
        finally:
            if too_late.active():
                too_late.cancel()
        for _, failure in answers:
            if isinstance(failure, Failure) and failure.check(CancelledError) is None:
                failure.raiseException()
        # Who was too slow is left out: a page must not wait for it again.
        for place in places:
            walk.asked.setdefault(place.room_id, None)

    async def _elsewhere(self, places: Sequence[Place]) -> list[Place]:
        known = await self._summaries.of(place.room_id for place in places)
        here = {room_id for room_id, room in known.items() if room.is_here}
        return [place for place in places if place.room_id not in here]

    async def _ask_for(self, walk: Walk, page: _Page, place: Place) -> None:
        found = await self._remote.find(page.requester.user_id, place.room_id, place.servers)
        walk.asked[place.room_id] = found

    async def _still_shown(self, rooms: Sequence[RoomSummary], page: _Page) -> list[RoomSummary]:
        """As they are now: they may have been found minutes ago."""
        known = await self._summaries.of(room.room_id for room in rooms)
        now = (known.get(room.room_id, room) if room.is_here else room for room in rooms)
        return [room for room in now if is_accessible(room, page.memberships)]


def _entry(room: RoomSummary, request: HierarchyRequest) -> Mapping[str, Any]:
    children = [child.stripped for child in children_of(room, request)]
    return {**room.summary(), "children_state": children}


def _token(count: int, request: HierarchyRequest, walk_id: str) -> str:
    return f"h{count}.{request.max_depth}.{int(request.is_suggested_only)}.{walk_id}"


def _parse_token(request: HierarchyRequest) -> tuple[int, str | None]:
    """How many rooms were shown, and in which walk."""
    if request.start is None:
        return 0, None
    match = _TOKEN.fullmatch(request.start)
    if match is None:
        raise InvalidParam("The token cannot be read.")
    if request.start != _token(int(match[1]), request, match[4]):
        raise InvalidParam("'max_depth' and 'suggested_only' must stay the same from page to page.")
    return int(match[1]), match[4]
