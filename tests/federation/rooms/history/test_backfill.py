"""History from before a join, fetched from others."""

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.room_versions import ROOM_VERSIONS
from tests.federation.room_dag.builders import RoomBuilder, given_room
from tests.federation.rooms.history.history_case import HistoryMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage

DAVE = "@dave:one.example"


def given_busy_room(version: str, messages: int = 3) -> RoomBuilder:
    room = given_room(version, creator="@alice:two.example")
    alice, bob, carol = "@alice:two.example", "@bob:two.example", "@carol:three.example"
    room.join(bob)
    for number in range(messages):
        room.say(bob, f"first {number}")
    room.append("m.room.topic", alice, {"topic": "one"}, "")
    fork = room.events.get(room.heads[0])
    left = room.append("m.room.topic", alice, {"topic": "left"}, "", prev=[fork])
    room.say(bob, "left", prev=[left])
    room.join(carol, prev=[fork])
    room.say(bob, "merged")
    room.set_membership(alice, bob, "ban")
    for number in range(messages):
        room.say(carol, f"second {number}")
    room.append("m.room.topic", carol, {"topic": "not allowed"}, "")
    room.say(alice, "end")
    return room


class BackfillTests(HistoryMixin):
    def test_history_is_whole_and_has_its_states_in_all_versions(self) -> None:
        for version in ROOM_VERSIONS:
            self.setUp()
            room = given_busy_room(version)
            self.given_server(room)
            self.given_joined_late(room, DAVE)
            self.fill_all(room)
            self.assert_is_history_of(room)
            self.open()
            self.assert_is_history_of(room)

    def test_history_comes_in_pages(self) -> None:
        room = given_busy_room("12", messages=150)
        self.given_server(room)
        self.given_joined_late(room, DAVE)
        self.assertGreater(self.fill_all(room), 3)
        self.assert_is_history_of(room)


class SqliteBackfillTests(SqliteStorage, BackfillTests, SynchronousTestCase):
    pass


class PostgresBackfillTests(PostgresStorage, BackfillTests, SynchronousTestCase):
    pass
