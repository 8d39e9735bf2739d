"""Writes a database of this version, and what it answers of it, for later versions to be held to.

    python -m tests.popcube_server.upgrades.write_old_database NAME

makes `NAME.sql` and `NAME.json` beside this file.
"""

import json
import sqlite3
import sys
import unittest
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.popcube_server.rest.client.keys_case import KeysTestCase
from tests.popcube_server.server_case import ONE, TestUser

V3 = "/_matrix/client/v3"
Question = tuple[str, str, str, Any]
"""Who asks (a key of the users), method, path, body."""


def plain(value: Any) -> Any:
    """An answer without what may be otherwise each time: tokens, ages and the order of events, as in a state."""
    if isinstance(value, dict):
        left_out = ("age", "next_batch", "prev_batch", "start", "end")
        return {key: plain(each) for key, each in value.items() if key not in left_out}
    if isinstance(value, list):
        each_plain = [plain(each) for each in value]
        if all(isinstance(each, dict) and "event_id" in each for each in each_plain):
            return sorted(each_plain, key=lambda each: str(each["event_id"]))
        return each_plain
    return value


class OldDatabase(KeysTestCase):
    """A server with a little of everything."""

    hosts = (ONE,)

    def fill(self) -> None:
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob")
        self.tablet = self.given_login(self.bob, "TABLET")
        self.carol = self.given_user("carol")
        self.room_id = self.given_room(
            self.alice, name="Den", room_alias_name="den", visibility="public", room_version="11"
        )
        self.given_joined(self.bob, self.room_id)
        self.event_ids = [
            self.given_message(self.alice, self.room_id, f"message {number}", f"t{number}")
            for number in range(6)
        ]
        self.since = self.ok(self.get(f"{V3}/sync", self.bob))["next_batch"]
        relation = {"rel_type": "m.annotation", "event_id": self.event_ids[1], "key": "+"}
        self.room_put(self.bob, "send/m.reaction/r", {"m.relates_to": relation})
        self.room_put(self.alice, f"redact/{quote(self.event_ids[2])}/x", {})
        self.ok(self.post(self.room_path(f"receipt/m.read/{quote(self.event_ids[3])}"), {}, self.bob))
        self.ok(self.post(self.room_path("invite"), {"user_id": self.carol.user_id}, self.alice))
        me = f"{V3}/user/{self.alice.user_id}"
        self.ok(self.put(f"{me}/account_data/my.thing", {"a": [1, "ü"]}, self.alice))
        self.ok(self.put(f"{me}/rooms/{quote(self.room_id)}/tags/m.favourite", {"order": 0.5}, self.alice))
        self.ok(self.put(f"{V3}/profile/{self.alice.user_id}/displayname", {"displayname": "Al"}, self.alice))
        self.given_device_keys(self.bob)
        self.upload(self.bob, one_time_keys=self.one_time_keys(self.bob, "B", "A"))
        self.given_cross_signing(self.alice)
        for number in range(2):
            body = {"messages": {self.bob.user_id: {"*": {"n": number}}}}
            self.ok(self.put(f"{V3}/sendToDevice/m.test/{number}", body, self.alice))
        backup = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "x"}}
        self.ok(self.post(f"{V3}/room_keys/version", backup, self.alice))
        session = {"first_message_index": 1, "forwarded_count": 0, "is_verified": True, "session_data": {}}
        path = f"{V3}/room_keys/keys/{quote(self.room_id)}/session?version=1"
        self.ok(self.put(path, session, self.alice))

    def room_path(self, rest: str) -> str:
        return f"{V3}/rooms/{quote(self.room_id)}/{rest}"

    def room_put(self, user: TestUser, rest: str, body: Mapping[str, Any]) -> None:
        self.ok(self.put(self.room_path(rest), body, user))

    def questions(self) -> list[Question]:
        bob_id, alice_id = self.bob.user_id, self.alice.user_id
        repeated = {"msgtype": "m.text", "body": "message 3"}
        claim = {"one_time_keys": {bob_id: {self.bob.device_id: "signed_curve25519"}}}
        return [
            ("alice", "GET", self.room_path("messages?dir=b&limit=50"), None),
            ("bob", "GET", self.room_path("state"), None),
            ("bob", "GET", self.room_path("joined_members"), None),
            ("alice", "GET", self.room_path(f"event/{quote(self.event_ids[2])}"), None),
            (
                "alice",
                "GET",
                f"/_matrix/client/v1/rooms/{quote(self.room_id)}/relations/{quote(self.event_ids[1])}",
                None,
            ),
            ("alice", "GET", f"{V3}/sync", None),
            ("carol", "GET", f"{V3}/sync", None),
            ("bob", "GET", f"{V3}/sync?since={self.since}", None),
            ("tablet", "GET", f"{V3}/sync?since={self.since}", None),
            ("alice", "GET", f"{V3}/directory/room/{quote('#den:one.example')}", None),
            ("alice", "GET", f"{V3}/publicRooms", None),
            ("bob", "GET", f"{V3}/profile/{alice_id}", None),
            ("alice", "GET", f"{V3}/user/{alice_id}/account_data/my.thing", None),
            ("alice", "GET", f"{V3}/user/{alice_id}/rooms/{quote(self.room_id)}/tags", None),
            ("bob", "POST", f"{V3}/user_directory/search", {"search_term": "al"}),
            ("alice", "GET", f"{V3}/pushrules/", None),
            ("alice", "GET", f"{V3}/room_keys/keys?version=1", None),
            ("alice", "POST", f"{V3}/keys/query", {"device_keys": {bob_id: []}}),
            ("alice", "POST", f"{V3}/keys/claim", claim),
            ("alice", "POST", f"{V3}/keys/claim", claim),
            ("alice", "POST", f"{V3}/keys/claim", claim),
            # What was done once is not done again.
            ("alice", "PUT", self.room_path("send/m.room.message/t3"), repeated),
            ("alice", "GET", self.room_path("messages?dir=b&limit=3"), None),
        ]

    def write(self, folder: Path, name: str) -> None:
        """The database as it is when the server has stopped, and what it answers when it was started again."""
        self.fill()
        self.close(self.organisations[ONE])
        with closing(sqlite3.connect(self.directory / ONE / "homeserver.db")) as database:
            (folder / f"{name}.sql").write_text("\n".join(database.iterdump()) + "\n")
        self.open(ONE)
        users = {"alice": self.alice, "bob": self.bob, "tablet": self.tablet, "carol": self.carol}
        asked = [
            [who, method, path, body, plain(self.ok(self.call(method, path, body, users[who])))]
            for who, method, path, body in self.questions()
        ]
        tokens = {name: [user.user_id, user.access_token, user.device_id] for name, user in users.items()}
        lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in asked)
        text = f'{{"users": {json.dumps(tokens)},\n"asked": [\n{lines}\n]}}\n'
        (folder / f"{name}.json").write_text(text)


def main(name: str) -> None:
    class Writing(OldDatabase):
        def runTest(self) -> None:
            self.write(Path(__file__).parent, name)

    result = unittest.TestResult()
    Writing().run(result)
    for _, problem in (*result.errors, *result.failures):
        print(problem)


if __name__ == "__main__":
    main(sys.argv[1])
