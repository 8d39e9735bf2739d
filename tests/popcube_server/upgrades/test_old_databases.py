"""A database that an earlier version wrote is brought up to date, and answers as it did."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.popcube_server.server_case import ONE, ServerTestCase, TestUser
from tests.popcube_server.upgrades.write_old_database import V3, OldDatabase, plain

FOLDER = Path(__file__).parent


class OldDatabaseTests(ServerTestCase):
    """Of 22 November 2026, before what sites exchange and before keys were named by their place."""

    hosts = (ONE,)
    name = "database_of_2026_11_22"

    def setUp(self) -> None:
        self.wanted = json.loads((FOLDER / f"{self.name}.json").read_text())
        super().setUp()
        self.users = {name: TestUser(ONE, *user) for name, user in self.wanted["users"].items()}

    def open(self, host: str) -> Any:
        path = self.directory / host / "homeserver.db"
        if not path.exists():
            path.parent.mkdir()
            with closing(sqlite3.connect(path)) as database:
                database.executescript((FOLDER / f"{self.name}.sql").read_text())
        return super().open(host)

    def test_it_answers_as_the_version_that_wrote_it(self) -> None:
        for who, method, path, body, answer in self.wanted["asked"]:
            asked = self.ok(self.call(method, path, body, self.users[who]))
            self.assertEqual(plain(asked), answer, path)

    def test_events_stand_in_the_order_of_before(self) -> None:
        alice = self.users["alice"]
        (room_id,) = self.ok(self.get(f"{V3}/joined_rooms", alice))["joined_rooms"]
        sent = [f"message {number}" for number in (5, 4, 3, 1, 0)]
        chunk = self.ok(self.get(f"{V3}/rooms/{room_id}/messages?dir=b&limit=50", alice))["chunk"]
        self.assertEqual([each["content"]["body"] for each in chunk if "body" in each["content"]], sent)
        timeline = self.ok(self.get(f"{V3}/sync", alice))["rooms"]["join"][room_id]["timeline"]["events"]
        bodies = [each["content"]["body"] for each in timeline if "body" in each["content"]]
        self.assertEqual(bodies, sent[::-1])

    def test_people_go_on_with_it(self) -> None:
        alice, bob = self.users["alice"], self.users["bob"]
        phone = self.given_login(alice, "PHONE")
        (room_id,) = self.ok(self.get(f"{V3}/joined_rooms", phone))["joined_rooms"]
        self.given_message(phone, room_id, "still here")
        since = self.ok(self.get(f"{V3}/sync", bob))["next_batch"]
        body = {"messages": {bob.user_id: {"*": {"n": 3}}}}
        self.ok(self.put(f"{V3}/sendToDevice/m.test/new", body, phone))
        self.ok(self.post(f"{V3}/rooms/{room_id}/leave", {}, phone))
        self.restart()
        answer = self.ok(self.get(f"{V3}/sync?since={since}", bob))
        self.assertEqual([each["content"] for each in answer["to_device"]["events"]], [{"n": 3}])
        (event,) = answer["rooms"]["join"][room_id]["timeline"]["events"]
        self.assertEqual(event["content"]["membership"], "leave")
        self.given_user("dora")


class WritingTests(OldDatabase):
    def test_a_database_of_this_version_can_be_written(self) -> None:
        self.write(self.directory, "new")
        wanted = json.loads((self.directory / "new.json").read_text())
        self.assertEqual(len(wanted["asked"]), len(self.questions()))
        self.assertIn("CREATE TABLE", (self.directory / "new.sql").read_text())
