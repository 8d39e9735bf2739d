"""The rooms below a space. Source: client-server API, "Spaces", `/rooms/{roomId}/hierarchy`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from popcube_server.services.errors import InvalidParam, NotAllowed
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.room_access import is_accessible
from popcube_server.services.rooms.room_summaries import SPACE, RoomSummaries, RoomSummary, SpaceChild
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.memberships import MembershipRow

MAX_DEPTH = 50
MAX_ROOMS = 5_000
"""A walk ends after so many rooms, however many there are."""

_TOKEN = re.compile(r"h([0-9]{1,6})\.([0-9]{1,3})\.([01])", re.ASCII)


@dataclass(frozen=True, slots=True)
class HierarchyRequest:
    """What of the tree is wanted."""

    is_suggested_only: bool = False
    max_depth: int = MAX_DEPTH
    limit: int = 50
    start: str | None = None


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A part of the tree, depth first."""

    rooms: Sequence[Mapping[str, Any]]
    next_batch: str | None


class SpaceHierarchy:
    def __init__(self, summaries: RoomSummaries, user_rooms: UserRooms) -> None:
        self._summaries = summaries
        self._user_rooms = user_rooms

    async def read(self, requester: Requester, room_id: str, request: HierarchyRequest) -> Hierarchy:
        """Raises `NotAllowed` if the user may not see the space, `InvalidParam` for a wrong token."""
        skipped = 0 if request.start is None else _parse_token(request.start, request)
        memberships = await self._user_rooms.of_user(requester.user_id)
        root = await self._summaries.find(room_id)
        if root is None or not is_accessible(root, memberships):
            raise NotAllowed("You may not see that room.")
        # One more room tells whether there is more to come.
        walked = await self._walk(root, dict(memberships), request, skipped + request.limit + 1)
        page = walked[skipped : skipped + request.limit]
        end = skipped + len(page)
        has_more = len(walked) > end
        return Hierarchy([_entry(room, request) for room in page], _token(end, request) if has_more else None)

    async def _walk(
        self,
        root: RoomSummary,
        memberships: Mapping[str, MembershipRow],
        request: HierarchyRequest,
        count: int,
    ) -> list[RoomSummary]:
        walked: list[RoomSummary] = []
        seen: set[str] = set()
        # What is to be visited, the next one last.
        ahead = [(root, 0)]
        while ahead and len(walked) < min(count, MAX_ROOMS):
            room, depth = ahead.pop()
            if room.room_id in seen:
                # "... the server should ... avoid loops": a room stands where it was met first.
                continue
            seen.add(room.room_id)
            walked.append(room)
            children = _children(room, request)
            if depth == request.max_depth or not children:
                continue
            known = await self._summaries.of(child.room_id for child in children if child.room_id not in seen)
            ahead.extend(
                (known[child.room_id], depth + 1)
                for child in reversed(children)
                if child.room_id in known and is_accessible(known[child.room_id], memberships)
            )
        return walked


def _children(room: RoomSummary, request: HierarchyRequest) -> Sequence[SpaceChild]:
    if room.type != SPACE:
        return ()
    if request.is_suggested_only:
        return [child for child in room.children if child.is_suggested]
    return room.children


def _entry(room: RoomSummary, request: HierarchyRequest) -> Mapping[str, Any]:
    return {**room.summary(), "children_state": [_stripped(child) for child in _children(room, request)]}


def _stripped(child: SpaceChild) -> Mapping[str, Any]:
    event = child.event.event
    return {
        "type": event.type,
        "state_key": event.state_key,
        "sender": event.sender,
        "content": event.content,
        "origin_server_ts": event.origin_server_ts,
    }


def _token(count: int, request: HierarchyRequest) -> str:
    return f"h{count}.{request.max_depth}.{int(request.is_suggested_only)}"


def _parse_token(token: str, request: HierarchyRequest) -> int:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise InvalidParam("The token cannot be read.")
    if token != _token(int(match[1]), request):
        raise InvalidParam("'max_depth' and 'suggested_only' must stay the same from page to page.")
    return int(match[1])
