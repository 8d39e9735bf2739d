"""A client that repeats a request at another site, in a cut, sends twice: what was sent later is taken back.

The site that made the later event redacts it, once it hears of the earlier one.
"""

from collections.abc import Sequence

from federation.rooms.draft import Draft
from federation.rooms.event_store import EventStore
from popcube_server.services.rooms.append import RoomWriter
from popcube_server.services.rooms.followers.as_user import try_to
from popcube_server.services.rooms.send_message import REDACTION
from storage.change import LogEntry
from storage.transactions import SupersededSend


class TakeBackRepeats:
    """`LogWork`."""

    name = "take back repeats"

    def __init__(self, events: EventStore, writer: RoomWriter) -> None:
        self._events = events
        self._writer = writer

    def concerns(self, entry: LogEntry) -> bool:
        return entry.kind == SupersededSend.kind

    async def handle(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            await self._take_back(entry.key[1])

    async def _take_back(self, event_id: str) -> None:
        stored = await self._events.find(event_id)
        # State that is set twice to the same is no harm, and a redaction cannot be redacted.
        if stored is None or stored.redacted_by is not None or stored.event.state_key is not None:
            return
        event = stored.event
        if event.type == REDACTION:
            return
        redaction = Draft(event.room_id, REDACTION, event.sender, None, {"reason": "Sent twice."}, event_id)
        await try_to(f"take back {event_id}, which was sent twice", self._writer.append(redaction))
