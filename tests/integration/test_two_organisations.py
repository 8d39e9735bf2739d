"""Two organisations in one process: nothing of one is seen by the other, whatever it does."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from urllib.parse import quote

from tests.popcube_server.server_case import ONE, TWO, ServerTestCase, TestUser

CLIENT = "/_matrix/client/v3"
SECRET = "For our eyes only"


class TwoOrganisationsTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice", ONE)
        self.other_alice = self.given_user("alice", TWO)

    def test_same_name_is_another_account(self) -> None:
        self.assertEqual(self.alice.user_id, "@alice:one.example")
        self.assertEqual(self.other_alice.user_id, "@alice:two.example")
        path = f"{CLIENT}/profile/{quote(self.alice.user_id)}/displayname"
        self.ok(self.put(path, {"displayname": "Alice of One"}, self.alice))
        own = f"{CLIENT}/profile/{quote(self.other_alice.user_id)}"
        self.assertNotIn("Alice of One", str(self.get(own, self.other_alice)))

    def test_token_of_one_is_unknown_to_the_other(self) -> None:
        whoami = f"{CLIENT}/account/whoami"
        self.ok(self.get(whoami, self.alice))
        stranger = replace(self.alice, server_name=TWO)
        self.assert_refused(self.get(whoami, stranger), 401, "M_UNKNOWN_TOKEN")

    def test_password_of_one_does_not_open_the_other(self) -> None:
        self.given_user("carol", ONE)
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "carol"},
            "password": "password of carol",
        }
        self.ok(self.call("POST", f"{CLIENT}/login", login, server_name=ONE))
        answer = self.call("POST", f"{CLIENT}/login", login, server_name=TWO)
        self.assert_refused(answer, 403, "M_FORBIDDEN")

    def test_room_of_one_cannot_be_read_in_the_other(self) -> None:
        room_id = self.given_room(self.alice, visibility="public", room_alias_name="open")
        event_id = self.given_message(self.alice, room_id, SECRET)
        room = f"{CLIENT}/rooms/{quote(room_id)}"
        for path in (
            f"{room}/messages?dir=b",
            f"{room}/state",
            f"{room}/members",
            f"{room}/event/{quote(event_id)}",
        ):
            self.ok(self.get(path, self.alice))
            status, body = self.get(path, self.other_alice)
            self.assertIn(status, (403, 404, 502), f"{path}: {body}")
        self.assertEqual(self.ok(self.get(f"{CLIENT}/publicRooms", self.other_alice))["chunk"], [])
        self.assertEqual(self.ok(self.get(f"{CLIENT}/joined_rooms", self.other_alice))["joined_rooms"], [])

    def test_file_of_one_is_not_in_the_other(self) -> None:
        answer = self.call("POST", "/_matrix/media/v3/upload", SECRET.encode(), self.alice)
        media_id = self.ok(answer)["content_uri"].rpartition("/")[2]
        download = "/_matrix/client/v1/media/download"
        self.assertEqual(self.ok(self.get(f"{download}/{ONE}/{media_id}", self.alice)), SECRET.encode())
        # By the address of the first, the second would fetch it as from any other server: here it may not.
        for path in (f"{TWO}/{media_id}", f"{ONE}/{media_id}?allow_remote=false"):
            status, _ = self.get(f"{download}/{path}", self.other_alice)
            self.assertEqual(status, 404)

    def test_long_poll_of_one_is_not_woken_by_the_other(self) -> None:
        since = self.ok(self.get(f"{CLIENT}/sync", self.other_alice))["next_batch"]
        poll = self.begin("GET", f"{CLIENT}/sync?since={quote(since)}&timeout=30000", user=self.other_alice)
        self.live(self.alice)
        self.assert_waiting(poll)
        self.clock.advance(31)
        status, body = self.finish(poll)
        self.assertEqual((status, body["next_batch"]), (200, since))

    def test_life_in_one_leaves_the_database_of_the_other_untouched(self) -> None:
        before = self.dump(TWO)
        self.live(self.alice)
        self.assertEqual(self.dump(TWO), before)
        # The dump writes bytes as hexadecimal digits. Without this the test could not see a thing.
        self.assertIn(SECRET.encode().hex().upper(), self.dump(ONE))

    def test_life_in_one_leaves_the_metrics_and_caches_of_the_other_untouched(self) -> None:
        before = self.metrics(TWO)
        self.live(self.alice)
        self.assertEqual(self.metrics(TWO), before)
        self.assertIn("popcube_cache_", before)

    def live(self, user: TestUser) -> None:
        """A little of everything that is stored or cached."""
        guest = self.given_user("guest", user.server_name)
        room_id = self.given_room(user, name="Life")
        self.given_joined(guest, room_id)
        event_id = self.given_message(user, room_id, SECRET)
        room = f"{CLIENT}/rooms/{quote(room_id)}"
        self.ok(self.post(f"{room}/receipt/m.read/{quote(event_id)}", {}, guest))
        self.ok(self.put(f"{room}/typing/{quote(guest.user_id)}", {"typing": True, "timeout": 1000}, guest))
        mine = f"{CLIENT}/user/{quote(user.user_id)}/account_data/org.example"
        self.ok(self.put(mine, {"text": SECRET}, user))
        messages = {"messages": {guest.user_id: {"*": {"text": SECRET}}}}
        self.ok(self.put(f"{CLIENT}/sendToDevice/org.example/txn", messages, user))
        self.ok(self.get(f"{CLIENT}/sync", guest))

    def dump(self, server_name: str) -> str:
        """All that the database of an organisation holds."""
        path = self.directory / server_name / "homeserver.db"
        with closing(sqlite3.connect(path)) as database:
            return "\n".join(database.iterdump())

    def metrics(self, server_name: str) -> str:
        """What an organisation's `/metrics` says, but for the requests that ask for it."""
        _, body = self.call("GET", "/metrics", server_name=server_name)
        lines = body.decode().splitlines()
        return "\n".join(line for line in lines if 'endpoint="GET /metrics"' not in line)
