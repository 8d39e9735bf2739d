"""Rooms that were made at random, joined late, with gaps at random: the history that is found is the one there was."""

import random

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import Event
from federation.rooms.history.backfill import Filled
from tests.federation.room_dag.builders import RoomBuilder, given_room
from tests.federation.rooms.history.history_case import HistoryMixin
from tests.federation.rooms.receiving.remote_case import BuilderServer
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:two.example"
OTHERS = ("@bob:two.example", "@carol:three.example", "@erin:three.example")
DAVE = "@dave:one.example"
VERSIONS = ("1", "2", "5", "6", "9", "11", "12")


class Story:
    """What happens in a room, by servers that do not always see each other."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.room: RoomBuilder = given_room(self.chance.choice(VERSIONS), creator=ALICE)

    def go_on(self, steps: int) -> list[Event]:
        return [self._step() for _ in range(steps)]

    def _step(self) -> Event:
        room, chance = self.room, self.chance
        users = (ALICE, *OTHERS)
        prev = [room.events.get(event_id) for event_id in room.heads]
        if len(prev) > 1 and chance.random() < 0.5:
            prev = chance.sample(prev, chance.randint(1, len(prev)))
        elif chance.random() < 0.15:
            recent = [event for event_id, event in room.events.by_id.items() if event_id not in room.rejected]
            prev = [chance.choice(recent[-12:])]
        sender, other = chance.choice(users), chance.choice(OTHERS)
        match chance.randrange(8):
            case 0:
                return room.append("m.room.topic", sender, {"topic": str(chance.random())}, "", prev=prev)
            case 1:
                return room.append("m.room.member", other, {"membership": "join"}, other, prev=prev)
            case 2:
                kind = chance.choice(("leave", "ban", "invite"))
                return room.append("m.room.member", sender, {"membership": kind}, other, prev=prev)
            case 3:
                levels = {} if room.rules.privileged_creators else {ALICE: 100}
                levels[chance.choice(OTHERS)] = chance.choice((0, 50))
                return room.append("m.room.power_levels", sender, {"users": levels}, "", prev=prev)
            case _:
                return room.append("m.room.message", sender, {"body": str(chance.random())}, prev=prev)


class RandomRoomsTests(HistoryMixin):
    seeds: range

    def test_history_that_is_found_is_the_one_there_was(self) -> None:
        for seed in self.seeds:
            self.setUp()
            story = Story(seed)
            room, chance = story.room, story.chance
            story.go_on(chance.randint(5, 120))
            server = self.given_server(room)
            self.give_little(server, chance.randint(1, 20))
            self.given_joined_late(room, DAVE)
            for _ in range(chance.randrange(4)):
                new = story.go_on(chance.randint(1, 25))
                server.hidden.update(event.event_id for event in new[:-1] if chance.random() < 0.3)
                self.deliver(room, new)
                server.hidden.clear()
                self.fill_some(room, chance)
            self.fill_all(room)
            with self.subTest(seed=seed):  # type: ignore[attr-defined]
                self.assert_found(room)

    def give_little(self, server: BuilderServer, most: int) -> None:
        """Small pages: most of them end amidst the history."""
        server.lies["backfill"] = lambda arguments, query, body: {
            "pdus": server.pdus(server._back(query["v"], most))
        }

    def deliver(self, room: RoomBuilder, new: list[Event]) -> None:
        """What is sent to this server of what happens: the last event always, and what it takes from there."""
        self.result(self.receive_pdu.receive("two.example", new[-1]))

    def fill_some(self, room: RoomBuilder, chance: random.Random) -> None:
        for _ in range(chance.randrange(3)):
            holes = self.room_holes(room)
            if holes:
                self.assertIs(self.fill(room, chance.randrange(len(holes))), Filled.MORE)  # type: ignore[attr-defined]

    def assert_found(self, room: RoomBuilder) -> None:
        """Whatever leads to an event that is here is here, once, with its state."""
        timeline = self.timeline(room)
        here = {stored.event.event_id for stored in timeline}
        self.assertEqual(len(here), len(timeline))  # type: ignore[attr-defined]
        wanted, pending = set(), list(here)
        while pending:
            event_id = pending.pop()
            if event_id not in wanted:
                wanted.add(event_id)
                pending.extend(room.events.get(event_id).prev_events)
        stored = self.result(self.events.get_many(wanted))
        self.assertEqual(stored.keys(), wanted)  # type: ignore[attr-defined]
        self.assertEqual({each for each in wanted if not stored[each].flags}, here)  # type: ignore[attr-defined]
        states = self.read(
            lambda tx: self.rooms.resolving.states.read(
                tx, {each.snapshot_nid for each in stored.values() if each.snapshot_nid is not None}
            )
        )
        for event_id, each in stored.items():
            assert each.snapshot_nid is not None
            expected = dict(room.state_after(room.events.get(event_id)))
            self.assertEqual(dict(states[each.snapshot_nid].entries), expected)  # type: ignore[attr-defined]
            if event_id in room.rejected:
                self.assertNotEqual(each.flags, 0)  # type: ignore[attr-defined]


class SqliteRandomRoomsTests(SqliteStorage, RandomRoomsTests, SynchronousTestCase):
    seeds = range(20)


class PostgresRandomRoomsTests(PostgresStorage, RandomRoomsTests, SynchronousTestCase):
    seeds = range(100, 105)
