"""Events that refer to others (m.relates_to), by what they refer to."""

from collections.abc import Collection, Iterable, Sequence

from storage.database import IN_LIST_LIMIT, Transaction
from storage.event_rows import EventRow, EventsRepository
from synapse_like_config.lazy_dataclasses import dataclass

MAX_CHILDREN = 200
"""How many children of one kind of one event are ever summed up one by one."""


@dataclass(frozen=True, slots=True)
class ChildRow:
    """An event that refers to another."""

    parent: str
    event_id: str
    sender: str


@dataclass(frozen=True, slots=True)
class RepliesRow:
    """What one user wrote in a thread."""

    root: str
    sender: str
    count: int
    newest: int
    """Ordering of their newest event in it."""
    newest_id: str


@dataclass(frozen=True, slots=True)
class ThreadRow:
    """A thread, and the ordering of the newest event in it."""

    root: str
    newest: int


@dataclass(frozen=True, slots=True)
class ChildrenQuery:
    """Which relations of an event are wanted: after < ordering <= upto."""

    room_id: str
    parent: str
    rel_type: str | None
    event_type: str | None
    depth: int
    """1: direct relations only."""
    after: int
    upto: int
    limit: int
    is_backward: bool


# Children count only in the room of their parent, and not if they were redacted or refused.
_JOINS = (
    " FROM relations r JOIN events p ON p.event_id = r.parent AND p.room = r.room"
    " JOIN events c ON c.nid = r.child AND c.redacted_by IS NULL AND c.flags = 0"
)
_KINDS = "SELECT DISTINCT parent, rel_type FROM relations WHERE parent IN (??)"
_EDITS = (
    "SELECT parent, event_id, sender FROM (SELECT r.parent, c.event_id, r.sender, r.ordering,"  # noqa: S608
    f" ROW_NUMBER() OVER (PARTITION BY r.parent ORDER BY r.ordering DESC) AS place {_JOINS}"
    " WHERE r.parent IN (??) AND r.rel_type = ? AND r.sender = p.sender AND r.type = p.type"
    " AND p.state_key IS NULL) AS edits WHERE place <= ? ORDER BY ordering"
)
_CHILDREN = (
    "SELECT parent, event_id, sender FROM (SELECT r.parent, c.event_id, r.sender, r.ordering,"  # noqa: S608
    f" ROW_NUMBER() OVER (PARTITION BY r.parent ORDER BY r.ordering DESC) AS place {_JOINS}"
    " WHERE r.parent IN (??) AND r.rel_type = ?) AS children WHERE place <= ? ORDER BY ordering"
)
_REPLIES = (
    "SELECT g.parent, g.sender, g.replies, g.newest, e.event_id FROM (SELECT r.parent, r.room, r.sender,"  # noqa: S608
    f" COUNT(*) AS replies, MAX(r.ordering) AS newest {_JOINS}"
    " WHERE r.parent IN (??) AND r.rel_type = ? GROUP BY r.parent, r.room, r.sender) AS g"
    " JOIN events e ON e.room = g.room AND e.ordering = g.newest"
)


