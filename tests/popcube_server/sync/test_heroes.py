"""Heroes of rooms too large to look at every member event."""

from twisted.trial.unittest import SynchronousTestCase

from federation.rooms.event_store import EventStore
from popcube_server.services.sync.heroes import HEROES, SMALL_ROOM, Heroes
from storage.event_rows import EventsRepository
from storage.memberships import MembershipsRepository
from tests.federation.rooms.engine_case import ALICE, EngineMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage


class HeroesTests(EngineMixin):
    def test_first_members_of_a_large_room_are_found_in_order(self) -> None:
        room_id = self.given_room()
        # The last by name come first.
        users = [f"@user{number}:one.example" for number in range(99, 99 - SMALL_ROOM, -1)]
        for user in users:
            self.join(room_id, user)
        self.set_state(room_id, users[0], "m.room.member", users[0], {"membership": "leave"})
        heroes = Heroes(self.database, MembershipsRepository(), self.events, 10)
        for _ in range(2):
            state = self.room(room_id).committed
            found = self.result(heroes.of(room_id, state, ALICE))
            self.assertEqual(found, users[1 : HEROES + 1])
            self.join(room_id, "@aaa:one.example")
        self.assertEqual(
            self.read(lambda tx: MembershipsRepository().get_first_present(tx, room_id, 3)),
            [ALICE, *users[1:3]],
        )

    def test_names_of_many_rooms_are_read_together(self) -> None:
        room_ids = [self.given_room() for _ in range(3)]
        for room_id in room_ids:
            self.set_state(room_id, ALICE, "m.room.name", "", {"name": "A room"})
        events = EventStore(self.database, EventsRepository(), self.log, 100)
        heroes = Heroes(self.database, MembershipsRepository(), events, 10)
        states = [self.room(room_id).committed for room_id in room_ids]
        self.result(heroes.prepare(states))
        misses = events.misses
        for room_id, state in zip(room_ids, states, strict=True):
            self.assertIsNone(self.result(heroes.of(room_id, state, ALICE)))
        self.assertEqual(events.misses, misses)


class SqliteHeroesTests(SqliteStorage, HeroesTests, SynchronousTestCase):
    pass


class PostgresHeroesTests(PostgresStorage, HeroesTests, SynchronousTestCase):
    pass
