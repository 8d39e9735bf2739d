"""The base of tests of followers: they work as soon as the reactor is free."""

from typing import Any

from twisted.internet.defer import Deferred

from federation.rooms.event_store import EventStore
from storage.event_rows import EventsRepository
from storage.memberships import MembershipsRepository
from tests.popcube_server.server_case import ONE, ServerTestCase, TestUser

V3 = "/_matrix/client/v3"


class FollowersCase(ServerTestCase):
    def settle(self) -> None:
        """Let the followers do what they have to."""
        for _ in range(3):
            self.clock.advance(0)

    def memberships(self, user_id: str, server_name: str = ONE) -> dict[str, str]:
        """By room."""
        database = self.organisations[server_name].core.database
        rows = database.read_now(lambda tx: MembershipsRepository().get_of_user(tx, user_id))
        return {row.room_id: row.membership for row in rows}

    def member_events(self, user: TestUser, room_id: str) -> list[dict[str, Any]]:
        """Contents of all member events of a user in a room, the oldest first."""
        core = self.organisations[user.server_name].core
        store = EventStore(core.database, EventsRepository(), core.log, 100)
        rows = core.database.read_now(lambda tx: EventsRepository().get_state_between(tx, room_id, 0, 2**62))
        return [
            dict(stored.event.content)
            for stored in store.keep(rows)
            if stored.event.type == "m.room.member" and stored.event.state_key == user.user_id
        ]

    def set_profile(self, user: TestUser, field: str, value: str) -> None:
        self.ok(self.put(f"{V3}/profile/{user.user_id}/{field}", {field: value}, user))

    def result_of(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))
