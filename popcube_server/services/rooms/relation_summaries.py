"""What refers to an event, in short and the same for all readers: kept in memory, as pages and syncs always ask."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from federation.rooms.stored_event import StoredEvent
from popcube_server.services.bounded_cache import BoundedCache
from storage.change import LogEntry
from storage.database import Database, Transaction
from storage.events import StoreEvent
from storage.log import Log
from storage.relations import ChildRow, RelationsRepository, RepliesRow
from synapse_like_config.lazy_dataclasses import dataclass

ROOMS = 2_000
EVENTS_PER_ROOM = 4_000


@dataclass(frozen=True, slots=True)
class RelationSummary:
    """The children of an event, those that were redacted left out."""

    edits: Sequence[str] = ()
    """IDs of events that may replace it, as far as sender and type tell."""
    references: Sequence[ChildRow] = ()
    replies: Sequence[RepliesRow] = ()
    """If it is the root of a thread."""


NOTHING = RelationSummary()


class RelationSummaries:
    """A bounded cache, kept true by following the log."""

    def __init__(self, database: Database, repository: RelationsRepository, log: Log) -> None:
        self._database = database
        self._repository = repository
        self._log = log
        self._rooms: BoundedCache[str, dict[str, RelationSummary]] = BoundedCache(ROOMS)
        log.follow(self._follow)

    async def of(self, events: Iterable[StoredEvent]) -> Mapping[str, RelationSummary]:
        """By event ID, those that something refers to. Does not wait if all is in memory."""
        found: dict[str, RelationSummary] = {}
        missing: dict[str, str] = {}
        for stored in events:
            event = stored.event
            known = self._rooms.get(event.room_id)
            summary = None if known is None else known.get(event.event_id)
            if summary is None:
                missing[event.event_id] = event.room_id
            elif summary is not NOTHING:
                found[event.event_id] = summary
        if missing:
            position = self._log.position
            read = await self._database.read(lambda tx: self._read(tx, missing))
            self._keep(position, missing, read)
            found.update(read)
        return found

    def _read(self, tx: Transaction, event_ids: Collection[str]) -> dict[str, RelationSummary]:
        kinds = self._repository.get_kinds(tx, event_ids)
        if not kinds:
            return {}

        def parents(rel_type: str) -> list[str]:
            return [parent for parent, types in kinds.items() if rel_type in types]

        edits = _by_parent(self._repository.get_edits(tx, parents("m.replace")))
        references = _by_parent(self._repository.get_references(tx, parents("m.reference")))
        replies: dict[str, list[RepliesRow]] = {}
        for row in self._repository.get_replies(tx, parents("m.thread")):
            replies.setdefault(row.root, []).append(row)
        return {
            parent: RelationSummary(
                [child.event_id for child in edits.get(parent, ())],
                references.get(parent, ()),
                replies.get(parent, ()),
            )
            for parent in kinds
            if parent in edits or parent in references or parent in replies
        }

    def _keep(self, position: int, event_ids: Mapping[str, str], read: Mapping[str, RelationSummary]) -> None:
        since = self._log.since(position)
        if since is None:
            return
        # Of rooms that went on meanwhile, what was read may be old already.
        moved = {entry.key[0] for entry in since if entry.kind == "event"}
        for event_id, room_id in event_ids.items():
            if room_id in moved:
                continue
            known = self._rooms.get(room_id)
            if known is None or len(known) >= EVENTS_PER_ROOM:
                known = {}
                self._rooms.put(room_id, known)
            known[event_id] = read.get(event_id, NOTHING)

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind != "event":
                continue
            known = self._rooms.peek(entry.key[0])
            if known is None:
                continue
            change = entry.change
            if not isinstance(change, StoreEvent) or change.redacts is not None:
                # Whatever was redacted may have been somebody's child: what it referred to is not known any more.
                self._rooms.drop(entry.key[0])
            elif change.relation is not None:
                known.pop(change.relation.parent, None)
            else:
                # A child may be here before its parent.
                known.pop(change.event_id, None)


def _by_parent(rows: Iterable[ChildRow]) -> dict[str, list[ChildRow]]:
    children: dict[str, list[ChildRow]] = {}
    for row in rows:
        children.setdefault(row.parent, []).append(row)
    return children
