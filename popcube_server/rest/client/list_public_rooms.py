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
from popcube_server.services.errors import BadJson, InvalidParam, WithCode
from popcube_server.services.rooms.public_rooms import NO_ROOMS, DirectoryPage, DirectoryQuery, PublicRooms

MAX_LIMIT = 500
DEFAULT_LIMIT = 100
_PATH = "/_matrix/client/v3/publicRooms"


class ListPublicRooms:
    def __init__(self, public_rooms: PublicRooms, server_name: str, is_open: bool) -> None:
        self._public_rooms = public_rooms
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
        return _page(
            await self._public_rooms.list(DirectoryQuery(limit=limit, start=call.query_one("since")))
        )

    @endpoint("POST", _PATH, Access.OPTIONAL, Payload.OPTIONAL_JSON_OBJECT)
    async def search(self, call: Call) -> Mapping[str, Any]:
        self._check_access(call)
        body = call.body
        limit = find_int(body, "limit", 1)
        wanted = find_object(body, "filter") or {}
        query = DirectoryQuery(
            find_string(wanted, "generic_search_term"),
            _types(wanted),
            DEFAULT_LIMIT if limit is None else min(limit, MAX_LIMIT),
            find_string(body, "since"),
        )
        network = find_string(body, "third_party_instance_id")
        if get_bool(body, "include_all_networks", False):
            if network is not None:
                raise InvalidParam(
                    "'third_party_instance_id' cannot be given together with 'include_all_networks'."
                )
        elif network:
            # No application service lists rooms here.
            return _page(NO_ROOMS)
        return _page(await self._public_rooms.list(query))

    def _check_access(self, call: Call) -> None:
        if not self._is_open:
            # Raises if there is none.
            _ = call.requester
        server = call.query_one("server")
        if server and server != self._server_name:
            raise WithCode(502, "M_UNKNOWN", "The rooms of other servers cannot be listed.")


def _types(wanted: Mapping[str, Any]) -> tuple[str | None, ...] | None:
    types = find_list(wanted, "room_types")
    if types is None:
        return None
    if not all(each is None or isinstance(each, str) for each in types):
        raise BadJson("'room_types' must be a list of strings and nulls.")
    return tuple(types)


def _page(page: DirectoryPage) -> Mapping[str, Any]:
    body: dict[str, Any] = {
        "chunk": [room.published() for room in page.rooms],
        "total_room_count_estimate": page.total,
    }
    if page.next_batch is not None:
        body["next_batch"] = page.next_batch
    if page.prev_batch is not None:
        body["prev_batch"] = page.prev_batch
    return body
