"""Generated rooms with forks: servers that get the events in any order end with the same room, in memory and on disk.

POPCUBE_FORKED_ROOMS says how many rooms are made (and POPCUBE_FIRST_FORKED_ROOM, the seed to begin with).
"""

import os
import random

from twisted.trial.unittest import SynchronousTestCase

from federation.rooms.accept_event import AcceptEvent, Verdict
from federation.rooms.live_room import LiveRoom
from federation.rooms.outcomes import NoPushOutcomes
from federation.rooms.policy.ask_policy_server import NoPolicyServers
from federation.rooms.room_state import StatePair
from federation.rooms.take_room import TakeRoom
from storage.memberships import MembershipsRepository
from tests.federation.rooms.engine_case import EngineMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage
from tests.support.forked_rooms import ForkedRoom, make_forked_room

ROOMS = int(os.environ.get("POPCUBE_FORKED_ROOMS", "12"))
FIRST = int(os.environ.get("POPCUBE_FIRST_FORKED_ROOM", "0"))


class ForkedRoomsTests(EngineMixin):
    rooms_made = ROOMS

    def open(self) -> None:
        super().open()
        self.accept_event = AcceptEvent(
            self.rooms, self.events, self.database, self.committer, NoPushOutcomes(), NoPolicyServers()
        )
        self.take_room = TakeRoom(self.rooms, self.events, self.committer)

    def test_any_order_of_delivery_ends_in_the_same_room(self) -> None:
        made = [make_forked_room(seed) for seed in range(FIRST, FIRST + self.rooms_made)]
        for order in range(2):
            # Another server, which gets everything in another order.
            self.setUp()
            for seed, room in enumerate(made, FIRST):
                self.deliver(room, random.Random(1000 * seed + order))
                self.check(room, f"seed {seed}, version {room.version}, order {order}")
        self.open()
        for seed, room in enumerate(made, FIRST):
            self.check(room, f"seed {seed}, version {room.version}, after a restart")

    def test_rooms_that_are_loaded_together_are_as_if_loaded_one_by_one(self) -> None:
        made = [make_forked_room(seed) for seed in range(FIRST, FIRST + min(4, self.rooms_made))]
        for room in made:
            self.result(self.take_room.take(room.builder.rules, room.create, {}, ()))
            # Without the last event, which brings the branches together.
            for event in room.shuffled(random.Random(1)):
                if event is not room.events[-1]:
                    self.result(self.accept_event.accept(event))
        self.open()
        alone = {room.room_id: _seen(self.room(room.room_id)) for room in made}
        self.open()
        loaded = self.result(self.rooms.get_many([*alone, "!unknown:one.example"]))
        self.assertEqual({room_id: _seen(live) for room_id, live in loaded.items()}, alone)
        self.assertTrue(any(len(heads) > 1 for heads, *_ in alone.values()))

    def deliver(self, room: ForkedRoom, chance: random.Random) -> None:
        self.result(self.take_room.take(room.builder.rules, room.create, {}, ()))
        for event in room.shuffled(chance):
            verdict = self.result(self.accept_event.accept(event))
            case = f"{event.event_id} in {room.room_id}, version {room.version}"
            self.assertEqual(verdict is Verdict.REJECTED, event.event_id in room.rejected, case)
            if chance.random() < 0.01:
                self.open()

    def check(self, room: ForkedRoom, case: str) -> None:
        live = self.room(room.room_id)
        self.assertEqual([head.event_id for head in live.heads], [room.events[-1].event_id], case)
        self.assertEqual(dict(live.state.entries), dict(room.state), case)
        self.assertEqual(dict(live.state.memberships), room.memberships, case)
        rows = self.read(lambda tx: MembershipsRepository().get_of_room(tx, room.room_id))
        by_table = {row.user_id: row.membership for row in rows}
        self.assertEqual({user: by_table[user] for user in room.memberships}, room.memberships, case)


def _seen(live: LiveRoom) -> tuple[list[str], dict[StatePair, str], dict[str, str], list[str]]:
    return (
        sorted(head.event_id for head in live.heads),
        dict(live.state.entries),
        dict(live.state.memberships),
        sorted(live.auth_events),
    )


class SqliteForkedRoomsTests(SqliteStorage, ForkedRoomsTests, SynchronousTestCase):
    pass


class PostgresForkedRoomsTests(PostgresStorage, ForkedRoomsTests, SynchronousTestCase):
    rooms_made = min(ROOMS, 3)


class SmallCacheForkedRoomsTests(SqliteStorage, ForkedRoomsTests, SynchronousTestCase):
    """Nothing stays in memory: everything is read again each time."""

    rooms_made = min(ROOMS, 4)
    live_rooms = 1
    cached_events = 1
