"""What was redacted is gone from the database after a while."""

from urllib.parse import quote

from tests.popcube_server.followers.followers_case import V3, FollowersCase
from tests.popcube_server.server_case import ONE, TestUser

DAY_S = 24 * 3600
SECRET = "the secret word"


class PruneRedactedTests(FollowersCase):
    extra_configuration = "redaction_retention_period: 2d"
    is_pruned = True

    def given_redacted(self, user: TestUser, room: str) -> str:
        event_id = self.given_message(user, room, SECRET)
        # In room version 3 the IDs may have slashes.
        quoted = quote(event_id, safe="")
        self.ok(self.put(f"{V3}/rooms/{room}/redact/{quoted}/{quoted}", {}, user))
        return event_id

    def stored(self, event_id: str, server_name: str = ONE) -> str:
        database = self.organisations[server_name].core.database
        value = database.read_now(
            lambda tx: tx.value("SELECT json FROM events WHERE event_id = ?", (event_id,))
        )
        return bytes(value).decode()

    def later(self, seconds: float) -> None:
        # In steps: each run of the cleaning begins some time after the last one.
        for _ in range(20):
            self.clock.advance(seconds / 20)

    def test_content_is_kept_for_the_time_and_then_no_more(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        first = self.given_redacted(alice, room)
        kept = self.given_message(alice, room, SECRET)
        self.later(DAY_S)
        second = self.given_redacted(alice, room)
        self.later(0.9 * DAY_S)
        self.assertIn(SECRET, self.stored(first))
        self.later(0.2 * DAY_S)
        self.assertEqual(SECRET not in self.stored(first), self.is_pruned)
        self.assertIn(SECRET, self.stored(second))
        self.assertIn(SECRET, self.stored(kept))

    def test_many_are_pruned_and_the_room_can_still_be_read_after_a_restart(self) -> None:
        alice = self.given_user("alice")
        events = []
        for version in ("1", "3", "12"):
            room = self.given_room(alice, room_version=version)
            events += [self.given_redacted(alice, room) for _ in range(40)]
            path = f"{V3}/rooms/{room}/state/m.room.topic/"
            topic = self.ok(self.put(path, {"topic": SECRET}, alice))["event_id"]
            self.ok(self.put(f"{V3}/rooms/{room}/redact/{quote(topic, safe='')}/topic", {}, alice))
            events.append(topic)
        self.later(3 * DAY_S)
        self.assertEqual(
            [SECRET not in self.stored(event) for event in events], [self.is_pruned] * len(events)
        )
        self.restart()
        self.given_message(alice, room)


class KeepRedactedTests(PruneRedactedTests):
    extra_configuration = "redaction_retention_period: null"
    is_pruned = False
