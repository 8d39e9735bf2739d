"""Specification module directory, and what list_public_rooms has to change the list."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, Payload, endpoint
from popcube_server.rest.parse import find_string, get_string
from popcube_server.services.errors import InvalidParam
from popcube_server.services.rooms.edit_directory import EditDirectory
from popcube_server.services.rooms.resolve_any_alias import ResolveAnyAlias

_ALIAS = "/_matrix/client/v3/directory/room/{room_alias}"


class Directory:
    def __init__(self, aliases: ResolveAnyAlias, edit: EditDirectory) -> None:
        self._aliases = aliases
        self._edit = edit

    @endpoint("GET", _ALIAS, Access.OPEN)
    async def resolve(self, call: Call) -> Mapping[str, Any]:
        found = await self._aliases.get(call.asker, call.path["room_alias"])
        return {"room_id": found.room_id, "servers": found.servers}

    @endpoint("PUT", _ALIAS)
    async def add(self, call: Call) -> Mapping[str, Any]:
        await self._edit.add_alias(call.requester, call.path["room_alias"], get_string(call.body, "room_id"))
        return {}

    @endpoint("DELETE", _ALIAS)
    async def remove(self, call: Call) -> Mapping[str, Any]:
        await self._edit.remove_alias(call.requester, call.path["room_alias"])
        return {}

    @endpoint("PUT", "/_matrix/client/v3/directory/list/room/{room_id}", payload=Payload.OPTIONAL_JSON_OBJECT)
    async def publish(self, call: Call) -> Mapping[str, Any]:
        visibility = find_string(call.body, "visibility") or "public"
        if visibility not in ("public", "private"):
            raise InvalidParam("'visibility' must be 'public' or 'private'.")
        await self._edit.publish(call.requester, call.path["room_id"], visibility == "public")
        return {}
