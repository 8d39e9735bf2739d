"""Specification modules events, event_auth, backfill: what other servers read of rooms."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from federation.room_dag.event import Event
from popcube_server.rest.endpoint import Access, Answer, Call, endpoint
from popcube_server.rest.federation.pdus import pdu_list, spliced
from popcube_server.rest.parse import find_int, find_string_list, query_choice, query_int, query_string
from popcube_server.services.errors import MissingParam
from popcube_server.services.federation.serve_rooms import ServeRooms
from popcube_server.services.platform import Platform

_SERVER = Access.SERVER
_V1 = "/_matrix/federation/v1/"
MAX_TIME_MS = 2**53 - 1


class RoomEvents:
    def __init__(self, serve: ServeRooms, platform: Platform, server_name: str) -> None:
        self._serve = serve
        self._platform = platform
        self._server_name = server_name

    @endpoint("GET", _V1 + "event/{event_id}", _SERVER)
    async def event(self, call: Call) -> Answer:
        return self._transaction([await self._serve.event(call.origin, call.path["event_id"])])

    @endpoint("GET", _V1 + "state/{room_id}", _SERVER)
    async def state(self, call: Call) -> Answer:
        found = await self._serve.state(call.origin, call.path["room_id"], query_string(call, "event_id"))
        return spliced({"pdus": pdu_list(found.state), "auth_chain": pdu_list(found.auth_chain)})

    @endpoint("GET", _V1 + "state_ids/{room_id}", _SERVER)
    async def state_ids(self, call: Call) -> Mapping[str, Any]:
        found = await self._serve.state(call.origin, call.path["room_id"], query_string(call, "event_id"))
        return {
            "pdu_ids": [event.event_id for event in found.state],
            "auth_chain_ids": [event.event_id for event in found.auth_chain],
        }

    @endpoint("GET", _V1 + "event_auth/{room_id}/{event_id}", _SERVER)
    async def event_auth(self, call: Call) -> Answer:
        chain = await self._serve.event_auth(call.origin, call.path["room_id"], call.path["event_id"])
        return spliced({"auth_chain": pdu_list(chain)})

    @endpoint("GET", _V1 + "backfill/{room_id}", _SERVER)
    async def backfill(self, call: Call) -> Answer:
        event_ids = call.query.get("v", ())
        if not event_ids:
            raise MissingParam("The query parameter 'v' is missing.")
        limit = query_int(call, "limit", 10, 1, 100)
        return self._transaction(
            await self._serve.backfill(call.origin, call.path["room_id"], event_ids, limit)
        )

    @endpoint("POST", _V1 + "get_missing_events/{room_id}", _SERVER)
    async def missing_events(self, call: Call) -> Answer:
        earliest = find_string_list(call.body, "earliest_events")
        latest = find_string_list(call.body, "latest_events")
        if earliest is None or latest is None:
            raise MissingParam("'earliest_events' or 'latest_events' is missing.")
        min_depth = find_int(call.body, "min_depth") or 0
        limit = find_int(call.body, "limit")
        events = await self._serve.missing_events(
            call.origin, call.path["room_id"], earliest, latest, (min_depth, 10 if limit is None else limit)
        )
        return spliced({"events": pdu_list(events)})

    @endpoint("GET", _V1 + "timestamp_to_event/{room_id}", _SERVER)
    async def timestamp_to_event(self, call: Call) -> Mapping[str, Any]:
        query_string(call, "ts")
        at_ms = query_int(call, "ts", 0, 0, MAX_TIME_MS)
        direction = query_choice(call, "dir", ("b", "f"))
        if direction is None:
            raise MissingParam("The query parameter 'dir' is missing.")
        event = await self._serve.event_at(call.origin, call.path["room_id"], at_ms, direction == "b")
        return {"event_id": event.event_id, "origin_server_ts": event.origin_server_ts}

    def _transaction(self, events: Sequence[Event]) -> Answer:
        return spliced(
            {
                "origin": orjson.dumps(self._server_name),
                "origin_server_ts": b"%d" % self._platform.now_ms(),
                "pdus": pdu_list(events),
            }
        )
