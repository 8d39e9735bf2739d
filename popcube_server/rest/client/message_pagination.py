"""Specification module message_pagination."""

import orjson

from popcube_server.rest.client.event_lists import event_list, is_backward, query_filter, query_limit
from popcube_server.rest.endpoint import Access, Answer, Call, endpoint
from popcube_server.services.rooms.read_messages import MessagesRequest, ReadMessages


class MessagePagination:
    def __init__(self, read_messages: ReadMessages) -> None:
        self._read_messages = read_messages

    @endpoint("GET", "/_matrix/client/v3/rooms/{room_id}/messages", Access.GUEST)
    async def messages(self, call: Call) -> Answer:
        wanted = query_filter(call)
        limit = query_limit(call)
        if wanted.limit is not None and call.query_one("limit") is None:
            limit = min(wanted.limit, limit)
        request = MessagesRequest(
            is_backward(call), call.query_one("from"), call.query_one("to"), limit, wanted
        )
        page = await self._read_messages.read(call.requester, call.path["room_id"], request)
        body = [b'{"chunk":', event_list(page.chunk), b',"start":', orjson.dumps(page.start)]
        if page.end is not None:
            body += [b',"end":', orjson.dumps(page.end)]
        if page.state is not None:
            body += [b',"state":', event_list(page.state)]
        return Answer(b"".join((*body, b"}")))
