"""How many events a user has not read, by room and thread: asked by every sync."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from typing import Final

from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.push.room_tails import RoomTails, TailEvent
from storage.change import LogEntry
from storage.database import Database, Transaction
from storage.events import HIGHLIGHT, StoreEvent
from storage.log import Log, LogRepository
from storage.unread import NOTHING_UNREAD, Unread, UnreadRepository, UnreadRow
from synapse_like_config.lazy_dataclasses import dataclass

TAILS: Final = 10_000


@dataclass(frozen=True, slots=True)
class UnreadCounts:
    """What a user has not read in a room."""

    main: Unread = NOTHING_UNREAD
    """In the main timeline."""
    threads: Mapping[str, Unread] = field(default_factory=dict)
    """By thread root, those that have something unread."""

    @property
    def notification_count(self) -> int:
        """In the whole room, threads included."""
        return self.main.notifications + sum(unread.notifications for unread in self.threads.values())

    @property
    def highlight_count(self) -> int:
        """In the whole room, threads included."""
        return self.main.highlights + sum(unread.highlights for unread in self.threads.values())


_Key = tuple[str, str]


@dataclass(slots=True)
class _Known:
    """Counts that hold at a log position."""

    position: int
    counts: UnreadCounts


class UnreadCounter:
    """Counts are read once, then carried on with each new event; a receipt has them read again."""

    def __init__(self, database: Database, repository: UnreadRepository, log: Log, size: int) -> None:
        self._database = database
        self._repository = repository
        self._log_repository = LogRepository()
        self._log = log
        self._known: BoundedCache[_Key, _Known] = BoundedCache(size)
        self._tails = RoomTails(TAILS, log.position)
        log.follow(self._follow)

    def __len__(self) -> int:
        return len(self._known)

    @property
    def hits(self) -> int:
        return self._known.hits

    @property
    def misses(self) -> int:
        return self._known.misses

    async def counts(self, user_id: str, room_ids: Collection[str]) -> Mapping[str, UnreadCounts]:
        """By room ID, for those of the rooms that the user is joined to; everything committed until now is counted."""
        counts: dict[str, UnreadCounts] = {}
        missing: list[str] = []
        for room_id in room_ids:
            known = self._advance((user_id, room_id))
            if known is None:
                missing.append(room_id)
            else:
                counts[room_id] = known.counts
        if missing:
            counts.update(await self._read(user_id, missing))
        return counts

    async def _read(self, user_id: str, room_ids: Collection[str]) -> Mapping[str, UnreadCounts]:
        def read(tx: Transaction) -> tuple[int, dict[str, UnreadRow]]:
            # Within one transaction: the counts hold at just this position.
            return self._log_repository.get_position(tx), self._repository.count(tx, user_id, room_ids)

        position, rows = await self._database.read(read)
        later = self._log.since(position)
        stale = None if later is None else {key for entry in later for key in _ended_by(entry)}
        counts: dict[str, UnreadCounts] = {}
        for room_id, row in rows.items():
            counts[room_id] = UnreadCounts(row.main, row.threads)
            key = (user_id, room_id)
            # What became untrue while it was read must not be kept: nobody would tell again.
            if stale is not None and key not in stale:
                self._known.put(key, _Known(position, counts[room_id]))
                known = self._advance(key)
                counts[room_id] = counts[room_id] if known is None else known.counts
        return counts

    def _advance(self, key: _Key) -> _Known | None:
        """What is known, brought to the present; None if it has to be read."""
        known = self._known.get(key)
        if known is None:
            return None
        user_id, room_id = key
        events = self._tails.find_after(room_id, known.position)
        if events is None:
            self._known.drop(key)
            return None
        for event in events:
            known.counts = _count_one_more(known.counts, event, user_id)
        known.position = self._log.position
        return known

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind == "event":
                if isinstance(entry.change, StoreEvent):
                    self._tails.add(entry.change, entry.position)
                else:
                    self._tails.add_unknown(entry.key[0], entry.position)
            for key in _ended_by(entry):
                self._known.drop(key)


def _ended_by(entry: LogEntry) -> Sequence[_Key]:
    """User and room of the counts that a change makes untrue in a way that cannot be carried on."""
    if entry.kind == "receipt":
        return ((entry.key[1], entry.key[0]),)
    if isinstance(entry.change, StoreEvent):
        room_id = entry.change.room_id
        return [(membership.user_id, room_id) for membership in entry.change.memberships]
    return ()


def _count_one_more(counts: UnreadCounts, event: TailEvent, user_id: str) -> UnreadCounts:
    if event.sender == user_id:
        return _without(counts, event.thread) if event.marks_as_read else counts
    bits = event.personal.get(user_id, event.push)
    if not bits:
        return counts
    if event.thread is None:
        return UnreadCounts(_plus(counts.main, bits), counts.threads)
    thread = _plus(counts.threads.get(event.thread, NOTHING_UNREAD), bits)
    return UnreadCounts(counts.main, {**counts.threads, event.thread: thread})


def _plus(unread: Unread, bits: int) -> Unread:
    return Unread(unread.notifications + 1, unread.highlights + (1 if bits & HIGHLIGHT else 0))


def _without(counts: UnreadCounts, thread: str | None) -> UnreadCounts:
    if thread is None:
        return UnreadCounts(NOTHING_UNREAD, counts.threads)
    return UnreadCounts(
        counts.main, {root: unread for root, unread in counts.threads.items() if root != thread}
    )