class RelationsRepository:
    """Reads relations. Children that were redacted are left out."""

    def __init__(self, events: EventsRepository | None = None) -> None:
        self._events = EventsRepository() if events is None else events

    def has_annotation(self, tx: Transaction, parent: str, sender: str, key: str) -> bool:
        """Whether the user has annotated an event with this key."""
        ids = tx.name_ids((sender, "m.annotation"))
        if len(ids) < 2:
            return False
        row = tx.one(
            "SELECT 1 FROM relations r JOIN events e ON e.nid = r.child"
            " WHERE r.parent = ? AND r.rel_type = ? AND r.sender = ? AND r.annotation = ? AND e.redacted_by IS NULL",
            (parent, ids["m.annotation"], ids[sender], key.encode()),
        )
        return row is not None

    def get_kinds(self, tx: Transaction, parents: Iterable[str]) -> dict[str, set[str]]:
        """By event that something refers to: the types of relation. Redacted children may be among them."""
        kinds: dict[str, set[str]] = {}
        for chunk in _chunks(parents):
            rows = tx.all(_KINDS, (chunk,))
            names = tx.names_of(row[1] for row in rows)
            for parent, rel_type in rows:
                kinds.setdefault(parent, set()).add(names[rel_type])
        return kinds

    def get_edits(self, tx: Transaction, parents: Iterable[str]) -> list[ChildRow]:
        """m.replace by the parent's own sender and of its type, oldest first, of each parent the newest."""
        return self._children(tx, _EDITS, parents, "m.replace")

    def get_references(self, tx: Transaction, parents: Iterable[str]) -> list[ChildRow]:
        """m.reference, oldest first, of each parent the newest."""
        return self._children(tx, _CHILDREN, parents, "m.reference")

    def get_replies(self, tx: Transaction, roots: Iterable[str]) -> list[RepliesRow]:
        """Of each thread, who wrote how much in it."""
        thread = tx.name_id("m.thread")
        if thread is None:
            return []
        rows = [row for chunk in _chunks(roots) for row in tx.all(_REPLIES, (chunk, thread))]
        names = tx.names_of(row[1] for row in rows)
        return [RepliesRow(row[0], names[row[1]], row[2], row[3], row[4]) for row in rows]

    def find_related(
        self,
        tx: Transaction,
        parents: Iterable[str],
        senders: Collection[str] | None,
        rel_types: Collection[str] | None,
    ) -> set[str]:
        """Those of the events that one of these users referred to, in one of these ways (None: any)."""
        conditions, parameters = "", []
        for column, names in (("r.sender", senders), ("r.rel_type", rel_types)):
            if names is not None:
                conditions += f" AND {column} IN (??)"
                parameters.append(list(tx.name_ids(names).values())[: IN_LIST_LIMIT // 3])
        related: set[str] = set()
        for chunk in _chunks(parents, IN_LIST_LIMIT // 3):
            sql = f"SELECT DISTINCT r.parent {_JOINS} WHERE r.parent IN (??){conditions}"
            related.update(row[0] for row in tx.all(sql, (chunk, *parameters)))
        return related

    def get_children(self, tx: Transaction, query: ChildrenQuery) -> list[EventRow]:
        """The events that refer to one event, or to those that do, in the order of reading."""
        wanted = [name for name in (query.rel_type, query.event_type) if name is not None]
        ids = tx.name_ids((query.room_id, *wanted))
        if len(ids) < len({query.room_id, *wanted}):
            return []
        conditions, parameters = "", []
        for column, name in (("r.rel_type", query.rel_type), ("r.type", query.event_type)):
            if name is not None:
                conditions += f" AND {column} = ?"
                parameters.append(ids[name])
        order = "DESC" if query.is_backward else "ASC"
        # A child is found once, however many ways lead to it: UNION drops what was there at the same depth, and the
        # outer query does not join the tree but asks it.
        rows = tx.all(
            "WITH RECURSIVE tree (event_id, depth) AS (SELECT CAST(? AS TEXT), 0 UNION"  # noqa: S608
            " SELECT e.event_id, tree.depth + 1 FROM tree JOIN relations x ON x.parent = tree.event_id"
            " JOIN events e ON e.nid = x.child AND e.room = ? WHERE tree.depth < ?)"
            " SELECT r.child FROM relations r JOIN events c ON c.nid = r.child"
            " WHERE r.parent IN (SELECT event_id FROM tree) AND r.room = ?"
            f" AND c.redacted_by IS NULL AND c.flags = 0{conditions} AND r.ordering > ? AND r.ordering <= ?"
            f" ORDER BY r.ordering {order} LIMIT ?",
            (
                query.parent,
                ids[query.room_id],
                query.depth - 1,
                ids[query.room_id],
                *parameters,
                query.after,
                query.upto,
                query.limit,
            ),
        )
        found = {row.nid: row for row in self._events.get_by_nid(tx, [row[0] for row in rows])}
        return [found[row[0]] for row in rows if row[0] in found]

    def get_threads(self, tx: Transaction, room_id: str, upto: int, limit: int) -> list[ThreadRow]:
        """The threads of a room whose newest event has at most this ordering, the newest first."""
        ids = tx.name_ids((room_id, "m.thread"))
        if len(ids) < 2:
            return []
        # Only a thread's newest event stands for it: a page costs as much as it holds, not as the room has threads.
        rows = tx.all(
            f"SELECT r.parent, r.ordering {_JOINS} WHERE r.room = ? AND r.rel_type = ? AND r.ordering <= ?"  # noqa: S608
            " AND NOT EXISTS (SELECT 1 FROM relations n"
            " JOIN events d ON d.nid = n.child AND d.redacted_by IS NULL AND d.flags = 0"
            " WHERE n.parent = r.parent AND n.rel_type = r.rel_type AND n.room = r.room"
            " AND n.ordering > r.ordering) ORDER BY r.ordering DESC LIMIT ?",
            (ids[room_id], ids["m.thread"], upto, limit),
        )
        return [ThreadRow(*row) for row in rows]

    def _children(self, tx: Transaction, sql: str, parents: Iterable[str], rel_type: str) -> list[ChildRow]:
        number = tx.name_id(rel_type)
        if number is None:
            return []
        rows = [row for chunk in _chunks(parents) for row in tx.all(sql, (chunk, number, MAX_CHILDREN))]
        names = tx.names_of(row[2] for row in rows)
        return [ChildRow(row[0], row[1], names[row[2]]) for row in rows]


def _chunks(values: Iterable[str], size: int = IN_LIST_LIMIT) -> Iterable[Sequence[str]]:
    whole = list(values)
    return (whole[start : start + size] for start in range(0, len(whole), size))
