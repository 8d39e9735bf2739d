"""Specification modules public_rooms and space_hierarchy of the server-server API."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.client.list_public_rooms import MAX_LIMIT, directory_page, read_search
from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import find_int, query_bool, query_int
from popcube_server.services.errors import InvalidParam
from popcube_server.services.federation.serve_directory import ServeDirectory, ServeHierarchy
from popcube_server.services.rooms.public_rooms import DirectoryQuery, DirectorySearch
from popcube_server.services.rooms.space_walk import HierarchyRequest, children_of

_PATH = "/_matrix/federation/v1/publicRooms"


class PublicRoomsForServers:
    def __init__(self, directory: ServeDirectory) -> None:
        self._directory = directory

    @endpoint("GET", _PATH, Access.SERVER)
    async def list(self, call: Call) -> Mapping[str, Any]:
        network = call.query_one("third_party_instance_id")
        are_all_wanted = query_bool(call, "include_all_networks", False)
        if are_all_wanted and network is not None:
            raise InvalidParam(
                "'third_party_instance_id' cannot be given together with 'include_all_networks'."
            )
        rooms = DirectoryQuery(
            limit=_limit(query_int(call, "limit", 0, 0, MAX_LIMIT)), start=call.query_one("since")
        )
        search = DirectorySearch(rooms, network, are_all_wanted)
        return directory_page(await self._directory.list(call.origin, search))

    @endpoint("POST", _PATH, Access.SERVER)
    async def search(self, call: Call) -> Mapping[str, Any]:
        search = read_search(call.body, _limit(find_int(call.body, "limit", 0)))
        return directory_page(await self._directory.list(call.origin, search))


class HierarchyForServers:
    def __init__(self, hierarchy: ServeHierarchy) -> None:
        self._hierarchy = hierarchy

    @endpoint("GET", "/_matrix/federation/v1/hierarchy/{room_id}", Access.SERVER)
    async def hierarchy(self, call: Call) -> Mapping[str, Any]:
        request = HierarchyRequest(query_bool(call, "suggested_only", False))
        shared = await self._hierarchy.get(call.origin, call.path["room_id"], request)
        children = [child.stripped for child in children_of(shared.room, request)]
        return {
            "room": {**shared.room.summary(), "children_state": children},
            "children": [child.summary() for child in shared.children],
            "inaccessible_children": shared.inaccessible,
        }


def _limit(wanted: int | None) -> int:
    # "The maximum number of rooms to return. Defaults to 0 (no limit)." Without one there are as many as on any page.
    return min(wanted, MAX_LIMIT) if wanted else MAX_LIMIT
