"""Presence: what syncs and calls make of it, who sees it, and when nothing is written."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

from twisted.internet.defer import Deferred

from storage.database import Database
from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import TWO, TestUser


class PresenceCase(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob")
        self.room = self.given_room(self.bob)
        self.given_joined(self.alice, self.room)

    def sync(self, user: TestUser, since: str | None = None, query: str = "") -> Any:
        path = f"/_matrix/client/v3/sync?timeout=0{query}" + ("" if since is None else f"&since={since}")
        return self.ok(self.get(path, user))

    def set(self, body: Any, user: TestUser | None = None, user_id: str | None = None) -> tuple[int, Any]:
        user = user or self.bob
        return self.put(f"/_matrix/client/v3/presence/{user_id or user.user_id}/status", body, user)

    def status(self, viewer: TestUser | None = None, user: TestUser | None = None) -> Any:
        path = f"/_matrix/client/v3/presence/{(user or self.bob).user_id}/status"
        return self.ok(self.get(path, viewer or self.alice))

    def told(self, answer: Any) -> dict[str, Any]:
        events = answer.get("presence", {}).get("events", [])
        return {event["sender"]: event["content"] for event in events}

    def position(self) -> int:
        return self.organisations["one.example"].core.log.position


class PresenceTests(PresenceCase):
    def test_who_never_came_is_offline(self) -> None:
        self.assertEqual(self.status(), {"presence": "offline"})

    def test_who_syncs_is_online_and_others_are_told(self) -> None:
        token = self.sync(self.alice)["next_batch"]
        self.sync(self.bob)
        online = {"presence": "online", "last_active_ago": 0, "currently_active": True}
        self.assertEqual(self.status(), online)
        self.assertEqual(self.told(self.sync(self.alice, token))[self.bob.user_id], online)
        self.assertEqual(self.told(self.sync(self.alice))[self.bob.user_id], online)

    def test_sync_can_say_otherwise(self) -> None:
        self.sync(self.bob, query="&set_presence=offline")
        self.assertEqual(self.status()["presence"], "offline")
        self.sync(self.bob, query="&set_presence=unavailable")
        self.assertEqual(self.status()["presence"], "unavailable")
        # Any device that is online counts more.
        self.sync(self.given_login(self.bob))
        self.assertEqual(self.status()["presence"], "online")

    def test_syncs_that_change_nothing_write_nothing(self) -> None:
        self.sync(self.bob)
        self.clock.advance(61)
        self.sync(self.bob)
        position = self.position()
        for _ in range(6):
            self.clock.advance(30)
            self.sync(self.bob)
        self.assertEqual(self.position(), position)

    def test_who_does_nothing_becomes_inactive_then_idle(self) -> None:
        self.sync(self.bob)
        for _ in range(3):
            self.clock.advance(30)
            self.sync(self.bob)
        self.assertEqual(
            self.status(), {"presence": "online", "last_active_ago": 90_000, "currently_active": False}
        )
        for _ in range(8):
            self.clock.advance(30)
            self.sync(self.bob)
        self.assertEqual(self.status(), {"presence": "unavailable", "last_active_ago": 330_000})
        self.given_message(self.bob, self.room)
        self.assertTrue(self.status()["currently_active"])

    def test_who_reads_is_active(self) -> None:
        self.sync(self.bob)
        self.clock.advance(61)
        self.assertFalse(self.status()["currently_active"])
        event_id = self.given_message(self.alice, self.room)
        self.ok(self.post(f"/_matrix/client/v3/rooms/{self.room}/receipt/m.read/{event_id}", {}, self.bob))
        self.assertTrue(self.status()["currently_active"])

    def test_who_stops_syncing_goes_offline(self) -> None:
        self.sync(self.bob)
        token = self.sync(self.alice)["next_batch"]
        self.clock.advance(80)
        self.assertEqual(self.status(), {"presence": "offline", "last_active_ago": 80_000})
        self.assertEqual(self.told(self.sync(self.alice, token))[self.bob.user_id]["presence"], "offline")

    def test_who_comes_back_while_it_is_written_that_they_went_is_online(self) -> None:
        self.sync(self.bob)
        write: Callable[[Database, Any], Any] = Database.write
        gate: Deferred[None] = Deferred()

        async def write_late(database: Database, work: Any) -> Any:
            await gate
            return await write(database, work)

        with patch.object(Database, "write", write_late):
            self.clock.advance(80)
            self.sync(self.bob)
            gate.callback(None)
        self.assertEqual(self.status()["presence"], "online")
        self.clock.advance(80)
        self.assertEqual(self.status()["presence"], "offline")

    def test_who_waited_long_is_there_until_later(self) -> None:
        since = self.sync(self.bob, self.sync(self.bob)["next_batch"])["next_batch"]
        path = f"/_matrix/client/v3/sync?timeout=60000&since={since}"
        waiting = self.begin("GET", path, None, self.bob)
        self.clock.advance(50)
        self.assert_waiting(waiting)
        self.given_message(self.alice, self.room)
        self.clock.advance(0)
        self.finish(waiting)
        self.clock.advance(60)
        self.assertEqual(self.status()["presence"], "online")
        self.clock.advance(20)
        self.assertEqual(self.status()["presence"], "offline")

    def test_who_is_woken_again_and_again_for_nothing_is_there_as_long_as_it_waits(self) -> None:
        nothing = quote('{"room":{"rooms":[]},"presence":{"types":[]},"account_data":{"types":[]}}')
        since = self.sync(self.bob, self.sync(self.bob)["next_batch"])["next_batch"]
        path = f"/_matrix/client/v3/sync?timeout=300000&since={since}&filter={nothing}"
        waiting = self.begin("GET", path, None, self.bob)
        for _ in range(20):
            self.clock.advance(5)
            self.given_message(self.alice, self.room)
            self.clock.advance(0)
        self.assert_waiting(waiting)
        self.assertEqual(self.status()["presence"], "online")

    def test_who_waits_long_and_hears_nothing_is_there_as_long_as_it_waits(self) -> None:
        since = self.sync(self.bob, self.sync(self.bob)["next_batch"])["next_batch"]
        nothing = quote('{"presence":{"types":[]}}')
        path = f"/_matrix/client/v3/sync?timeout=200000&since={since}&filter={nothing}"
        waiting = self.begin("GET", path, None, self.bob)
        self.clock.advance(65)
        position = self.position()
        for _ in range(26):
            self.clock.advance(5)
            self.assert_waiting(waiting)
        # Nor was it gone for a moment.
        self.assertEqual((self.status()["presence"], self.position()), ("online", position))
        self.clock.advance(5)
        self.finish(waiting)
        self.clock.advance(80)
        self.assertEqual(self.status()["presence"], "offline")

    def test_who_waits_is_told_at_once_also_of_rooms_that_nobody_used_since_the_start(self) -> None:
        since = self.sync(self.bob)["next_batch"]
        self.restart()
        since = self.sync(self.bob, since)["next_batch"]
        path = f"/_matrix/client/v3/sync?timeout=30000&since={since}"
        waiting = self.begin("GET", path, None, self.bob)
        self.assert_waiting(waiting)
        self.sync(self.alice)
        self.clock.advance(0)
        self.assertEqual(self.told(self.finish(waiting)[1])[self.alice.user_id]["presence"], "online")

    def test_status_is_set_and_told(self) -> None:
        token = self.sync(self.alice)["next_batch"]
        self.assertEqual(self.ok(self.set({"presence": "unavailable", "status_msg": "lunch \0"})), {})
        self.assertEqual(self.status()["status_msg"], "lunch \0")
        self.assertEqual(self.status()["presence"], "unavailable")
        self.assertEqual(self.told(self.sync(self.alice, token))[self.bob.user_id]["status_msg"], "lunch \0")
        self.ok(self.set({"presence": "online"}))
        self.assertNotIn("status_msg", self.status())

    def test_presence_is_for_those_who_share_a_room(self) -> None:
        carol = self.given_user("carol")
        self.sync(self.bob)
        path = f"/_matrix/client/v3/presence/{self.bob.user_id}/status"
        self.assert_refused(self.get(path, carol), 403, "M_FORBIDDEN")
        self.assertNotIn(self.bob.user_id, self.told(self.sync(carol)))
        self.assertEqual(self.status(self.bob)["presence"], "online")

    def test_wrong_calls_are_refused(self) -> None:
        self.assert_refused(
            self.set({"presence": "online"}, self.bob, self.alice.user_id), 403, "M_FORBIDDEN"
        )
        self.assert_refused(self.set({"presence": "busy"}), 400, "M_INVALID_PARAM")
        self.assert_refused(self.set({}), 400, "M_MISSING_PARAM")
        self.assert_refused(self.set({"presence": 5}), 400, "M_BAD_JSON")
        self.assert_refused(self.set({"presence": "online", "status_msg": 5}), 400, "M_BAD_JSON")
        self.assert_refused(
            self.set({"presence": "online", "status_msg": "x" * 2049}), 400, "M_INVALID_PARAM"
        )
        self.assertEqual(self.status(), {"presence": "offline"})

    def test_who_does_not_come_back_after_a_restart_goes_offline(self) -> None:
        self.sync(self.bob)
        self.sync(self.alice)
        self.restart()
        self.assertEqual(self.status()["presence"], "online")
        self.clock.advance(60)
        self.sync(self.alice)
        self.clock.advance(20)
        self.assertEqual(self.status()["presence"], "offline")
        self.assertEqual(self.status(user=self.alice)["presence"], "online")

    def test_presence_of_one_organisation_is_unknown_to_the_other(self) -> None:
        twin = self.given_user("alice", TWO)
        self.sync(self.bob)
        path = f"/_matrix/client/v3/presence/{self.bob.user_id}/status"
        self.assert_refused(self.get(path, twin), 403, "M_FORBIDDEN")
        self.assertEqual(self.told(self.sync(twin)).keys() - {twin.user_id}, set())


class UntrackedPresenceTests(PresenceCase):
    extra_configuration = "presence: {enabled: false}"

    def test_nothing_is_tracked(self) -> None:
        position = self.position()
        self.sync(self.bob)
        self.ok(self.set({"presence": "online", "status_msg": "x"}))
        self.assertEqual(self.status(), {"presence": "offline"})
        self.assertEqual(self.told(self.sync(self.alice)), {})
        self.assertEqual(self.position(), position)
