"""Specification module notifications."""

import orjson

from popcube_server.rest.endpoint import Answer, Call, endpoint
from popcube_server.rest.parse import query_int
from popcube_server.services.push.list_notifications import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    ListNotifications,
    Notification,
)


class Notifications:
    def __init__(self, notifications: ListNotifications) -> None:
        self._notifications = notifications

    @endpoint("GET", "/_matrix/client/v3/notifications")
    async def get(self, call: Call) -> Answer:
        page = await self._notifications.get(
            call.requester,
            call.query_one("from"),
            query_int(call, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT),
            # Whatever else a client asks for is no filter that the specification knows.
            only_highlights=call.query_one("only") == "highlight",
        )
        body = b'{"notifications":[' + b",".join(map(_encode, page.notifications)) + b"]"
        if page.next_token is not None:
            body += b',"next_token":' + orjson.dumps(page.next_token)
        return Answer(body + b"}")


def _encode(notification: Notification) -> bytes:
    head = orjson.dumps(
        {"room_id": notification.room_id, "ts": notification.ts, "read": notification.is_read}
    )
    return head[:-1] + b',"actions":' + notification.actions + b',"event":' + notification.event + b"}"
