"""Specification module create_room."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from popcube_server.rest.client.address_invite import address_invite
from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.rest.parse import find_bool, find_list, find_object, find_string, find_string_list
from popcube_server.services.errors import BadJson, InvalidParam
from popcube_server.services.rooms.create_room import CreateRoom
from popcube_server.services.rooms.invite_by_address import AddressInvite
from popcube_server.services.rooms.room_options import RoomOptions, StateDraft


class CreateRoomEndpoint:
    def __init__(self, create_room: CreateRoom) -> None:
        self._create_room = create_room

    @endpoint("POST", "/_matrix/client/v3/createRoom")
    async def create(self, call: Call) -> Mapping[str, Any]:
        return {"room_id": await self._create_room.create(call.requester, _options(call.body))}


def _options(body: Mapping[str, Any]) -> RoomOptions:
    visibility = find_string(body, "visibility") or "private"
    if visibility not in ("public", "private"):
        raise InvalidParam("'visibility' must be 'public' or 'private'.")
    is_direct = find_bool(body, "is_direct") or False
    return RoomOptions(
        preset=find_string(body, "preset"),
        visibility=visibility,
        name=find_string(body, "name"),
        topic=find_string(body, "topic"),
        room_alias_name=find_string(body, "room_alias_name"),
        room_version=find_string(body, "room_version"),
        creation_content=find_object(body, "creation_content"),
        power_level_content_override=find_object(body, "power_level_content_override"),
        initial_state=tuple(_state_draft(item) for item in find_list(body, "initial_state") or ()),
        invite_by_address=tuple(
            _address_invite(item, is_direct) for item in find_list(body, "invite_3pid") or ()
        ),
        invite=tuple(dict.fromkeys(find_string_list(body, "invite") or ())),
        is_direct=is_direct,
    )


def _address_invite(item: Any, is_direct: bool) -> AddressInvite:
    if not isinstance(item, dict):
        raise BadJson("Each entry of 'invite_3pid' must be an object.")
    # `is_direct` is for "the users in `invite` and `invite_3pid`".
    return replace(address_invite(item), is_direct=is_direct)


def _state_draft(item: Any) -> StateDraft:
    event_type = item.get("type") if isinstance(item, dict) else None
    if not isinstance(event_type, str):
        raise BadJson("Each entry of 'initial_state' needs a 'type'.")
    state_key = item.get("state_key", "")
    content = item.get("content")
    if not isinstance(state_key, str) or not isinstance(content, dict):
        raise BadJson(
            "Each entry of 'initial_state' needs an object as 'content'; its 'state_key' is a string."
        )
    return event_type, state_key, content
