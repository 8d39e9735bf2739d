"""Specification module threads_list."""

import orjson

from popcube_server.rest.client.event_lists import event_list, query_limit
from popcube_server.rest.endpoint import Answer, Call, endpoint
from popcube_server.rest.parse import query_choice
from popcube_server.services.rooms.list_threads import ListThreads


class ThreadsList:
    def __init__(self, list_threads: ListThreads) -> None:
        self._list_threads = list_threads

    @endpoint("GET", "/_matrix/client/v1/rooms/{room_id}/threads")
    async def threads(self, call: Call) -> Answer:
        is_participated = query_choice(call, "include", ("all", "participated")) == "participated"
        read = self._list_threads.participated if is_participated else self._list_threads.all
        # "Must be an integer greater than zero."
        limit = query_limit(call, low=1)
        page = await read(call.requester, call.path["room_id"], call.query_one("from"), limit)
        body = [b'{"chunk":', event_list(page.chunk)]
        if page.next_batch is not None:
            body += [b',"next_batch":', orjson.dumps(page.next_batch)]
        return Answer(b"".join((*body, b"}")))
