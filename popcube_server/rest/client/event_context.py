"""Specification module event_context."""

import orjson

from popcube_server.rest.client.event_lists import event_list, query_filter, query_limit
from popcube_server.rest.endpoint import Access, Answer, Call, endpoint
from popcube_server.services.rooms.read_context import ReadContext


class EventContext:
    def __init__(self, read_context: ReadContext) -> None:
        self._read_context = read_context

    @endpoint("GET", "/_matrix/client/v3/rooms/{room_id}/context/{event_id}", Access.GUEST)
    async def context(self, call: Call) -> Answer:
        path = call.path
        context = await self._read_context.read(
            call.requester, path["room_id"], path["event_id"], query_limit(call), query_filter(call)
        )
        return Answer(
            b'{"start":%b,"end":%b,"event":%b,"events_before":%b,"events_after":%b,"state":%b}'
            % (
                orjson.dumps(str(context.start)),
                orjson.dumps(str(context.end)),
                context.event,
                event_list(context.before),
                event_list(context.after),
                event_list(context.state),
            )
        )
