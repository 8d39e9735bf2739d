"""What refers to events, and events by time, on both engines."""

from twisted.trial.unittest import SynchronousTestCase

from storage.change import Change
from storage.event_rows import EventsRepository
from storage.events import ORDERING_STEP, SOFT_FAILED, Relation, StoreEvent
from storage.relations import ChildrenQuery, ChildRow, RelationsRepository, RepliesRow, ThreadRow
from storage.rooms import AddRoom
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin

ALICE = "@alice:one.example"
BOB = "@bob:one.example"
ROOM = "!room:one.example"
OTHER = "!other:one.example"
END = 2**62


class RelationsTests(StorageMixin):
    def setUp(self) -> None:
        super().setUp()
        self.repository = RelationsRepository()
        for room_id in (ROOM, OTHER):
            self.commit(AddRoom(room_id, "12"))
        self.orderings: dict[str, int] = {}
        self.parent = self.event("$parent", ALICE)

    def commit(self, *changes: Change) -> int:
        return self.result(self.committer.commit(*changes)).position

    def event(
        self,
        event_id: str,
        sender: str = BOB,
        rel_type: str | None = None,
        parent: str = "$parent",
        event_type: str = "m.room.message",
        room_id: str = ROOM,
        redacts: str | None = None,
        flags: int = 0,
        time_ms: int = 0,
    ) -> str:
        relation = None if rel_type is None else Relation(parent, rel_type, None)
        # The content is read by nobody here.
        json = b"{}"
        position = self.commit(
            StoreEvent(
                room_id, event_id, event_type, sender, None, json, None,
                relation=relation, redacts=redacts, flags=flags, origin_server_ts=time_ms,
            )
        )  # fmt: skip
        self.orderings[event_id] = position * ORDERING_STEP
        return event_id

    def test_edits_count_by_sender_type_and_room(self) -> None:
        self.event("$bobs", BOB, "m.replace")
        self.event("$sticker", ALICE, "m.replace", event_type="m.sticker")
        self.event("$elsewhere", ALICE, "m.replace", room_id=OTHER)
        self.event("$failed", ALICE, "m.replace", flags=SOFT_FAILED)
        self.event("$first", ALICE, "m.replace")
        self.event("$second", ALICE, "m.replace")
        self.event("$third", ALICE, "m.replace")
        self.event("$redaction", ALICE, redacts="$third")
        edits = self.read(lambda tx: self.repository.get_edits(tx, ["$parent", "$unknown"]))
        self.assertEqual(edits, [ChildRow("$parent", "$first", ALICE), ChildRow("$parent", "$second", ALICE)])

    def test_of_many_children_the_newest_are_kept(self) -> None:
        for number in range(205):
            self.event(f"$reference{number}", BOB, "m.reference")
        found = self.read(lambda tx: self.repository.get_references(tx, ["$parent"]))
        self.assertEqual(len(found), 200)
        self.assertEqual((found[0].event_id, found[-1].event_id), ("$reference5", "$reference204"))

    def test_kinds_tell_what_there_is_to_ask_for(self) -> None:
        self.event("$reply", BOB, "m.thread")
        self.event("$reference", BOB, "m.reference")
        kinds = self.read(lambda tx: self.repository.get_kinds(tx, ["$parent", "$reply"]))
        self.assertEqual(kinds, {"$parent": {"m.thread", "m.reference"}})

    def test_replies_are_counted_by_sender(self) -> None:
        self.event("$one", BOB, "m.thread")
        self.event("$two", ALICE, "m.thread")
        self.event("$three", BOB, "m.thread")
        self.event("$four", BOB, "m.thread")
        self.event("$redaction", BOB, redacts="$four")
        replies = self.read(lambda tx: self.repository.get_replies(tx, ["$parent"]))
        self.assertEqual(
            sorted(replies, key=lambda row: row.sender),
            [
                RepliesRow("$parent", ALICE, 1, self.orderings["$two"], "$two"),
                RepliesRow("$parent", BOB, 2, self.orderings["$three"], "$three"),
            ],
        )

    def test_threads_come_by_their_newest_event(self) -> None:
        self.event("$second", ALICE)
        self.event("$a", BOB, "m.thread", "$parent")
        self.event("$b", BOB, "m.thread", "$second")
        self.event("$c", BOB, "m.thread", "$parent")
        self.event("$d", BOB, "m.thread", "$second")
        self.event("$redaction", BOB, redacts="$d")
        self.event("$lost", BOB, "m.thread", "$unknown")
        first, second = ThreadRow("$parent", self.orderings["$c"]), ThreadRow("$second", self.orderings["$b"])

        def threads(upto: int, limit: int) -> list[ThreadRow]:
            return self.read(lambda tx: self.repository.get_threads(tx, ROOM, upto, limit))

        self.assertEqual(threads(END, 5), [first, second])
        self.assertEqual(threads(END, 1), [first])
        self.assertEqual(threads(first.newest - 1, 5), [second])
        self.assertEqual(threads(second.newest - 1, 5), [])

    def test_children_are_found_at_several_depths_once(self) -> None:
        self.event("$a", BOB, "m.thread")
        self.event("$b", ALICE, "m.annotation", "$a")
        self.event("$c", ALICE, "m.reference", "$b")
        self.event("$elsewhere", ALICE, "m.reference", "$a", room_id=OTHER)
        # An event may refer to one that comes later: a ring.
        self.event("$ring1", BOB, "m.reference", "$ring2")
        self.event("$ring2", BOB, "m.reference", "$ring1")

        def children(
            depth: int, parent: str = "$parent", rel_type: str | None = None, is_backward: bool = True
        ) -> list[int]:
            query = ChildrenQuery(ROOM, parent, rel_type, None, depth, -END, END, 10, is_backward)
            return self.read(lambda tx: [row.ordering for row in self.repository.get_children(tx, query)])

        a, b, c = (self.orderings[event_id] for event_id in ("$a", "$b", "$c"))
        self.assertEqual(children(1), [a])
        self.assertEqual(children(2), [b, a])
        self.assertEqual(children(3), [c, b, a])
        self.assertEqual(children(3, is_backward=False), [a, b, c])
        self.assertEqual(children(3, rel_type="m.annotation"), [b])
        self.assertEqual(children(3, rel_type="unheard.of"), [])
        rings = [self.orderings["$ring2"], self.orderings["$ring1"]]
        self.assertEqual(children(3, "$ring1"), rings)

    def test_related_events_are_found_by_sender_and_type(self) -> None:
        self.event("$second", ALICE)
        self.event("$a", BOB, "m.annotation", "$parent")
        self.event("$b", ALICE, "m.thread", "$second")
        both = ["$parent", "$second", "$a"]

        def related(senders: set[str] | None, rel_types: set[str] | None) -> set[str]:
            return self.read(lambda tx: self.repository.find_related(tx, both, senders, rel_types))

        self.assertEqual(related(None, {"m.annotation", "m.thread"}), {"$parent", "$second"})
        self.assertEqual(related({BOB}, None), {"$parent"})
        self.assertEqual(related({BOB}, {"m.thread"}), set())
        self.assertEqual(related({"@nobody:one.example"}, None), set())
        self.assertEqual(related(set(), None), set())

    def test_events_are_found_by_time(self) -> None:
        for number, time_ms in enumerate((30, 10, 20, 20, 2**70)):
            self.event(f"$t{number}", time_ms=time_ms)
        events = EventsRepository()

        def after(time_ms: int, skipped: int = 0) -> list[str]:
            return self.read(
                lambda tx: [row.event_id for row in events.get_from_time(tx, ROOM, time_ms, 2, skipped)]
            )

        def before(time_ms: int) -> list[str]:
            return self.read(
                lambda tx: [row.event_id for row in events.get_upto_time(tx, ROOM, time_ms, 2, 0)]
            )

        self.assertEqual(after(11), ["$t2", "$t3"])
        self.assertEqual(after(11, 2), ["$t0", "$t4"])
        self.assertEqual(before(20), ["$t3", "$t2"])
        self.assertEqual(before(-1), [])


class SqliteRelationsTests(SqliteStorage, RelationsTests, SynchronousTestCase):
    pass


class PostgresRelationsTests(PostgresStorage, RelationsTests, SynchronousTestCase):
    pass
