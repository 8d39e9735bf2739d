"""Memberships in memory are those in the database, whatever is committed while they are read."""

from typing import Any

from tests.popcube_server.rooms.rooms_case import V3, RoomsTestCase
from tests.popcube_server.server_case import ONE


class UserRoomsTests(RoomsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.room = self.given_room(self.alice)
        self.given_joined(self.bob, self.room)
        # Nothing of the memberships is in memory then.
        self.restart()
        self.reads = 0

    def while_memberships_are_read(self, happening: Any, times: int) -> None:
        """Let something happen each time that bob's memberships were read and are not in memory yet."""
        memberships = type(self.organisations[ONE].core.database)
        real_read = memberships.read

        async def read(database: Any, work: Any) -> Any:
            result = await real_read(database, work)
            is_of_user = "of_user" in work.__qualname__ and "UserRooms" in work.__qualname__
            if is_of_user and self.reads < times:
                self.reads += 1
                happening()
            return result

        self.patch(memberships, "read", read)

    def test_what_others_do_meanwhile_does_not_matter(self) -> None:
        self.while_memberships_are_read(lambda: self.given_message(self.alice, self.room), 50)
        joined = self.ok(self.get(f"{V3}/joined_rooms", self.bob))
        self.assertEqual(joined, {"joined_rooms": [self.room]})
        self.assertEqual(self.reads, 1)

    def test_change_while_they_are_read_is_not_missed(self) -> None:
        self.while_memberships_are_read(lambda: self.act(self.alice, self.room, "kick", self.bob), 1)
        for _ in range(2):
            self.assertEqual(self.ok(self.get(f"{V3}/joined_rooms", self.bob)), {"joined_rooms": []})
        self.assertEqual(self.reads, 1)
