"""A client that syncs, and remembers what it was told that is no event of a room.

listener = Listener(bob)
eventually(lambda: listener.hear().typing(room_id) == [alice.user_id], "bob sees alice typing")
"""

import json
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tests.integration.federation.peers import User

FILTER = json.dumps({"room": {"timeline": {"limit": 100}, "include_leave": True}})


class Listener:
    """Begins with a first sync. Each `hear` asks once for what is new, and does not wait."""

    def __init__(self, user: User, set_presence: str = "offline") -> None:
        # In a connection of its own: the user's may wait for an answer.
        self._user = user.another_connection()
        self._query = {"timeout": 0, "set_presence": set_presence, "filter": FILTER}
        self._typing: dict[str, list[str]] = {}
        self._receipts: dict[str, list[tuple[str, str, str, str | None]]] = defaultdict(list)
        self._seen: dict[str, list[str]] = defaultdict(list)
        self.presence: dict[str, Any] = {}
        """What was told last of each user."""
        self.changed: list[str] = []
        """Users whose devices changed, in order; the same user may come more than once."""
        self.left: list[str] = []
        """Users with whom no encrypted room is shared any more."""
        self.messages: list[Any] = []
        """To this device."""
        self.one_time_keys: dict[str, int] = {}
        self.unused_fallback_keys: list[str] = []
        self.hear()

    def hear(self) -> "Listener":
        answer = self._user.get("/sync", self._query)
        self._query["since"] = answer["next_batch"]
        for event in answer.get("presence", {}).get("events", []):
            self.presence[event["sender"]] = event["content"]
        for room_id, room in answer.get("rooms", {}).get("join", {}).items():
            self._take_room(room_id, room)
        lists = answer.get("device_lists", {})
        self.changed.extend(lists.get("changed", []))
        self.left.extend(lists.get("left", []))
        self.messages.extend(answer.get("to_device", {}).get("events", []))
        self.one_time_keys = answer.get("device_one_time_keys_count", {})
        self.unused_fallback_keys = answer.get("device_unused_fallback_key_types", [])
        return self

    def typing(self, room_id: str) -> Sequence[str]:
        """Who types there."""
        return self._typing.get(room_id, [])

    def receipts(self, room_id: str) -> Sequence[tuple[str, str, str, str | None]]:
        """(event ID, type, user ID, thread) of every receipt told, in order."""
        return self._receipts[room_id]

    def seen(self, room_id: str) -> Sequence[str]:
        """IDs of the events of the timeline, in the order in which they came."""
        return self._seen[room_id]

    def bodies(self) -> Sequence[str]:
        """The `body` of each message to this device, in order."""
        return [message["content"].get("body") for message in self.messages]

    def forget_changes(self) -> None:
        """Begin anew with `changed` and `left`."""
        self.hear()
        self.changed.clear()
        self.left.clear()

    def _take_room(self, room_id: str, room: Any) -> None:
        for event in room.get("timeline", {}).get("events", []):
            self._seen[room_id].append(event["event_id"])
        for event in room.get("ephemeral", {}).get("events", []):
            content = event["content"]
            if event["type"] == "m.typing":
                self._typing[room_id] = content["user_ids"]
            elif event["type"] == "m.receipt":
                self._receipts[room_id].extend(
                    (event_id, kind, user_id, receipt.get("thread_id"))
                    for event_id, kinds in content.items()
                    for kind, users in kinds.items()
                    for user_id, receipt in users.items()
                )


def show_life(user: User, other: User) -> None:
    """Send something to another server. One that waits before it tries this one again hears that it need not.

    Synapse waits for this, or for something new to send; ours tries again by itself.
    """
    body = {"messages": {other.user_id: {"*": {"body": "alive"}}}}
    user.put(f"/sendToDevice/org.example.life/{uuid.uuid4().hex}", body)
