"""Specification module list_public_rooms: reading the directory. Changing it is in directory.py."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, Payload, endpoint
from popcube_server.rest.parse import (
    find_int,
    find_list,
    find_object,
    find_string,
    get_bool,
    query_int,
)
from popcube_server.services.errors import BadJson, InvalidParam
from popcube_server.services.remote_queries.remote_directories import RemoteDirectories
from popcube_server.services.rooms.public_rooms import (
    NO_ROOMS,
    DirectoryPage,
    DirectoryQuery,
    DirectorySearch,
    PublicRooms,
)

MAX_LIMIT = 500
DEFAULT_LIMIT = 100
_PATH = "/_matrix/client/v3/publicRooms"


class ListPublicRooms:
    def __init__(
        self, public_rooms: PublicRooms, remote: RemoteDirectories, server_name: str, is_open: bool
    ) -> None:
        self._public_rooms = public_rooms
        self._remote = remote
        self._server_name = server_name
        self._is_open = is_open

    @endpoint("GET", "/_matrix/client/v3/directory/list/room/{room_id}", Access.OPEN)
    async def visibility(self, call: Call) -> Mapping[str, Any]:
        is_listed = await self._public_rooms.is_listed(call.path["room_id"])
        return {"visibility": "public" if is_listed else "private"}

    @endpoint("GET", _PATH, Access.OPTIONAL)
    async def list(self, call: Call) -> Mapping[str, Any]:
        self._check_access(call)
        limit = query_int(call, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        query = DirectoryQuery(limit=limit, start=call.query_one("since"))
        return await self._answer(call, DirectorySearch(query))

    @endpoint("POST", _PATH, Access.OPTIONAL, Payload.OPTIONAL_JSON_OBJECT)
    async def search(self, call: Call) -> Mapping[str, Any]:
        self._check_access(call)
        limit = find_int(call.body, "limit", 1)
        return await self._answer(
            call, read_search(call.body, DEFAULT_LIMIT if limit is None else min(limit, MAX_LIMIT))
        )

    async def _answer(self, call: Call, search: DirectorySearch) -> Mapping[str, Any]:
        server = call.query_one("server")
        if server and server != self._server_name:
            return directory_page(await self._remote.list(call.asker, server, search))
        if search.network:
            # No application service lists rooms here.
            return directory_page(NO_ROOMS)
        return directory_page(await self._public_rooms.list(search.rooms))

    def _check_access(self, call: Call) -> None:
        if not self._is_open:
            # Raises if there is none.
            _ = call.requester


def read_search(body: Mapping[str, Any], limit: int) -> DirectorySearch:
    """What the JSON object of a search asks for, but for its limit."""
    wanted = find_object(body, "filter") or {}
    query = DirectoryQuery(
        find_string(wanted, "generic_search_term"), _types(wanted), limit, find_string(body, "since")
    )
    network = find_string(body, "third_party_instance_id")
    are_all_wanted = get_bool(body, "include_all_networks", False)
    if are_all_wanted and network is not None:
        raise InvalidParam("'third_party_instance_id' cannot be given together with 'include_all_networks'.")
    return DirectorySearch(query, network, are_all_wanted)


def _types(wanted: Mapping[str, Any]) -> tuple[str | None, ...] | None:
    types = find_list(wanted, "room_types")
    if types is None:
        return None
    if not all(each is None or isinstance(each, str) for each in types):
        raise BadJson("'room_types' must be a list of strings and nulls.")
    return tuple(types)


def directory_page(page: DirectoryPage) -> Mapping[str, Any]:
    """The PublishedRoomsResponse."""
    body: dict[str, Any] = {"chunk": [room.published() for room in page.rooms]}
    if page.total is not None:
        body["total_room_count_estimate"] = page.total
    if page.next_batch is not None:
        body["next_batch"] = page.next_batch
    if page.prev_batch is not None:
        body["prev_batch"] = page.prev_batch
    return body
