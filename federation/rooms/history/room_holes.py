"""Where rooms' timelines have holes: asked by every page and every sync, so kept in memory."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from storage.change import LogEntry
from storage.database import Database
from storage.gaps import AddGap, GapsRepository, Hole
from storage.log import Log

ROOMS = 20_000


class RoomHoles:
    """A bounded cache, kept true by following the log."""

    def __init__(self, database: Database, repository: GapsRepository, log: Log) -> None:
        self._database = database
        self._repository = repository
        self._log = log
        self._rooms: OrderedDict[str, tuple[Hole, ...]] = OrderedDict()
        log.follow(self._follow)

    async def of(self, room_id: str) -> tuple[Hole, ...]:
        """The room's holes, the latest first. Does not wait if they are in memory."""
        known = self._rooms.get(room_id)
        return known if known is not None else (await self._read((room_id,))).get(room_id, ())

    async def load(self, room_ids: Iterable[str]) -> None:
        """Get the holes of several rooms into memory with one read."""
        missing = [room_id for room_id in room_ids if room_id not in self._rooms]
        if missing:
            await self._read(missing)

    async def _read(self, room_ids: Sequence[str]) -> dict[str, tuple[Hole, ...]]:
        position = self._log.position
        read = await self._database.read(lambda tx: self._repository.get_holes(tx, room_ids))
        since = self._log.since(position)
        if since is not None:
            # What changed while we read is not to be kept.
            moved = {entry.key[0] for entry in since if entry.kind == AddGap.kind}
            for room_id in room_ids:
                if room_id not in moved:
                    self._rooms[room_id] = read.get(room_id, ())
            while len(self._rooms) > ROOMS:
                self._rooms.popitem(last=False)
        return read

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind == AddGap.kind:
                self._rooms.pop(entry.key[0], None)
