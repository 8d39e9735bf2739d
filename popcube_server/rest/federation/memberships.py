"""Specification modules joins, knocks, leaving, invites: users of other servers in our rooms, and ours in theirs."""

from collections.abc import Mapping
from typing import Any

import orjson

from federation.room_dag.canonical_json import encode_lenient
from popcube_server.rest.endpoint import Access, Answer, Call, endpoint
from popcube_server.rest.federation.pdus import pdu_list, spliced
from popcube_server.rest.parse import get_object, get_string, query_bool
from popcube_server.services.federation.make_membership import MakeMembership, Template
from popcube_server.services.federation.receive_invite import ReceivedInvite, ReceiveInvite
from popcube_server.services.federation.take_membership import TakeMembership

_SERVER = Access.SERVER
_V1 = "/_matrix/federation/v1/"
_V2 = "/_matrix/federation/v2/"


class Joins:
    def __init__(self, make: MakeMembership, take: TakeMembership, server_name: str) -> None:
        self._make = make
        self._take = take
        self._server_name = server_name

    @endpoint("GET", _V1 + "make_join/{room_id}/{user_id}", _SERVER)
    async def make_join(self, call: Call) -> Answer:
        return self._template(
            await self._make.join(call.origin, *_room_and_user(call), call.query.get("ver", ()))
        )

    @endpoint("PUT", _V2 + "send_join/{room_id}/{event_id}", _SERVER)
    async def send_join(self, call: Call) -> Answer:
        joined = await self._take.join(
            call.origin,
            *_room_and_event(call),
            call.json,
            omit_members=query_bool(call, "omit_members", False),
        )
        omitted = joined.servers_in_room is not None
        members = {
            "origin": orjson.dumps(self._server_name),
            "event": joined.event.json,
            "state": pdu_list(joined.state),
            "auth_chain": pdu_list(joined.auth_chain),
            "members_omitted": b"true" if omitted else b"false",
        }
        if omitted:
            members["servers_in_room"] = orjson.dumps(list(joined.servers_in_room or ()))
        return spliced(members)

    @endpoint("GET", _V1 + "make_knock/{room_id}/{user_id}", _SERVER)
    async def make_knock(self, call: Call) -> Answer:
        return self._template(
            await self._make.knock(call.origin, *_room_and_user(call), call.query.get("ver", ()))
        )

    @endpoint("PUT", _V1 + "send_knock/{room_id}/{event_id}", _SERVER)
    async def send_knock(self, call: Call) -> Answer:
        entries = await self._take.knock(call.origin, *_room_and_event(call), call.json)
        return spliced({"knock_room_state": b"[%b]" % b",".join(entries)})

    @endpoint("GET", _V1 + "make_leave/{room_id}/{user_id}", _SERVER)
    async def make_leave(self, call: Call) -> Answer:
        return self._template(await self._make.leave(call.origin, *_room_and_user(call)))

    @endpoint("PUT", _V2 + "send_leave/{room_id}/{event_id}", _SERVER)
    async def send_leave(self, call: Call) -> Mapping[str, Any]:
        await self._take.leave(call.origin, *_room_and_event(call), call.json)
        return {}

    def _template(self, template: Template) -> Answer:
        version = orjson.dumps(template.room_version)
        # "origin: Required: The name of the resident homeserver." It is no part of events any more otherwise.
        event = {**template.event, "origin": self._server_name}
        return spliced({"room_version": version, "event": encode_lenient(event)})


class Invites:
    def __init__(self, receive: ReceiveInvite) -> None:
        self._receive = receive

    @endpoint("PUT", _V2 + "invite/{room_id}/{event_id}", _SERVER)
    async def invite(self, call: Call) -> Answer:
        body = call.body
        invite = ReceivedInvite(
            get_string(body, "room_version"), get_object(body, "event"), body.get("invite_room_state")
        )
        event = await self._receive.receive(call.origin, *_room_and_event(call), invite)
        return spliced({"event": event.json})

    @endpoint("PUT", _V1 + "invite/{room_id}/{event_id}", _SERVER)
    async def invite_v1(self, call: Call) -> Answer:
        # "This API is nearly identical to the v2 API with the exception of the request body being the event": only
        # room versions 1 and 2 were ever invited to in this way.
        unsigned = call.body.get("unsigned")
        state = unsigned.get("invite_room_state") if isinstance(unsigned, dict) else None
        event = await self._receive.receive(
            call.origin, *_room_and_event(call), ReceivedInvite(_old_version(state), call.json, state)
        )
        return Answer(b'[200,{"event":%b}]' % event.json)


def _old_version(state: Any) -> str:
    """Which of the two versions that such an invite can be of, as far as it says."""
    for entry in state if isinstance(state, list) else ():
        if isinstance(entry, dict) and entry.get("type") == "m.room.create":
            content = entry.get("content")
            return "2" if isinstance(content, dict) and content.get("room_version") == "2" else "1"
    return "1"


def _room_and_user(call: Call) -> tuple[str, str]:
    return call.path["room_id"], call.path["user_id"]


def _room_and_event(call: Call) -> tuple[str, str]:
    return call.path["room_id"], call.path["event_id"]
