"""Specification module rooms: reading events, state and members; and list_joined_rooms."""

from collections.abc import Mapping
from typing import Any

import orjson

from popcube_server.rest.client.event_lists import event_list
from popcube_server.rest.endpoint import Access, Answer, Call, endpoint
from popcube_server.rest.parse import query_choice
from popcube_server.services.rooms.read_event import ReadEvent
from popcube_server.services.rooms.read_members import MEMBERSHIPS, MemberChoice, ReadMembers
from popcube_server.services.rooms.read_state import ReadState
from popcube_server.services.rooms.user_rooms import UserRooms

_ROOM = "/_matrix/client/v3/rooms/{room_id}"


class Rooms:
    def __init__(
        self, read_event: ReadEvent, read_state: ReadState, read_members: ReadMembers, user_rooms: UserRooms
    ) -> None:
        self._read_event = read_event
        self._read_state = read_state
        self._read_members = read_members
        self._user_rooms = user_rooms

    @endpoint("GET", "/_matrix/client/v3/joined_rooms")
    async def joined_rooms(self, call: Call) -> Mapping[str, Any]:
        return {"joined_rooms": await self._user_rooms.joined_rooms(call.requester.user_id)}

    @endpoint("GET", _ROOM + "/event/{event_id}", Access.GUEST)
    async def event(self, call: Call) -> Answer:
        return Answer(
            await self._read_event.json(call.requester, call.path["room_id"], call.path["event_id"])
        )

    @endpoint("GET", _ROOM + "/state", Access.GUEST)
    async def state(self, call: Call) -> Answer:
        return Answer(event_list(await self._read_state.all(call.requester, call.path["room_id"])))

    # An empty state key may be left out, with or without the slash before it.
    @endpoint("GET", _ROOM + "/state/{event_type}", Access.GUEST)
    @endpoint("GET", _ROOM + "/state/{event_type}/{state_key}", Access.GUEST)
    async def state_entry(self, call: Call) -> Answer | Mapping[str, Any]:
        where = (call.path["room_id"], call.path["event_type"], call.path.get("state_key", ""))
        if query_choice(call, "format", ("content", "event")) == "event":
            return Answer(await self._read_state.event(call.requester, *where))
        return (await self._read_state.find(call.requester, *where)).event.content

    @endpoint("GET", _ROOM + "/members", Access.GUEST)
    async def members(self, call: Call) -> Answer:
        choice = MemberChoice(
            call.query_one("at"),
            query_choice(call, "membership", MEMBERSHIPS),
            query_choice(call, "not_membership", MEMBERSHIPS),
        )
        events = await self._read_members.events(call.requester, call.path["room_id"], choice)
        return Answer(b'{"chunk":%b}' % event_list(events))

    @endpoint("GET", _ROOM + "/joined_members")
    async def joined_members(self, call: Call) -> Answer:
        joined = await self._read_members.joined(call.requester, call.path["room_id"])
        return Answer(orjson.dumps({"joined": joined}))
