"""The directory of rooms that are listed publicly. Source: client-server API, `/publicRooms`."""

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence

from popcube_server.services.errors import InvalidParam, NotFound
from popcube_server.services.rooms.room_summaries import RoomSummaries, RoomSummary
from storage.database import Database
from storage.directory import DirectoryRepository
from synapse_like_config.lazy_dataclasses import dataclass

_TOKEN = re.compile(r"([nb])([0-9]{1,12})\.(!.{1,254})", re.DOTALL | re.ASCII)


@dataclass(frozen=True, slots=True)
class DirectoryQuery:
    """Which rooms are wanted."""

    term: str | None = None
    types: Collection[str | None] | None = None
    """Types of rooms, None among them for rooms without one; None for all."""
    limit: int = 100
    start: str | None = None


@dataclass(frozen=True, slots=True)
class DirectorySearch:
    """As it is asked, here or of another server. `network` is the `third_party_instance_id`."""

    rooms: DirectoryQuery
    network: str | None = None
    are_all_networks_wanted: bool = False


@dataclass(frozen=True, slots=True)
class DirectoryPage:
    rooms: Sequence[RoomSummary]
    total: int | None
    """Rooms on all pages, if that is known."""
    next_batch: str | None
    prev_batch: str | None


NO_ROOMS = DirectoryPage((), 0, None, None)

_Place = tuple[int, str]


class PublicRooms:
    """Lists the rooms with most members first, rooms with as many by their IDs."""

    def __init__(
        self, database: Database, repository: DirectoryRepository, summaries: RoomSummaries, is_enabled: bool
    ) -> None:
        self._database = database
        self._repository = repository
        self._summaries = summaries
        self._is_enabled = is_enabled

    async def list(self, query: DirectoryQuery) -> DirectoryPage:
        """For users. Raises `InvalidParam` for a wrong token."""
        return await self._list(query, lambda room: True)

    async def list_federated(self, query: DirectoryQuery) -> DirectoryPage:
        """For other servers: without the rooms that their users cannot be in. Raises as `list`."""
        return await self._list(query, lambda room: room.openness is not None and room.openness.is_federated)

    async def _list(self, query: DirectoryQuery, is_shown: Callable[[RoomSummary], bool]) -> DirectoryPage:
        start = None if query.start is None else _parse_token(query.start)
        if not self._is_enabled:
            return NO_ROOMS
        room_ids = await self._database.read(self._repository.get_published)
        known = await self._summaries.of(room_ids)
        rooms = sorted(
            (room for room in known.values() if is_shown(room) and _is_wanted(room, query)), key=_place
        )
        first, end = _bounds([_place(room) for room in rooms], start, query.limit)
        page = rooms[first:end]
        return DirectoryPage(
            page,
            len(rooms),
            _token("n", page[-1]) if page and end < len(rooms) else None,
            _token("b", page[0]) if page and first > 0 else None,
        )

    async def is_listed(self, room_id: str) -> bool:
        """Raises `NotFound` if this server does not know the room."""
        if await self._summaries.find(room_id) is None:
            raise NotFound("This server does not know that room.")
        return await self._database.read(lambda tx: self._repository.is_published(tx, room_id))


def _is_wanted(room: RoomSummary, query: DirectoryQuery) -> bool:
    if query.types is not None and room.type not in query.types:
        return False
    if not query.term:
        return True
    # "A string to search for in the room metadata, e.g. name, topic, canonical alias etc."
    term = query.term.casefold()
    return any(
        term in text.casefold() for text in (room.name, room.topic, room.canonical_alias) if text is not None
    )


def _place(room: RoomSummary) -> _Place:
    return (-room.joined_count, room.room_id)


def _bounds(places: Sequence[_Place], start: tuple[str, _Place] | None, limit: int) -> tuple[int, int]:
    if start is None:
        return 0, limit
    way, place = start
    at = bisect_left(places, place)
    if way == "b":
        return max(0, at - limit), at
    # The room itself was on the page before.
    first = at + 1 if at < len(places) and places[at] == place else at
    return first, first + limit


def _token(way: str, room: RoomSummary) -> str:
    return f"{way}{room.joined_count}.{room.room_id}"


def _parse_token(token: str) -> tuple[str, _Place]:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise InvalidParam("The token cannot be read.")
    return match[1], (-int(match[2]), match[3])
