"""The base of sync tests: syncs in one line, and what a client would make of the answers."""

from typing import Any
from urllib.parse import quote, urlencode

import orjson
from twisted.internet.defer import Deferred
from twisted.web.iweb import IResponse

from tests.popcube_server.server_case import ServerTestCase, TestUser
from tests.support.openapi import specification

SYNC = "/_matrix/client/v3/sync"


class SyncCase(ServerTestCase):
    """Syncs say nothing about presence unless a test wants it."""

    def sync_path(self, **parameters: Any) -> str:
        values = {"set_presence": "offline", **parameters}
        if isinstance(values.get("filter"), dict):
            values["filter"] = orjson.dumps(values["filter"]).decode()
        return f"{SYNC}?{urlencode({key: value for key, value in values.items() if value is not None})}"

    def sync(self, user: TestUser, since: str | None = None, **parameters: Any) -> Any:
        """The answer of a sync that comes at once."""
        return self.checked_sync(self.get(self.sync_path(since=since, **parameters), user))

    def begin_sync(
        self, user: TestUser, since: str, timeout: int = 30_000, **parameters: Any
    ) -> "Deferred[IResponse]":
        """A long-poll."""
        return self.begin("GET", self.sync_path(since=since, timeout=timeout, **parameters), None, user)

    def finish_sync(self, pending: "Deferred[IResponse]") -> Any:
        """The answer of a long-poll that something has woken."""
        self.clock.advance(0)
        return self.checked_sync(self.finish(pending))

    def checked_sync(self, answer: tuple[int, Any]) -> Any:
        """The body of an answer that must be a success, and as the specification has it."""
        specification().validate_response("GET", SYNC, *answer)
        return self.ok(answer)

    def set_state(
        self, user: TestUser, room_id: str, event_type: str, content: Any, state_key: str = ""
    ) -> str:
        path = f"/_matrix/client/v3/rooms/{room_id}/state/{event_type}/{quote(state_key, safe='')}"
        event_id: str = self.ok(self.put(path, content, user))["event_id"]
        return event_id

    def invite(self, user: TestUser, room_id: str, invited: TestUser) -> None:
        self.ok(self.post(f"/_matrix/client/v3/rooms/{room_id}/invite", {"user_id": invited.user_id}, user))

    def leave(self, user: TestUser, room_id: str) -> None:
        self.ok(self.post(f"/_matrix/client/v3/rooms/{room_id}/leave", {}, user))

    def ban(self, user: TestUser, room_id: str, banned: TestUser) -> None:
        self.ok(self.post(f"/_matrix/client/v3/rooms/{room_id}/ban", {"user_id": banned.user_id}, user))


def timeline(answer: Any, room_id: str, part: str = "join") -> list[str]:
    """IDs of the events of a room's timeline."""
    room = answer.get("rooms", {}).get(part, {}).get(room_id, {})
    return [event["event_id"] for event in room.get("timeline", {}).get("events", [])]


def bodies(answer: Any, room_id: str, part: str = "join") -> list[str]:
    """Texts of the messages of a room's timeline."""
    room = answer.get("rooms", {}).get(part, {}).get(room_id, {})
    return [
        event["content"].get("body", "")
        for event in room.get("timeline", {}).get("events", [])
        if event["type"] == "m.room.message"
    ]


def state(answer: Any, room_id: str, part: str = "join", name: str = "state") -> dict[tuple[str, str], Any]:
    """A room's state section: by type and state key, the content."""
    events = answer["rooms"][part][room_id].get(name, {}).get("events", [])
    return {(event["type"], event["state_key"]): event["content"] for event in events}
