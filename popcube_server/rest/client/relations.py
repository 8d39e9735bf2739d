"""Specification module relations."""

import orjson

from popcube_server.rest.client.event_lists import event_list, is_backward, query_limit
from popcube_server.rest.endpoint import Answer, Call, endpoint
from popcube_server.rest.parse import query_bool
from popcube_server.services.rooms.read_relations import MAX_DEPTH, ReadRelations, RelationsRequest

_RELATIONS = "/_matrix/client/v1/rooms/{room_id}/relations/{event_id}"


class RelationsEndpoint:
    def __init__(self, read_relations: ReadRelations) -> None:
        self._read_relations = read_relations

    @endpoint("GET", _RELATIONS)
    @endpoint("GET", _RELATIONS + "/{rel_type}")
    @endpoint("GET", _RELATIONS + "/{rel_type}/{event_type}")
    async def relations(self, call: Call) -> Answer:
        path, start = call.path, call.query_one("from")
        is_recursive = query_bool(call, "recurse", False)
        request = RelationsRequest(
            path.get("rel_type"),
            path.get("event_type"),
            is_recursive,
            is_backward(call, "b"),
            start,
            call.query_one("to"),
            query_limit(call, low=1),
        )
        page = await self._read_relations.read(call.requester, path["room_id"], path["event_id"], request)
        body = [b'{"chunk":', event_list(page.chunk)]
        if page.next_batch is not None:
            body += [b',"next_batch":', orjson.dumps(page.next_batch)]
        if start is not None:
            # "The absence of this token means this is the start of the result set."
            body += [b',"prev_batch":', orjson.dumps(start)]
        if is_recursive:
            body.append(b',"recursion_depth":%d' % MAX_DEPTH)
        return Answer(b"".join((*body, b"}")))
