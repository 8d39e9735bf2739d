"""The newest events of rooms that are talked in, as far as they matter to unread counts.

With them a count that was read once goes on without the database. They are added once per event, whatever the number
of members; each reader catches up by itself when asked.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import field
from itertools import takewhile
from typing import Final

from storage.events import StoreEvent
from synapse_like_config.lazy_dataclasses import dataclass

TAIL_LENGTH: Final = 100


@dataclass(frozen=True, slots=True)
class TailEvent:
    """What an event does to unread counts."""

    position: int
    sender: str
    thread: str | None
    push: int
    personal: Mapping[str, int]
    """The outcomes of users for whom it is not `push`."""
    marks_as_read: bool
    """Whether sending it says that the sender has read up to it."""


@dataclass(slots=True)
class Tail:
    """All events of a room after position `since`, and with them the newest position."""

    since: int
    newest: int
    events: deque[TailEvent] = field(default_factory=deque)


class RoomTails:
    """The tails of the rooms that changed last."""

    def __init__(self, size: int, position: int) -> None:
        self._size = size
        self._tails: OrderedDict[str, Tail] = OrderedDict()
        self._floor = position
        """A room without a tail has had no event after this position."""

    def __len__(self) -> int:
        return len(self._tails)

    def find_after(self, room_id: str, position: int) -> list[TailEvent] | None:
        """The room's events after a position, oldest first, or None if memory does not reach back that far."""
        tail = self._tails.get(room_id)
        if tail is None:
            return [] if position >= self._floor else None
        if position >= tail.newest:
            return []
        if position < tail.since:
            return None
        # From their end: who asks knows most of them.
        found = list(takewhile(lambda event: event.position > position, reversed(tail.events)))
        found.reverse()
        return found

    def add(self, change: StoreEvent, position: int) -> None:
        """An event was committed."""
        tail = self._tail(change.room_id, position)
        if change.redacts is not None:
            # What it redacts may have been counted: counts from before are of no use any more.
            self._cut(tail, position)
        if change.flags or change.ordering is not None:
            return
        if len(tail.events) == TAIL_LENGTH:
            tail.since = tail.events.popleft().position
        tail.events.append(
            TailEvent(
                position,
                change.sender,
                change.thread,
                change.push,
                {personal.user_id: personal.push for personal in change.personal_push},
                change.type != "m.room.member",
            )
        )

    def add_unknown(self, room_id: str, position: int) -> None:
        """An event was committed of which nothing is known here."""
        self._cut(self._tail(room_id, position), position)

    def _tail(self, room_id: str, position: int) -> Tail:
        tail = self._tails.get(room_id)
        if tail is None:
            tail = self._tails[room_id] = Tail(self._floor, position)
            if len(self._tails) > self._size:
                _, oldest = self._tails.popitem(last=False)
                self._floor = max(self._floor, oldest.newest)
        else:
            self._tails.move_to_end(room_id)
        tail.newest = position
        return tail

    def _cut(self, tail: Tail, position: int) -> None:
        tail.events.clear()
        tail.since = position
