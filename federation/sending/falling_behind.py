"""Writes down what destinations miss, so that memory need not hold it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from federation.sending.destination_queue import DestinationQueue, QueuedEvent
from federation.sending.inherited import Inherited
from federation.sending.room_servers import RoomServers
from federation.sending.sending_duty import SendingDuty
from federation.sending.tenure import Tenure
from storage.change import Change
from storage.committer import CommitFailed
from storage.destinations_behind import FallBehind, RoomBehind
from storage.overlooked_events import ForgetOverlooked


class FallingBehind:
    """Owns the marks that are not written down yet: what parked destinations miss of this batch of the log."""

    def __init__(
        self,
        servers: RoomServers,
        inherited: Inherited,
        duty: SendingDuty,
        tenure: Tenure,
        position: Callable[[], int],
    ) -> None:
        self._servers = servers
        self._inherited = inherited
        self._duty = duty
        self._tenure = tenure
        self._position = position
        self._marks: dict[str, list[RoomBehind]] = {}

    def mark(self, destination: str, event: QueuedEvent, newest: int | None) -> None:
        """It misses an event; `newest` is its position if it gets nothing of the room after it. `flush` writes it."""
        self._add(destination, RoomBehind(event.room_id, event.position, newest, event.position))

    def _add(self, destination: str, behind: RoomBehind) -> None:
        rooms = self._marks.setdefault(destination, [])
        for at, room in enumerate(rooms):
            if room.room_id == behind.room_id:
                behind = replace(behind, oldest=rooms.pop(at).oldest)
                break
        rooms.append(behind)

    async def flush(self) -> None:
        """Write the marks down. Raises `CommitFailed`, and then they are kept."""
        marks, self._marks = self._marks, {}
        if not marks:
            return
        changes = [
            FallBehind(destination, min(room.oldest for room in rooms) - 1, tuple(rooms))
            for destination, rooms in marks.items()
        ]
        try:
            await self._tenure.commit(*changes)
        except CommitFailed:
            # What was marked meanwhile is newer.
            newer, self._marks = self._marks, marks
            for destination, rooms in newer.items():
                for room in rooms:
                    self._add(destination, room)
            raise

    async def write_down(self, queue: DestinationQueue, waiting: Sequence[QueuedEvent]) -> None:
        """A queue's destination misses these events, and whatever else there was since the queue's floor."""
        rooms: dict[str, RoomBehind] = {}
        for event in waiting:
            present = queue.destination in await self._servers.get(event.room_id)
            first = rooms.get(event.room_id)
            rooms[event.room_id] = RoomBehind(
                event.room_id,
                event.position if first is None else first.oldest,
                None if present else event.position,
                event.position,
            )
        since = (self._position() if queue.floor is None else queue.floor) - 1
        fallen = FallBehind(queue.destination, since, tuple(rooms.values()))
        # What it passed over before is one thing more that it misses now.
        overlooked = tuple(event.event_id for event in waiting if event.times_overlooked)
        forgotten = (ForgetOverlooked(queue.destination, overlooked),) if overlooked else ()
        await self._tenure.commit(fallen, *self.told(queue.destination, since), *forgotten)
        queue.floor = None

    def told(self, destination: str, since: int | None) -> Sequence[Change]:
        """What the other sites are to know of a destination that is behind, or (None) is not any more."""
        return (self._inherited.note(destination, since),) if self._duty.log else ()
