"""Specification modules space_hierarchy, room_summary, room_initial_sync; aliases of a room; mutual_rooms."""

from collections.abc import Mapping
from typing import Any

import orjson

from popcube_server.rest.client.event_lists import event_list, query_limit
from popcube_server.rest.endpoint import Access, Answer, Call, endpoint
from popcube_server.rest.parse import query_bool, query_int, query_string
from popcube_server.services.rooms.list_aliases import ListAliases
from popcube_server.services.rooms.mutual_rooms import MutualRooms
from popcube_server.services.rooms.preview_room import PreviewRoom
from popcube_server.services.rooms.room_snapshot import TakeRoomSnapshot
from popcube_server.services.rooms.space_hierarchy import SpaceHierarchy
from popcube_server.services.rooms.space_walk import MAX_DEPTH, HierarchyRequest

_DEFAULT_ROOMS = 50
_MAX_ROOMS = 100
_UNSTABLE = "/_matrix/client/unstable/im.nheko.summary"


class SpaceHierarchyEndpoint:
    def __init__(self, hierarchy: SpaceHierarchy) -> None:
        self._hierarchy = hierarchy

    @endpoint("GET", "/_matrix/client/v1/rooms/{room_id}/hierarchy")
    async def hierarchy(self, call: Call) -> Mapping[str, Any]:
        request = HierarchyRequest(
            query_bool(call, "suggested_only", False),
            query_int(call, "max_depth", MAX_DEPTH, 0, MAX_DEPTH),
            query_int(call, "limit", _DEFAULT_ROOMS, 1, _MAX_ROOMS),
            call.query_one("from"),
        )
        page = await self._hierarchy.read(call.requester, call.path["room_id"], request)
        body: dict[str, Any] = {"rooms": page.rooms}
        if page.next_batch is not None:
            body["next_batch"] = page.next_batch
        return body


class RoomSummaryEndpoint:
    def __init__(self, preview: PreviewRoom) -> None:
        self._preview = preview

    @endpoint("GET", "/_matrix/client/v1/room_summary/{room_id_or_alias}", Access.OPTIONAL)
    # COMPAT: the spellings of MSC3266 before it was part of the specification.
    @endpoint("GET", _UNSTABLE + "/rooms/{room_id_or_alias}/summary", Access.OPTIONAL)
    @endpoint("GET", _UNSTABLE + "/summary/{room_id_or_alias}", Access.OPTIONAL)
    async def summary(self, call: Call) -> Mapping[str, Any]:
        room = call.path["room_id_or_alias"]
        if call.maybe_requester is None:
            return await self._preview.for_anybody(call.asker, room)
        return await self._preview.of(call.requester, room, call.query.get("via", ()))


class RoomAliases:
    def __init__(self, aliases: ListAliases) -> None:
        self._aliases = aliases

    @endpoint("GET", "/_matrix/client/v3/rooms/{room_id}/aliases")
    async def aliases(self, call: Call) -> Mapping[str, Any]:
        return {"aliases": await self._aliases.of(call.requester, call.path["room_id"])}


class MutualRoomsEndpoint:
    def __init__(self, mutual_rooms: MutualRooms) -> None:
        self._mutual_rooms = mutual_rooms

    @endpoint("GET", "/_matrix/client/v1/mutual_rooms")
    async def rooms(self, call: Call) -> Mapping[str, Any]:
        user_id = query_string(call, "user_id")
        shared = await self._mutual_rooms.with_user(call.requester, user_id, call.query_one("from"))
        body: dict[str, Any] = {"joined": shared.room_ids, "count": shared.count}
        if shared.next_batch is not None:
            body["next_batch"] = shared.next_batch
        return body


class RoomInitialSync:
    def __init__(self, snapshots: TakeRoomSnapshot) -> None:
        self._snapshots = snapshots

    @endpoint("GET", "/_matrix/client/v3/rooms/{room_id}/initialSync", Access.GUEST)
    async def initial_sync(self, call: Call) -> Answer:
        room_id = call.path["room_id"]
        snapshot = await self._snapshots.take(call.requester, room_id, query_limit(call, 20))
        messages = snapshot.messages
        # Here `start` is where earlier events are, and `end` where later ones come.
        start = b"" if messages.end is None else b'"start":%b,' % orjson.dumps(messages.end)
        account_data = [
            b'{"type":%b,"content":%b}' % (orjson.dumps(row.type), row.content)
            for row in snapshot.account_data
        ]
        membership = (
            b"" if snapshot.membership is None else b',"membership":%b' % orjson.dumps(snapshot.membership)
        )
        return Answer(
            b'{"room_id":%b,"visibility":"%b","state":%b,"messages":{%b"end":%b,"chunk":%b},"account_data":%b%b}'
            % (
                orjson.dumps(room_id),
                b"public" if snapshot.is_listed else b"private",
                event_list(snapshot.state),
                start,
                orjson.dumps(messages.start),
                event_list(messages.chunk[::-1]),
                event_list(account_data),
                membership,
            )
        )
