"""What another server may send and ask, and what it may not."""

from typing import Any
from urllib.parse import quote

from federation.room_dag.canonical_json import encode_canonical
from federation.transport.x_matrix import build_x_matrix
from tests.popcube_server.server_case import ONE, TWO, ServerTestCase, TestUser

V1 = "/_matrix/federation/v1/"
V2 = "/_matrix/federation/v2/"


class InboundTests(ServerTestCase):
    """`two.example` calls `one.example`."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob", TWO)

    def join(self, user: TestUser, room_id: str) -> tuple[int, Any]:
        return self.post(f"/_matrix/client/v3/join/{quote(room_id)}?via={ONE}", {}, user)

    def members(self, user: TestUser, room_id: str) -> set[str]:
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/joined_members"
        return set(self.ok(self.get(path, user))["joined"])

    def ask(self, method: str, url: str, body: Any = None) -> tuple[int, Any]:
        signer = self.organisations[TWO].core.signer
        content = None if body is None else encode_canonical(body)
        header = build_x_matrix(signer, ONE, method, url, content)
        return self.call(method, url, body, headers={"Authorization": header})

    def send(self, txn_id: str, pdus: list[Any], edus: list[Any] | None = None) -> tuple[int, Any]:
        body = {"origin": TWO, "origin_server_ts": 1, "pdus": pdus, "edus": edus or []}
        return self.ask("PUT", f"{V1}send/{txn_id}", body)

    def test_transaction_that_is_not_on_disk_is_not_answered_with_success(self) -> None:
        room_id = self.given_room(self.alice)
        self.ok(self.join(self.bob, room_id))
        content = {"room_id": room_id, "user_id": self.bob.user_id, "typing": True}
        edus = [{"edu_type": "m.typing", "content": content}]
        database = self.organisations[ONE].core.database
        database.write_now(lambda tx: tx.run("ALTER TABLE log RENAME TO hidden"))
        self.assertEqual(self.send("one", [], edus)[0], 500)
        database.write_now(lambda tx: tx.run("ALTER TABLE hidden RENAME TO log"))
        self.ok(self.send("one", [], edus))

    def test_message_reaches_the_other_server(self) -> None:
        room_id = self.given_room(self.alice)
        self.ok(self.join(self.bob, room_id))
        event_id = self.given_message(self.bob, room_id, "hello over there")
        for _ in range(10):
            self.clock.advance(1)
            self.network.flush()
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/event/{quote(event_id)}"
        self.assertEqual(self.ok(self.get(path, self.alice))["content"]["body"], "hello over there")

    def test_transactions_have_limits(self) -> None:
        self.assert_refused(self.send("a", [{}] * 51), 400, "M_BAD_JSON")
        self.assert_refused(self.send("b", [], [{}] * 101), 400, "M_BAD_JSON")
        self.assertEqual(self.ok(self.send("c", [{}, None, 3], [{}, None]))["pdus"], {})
        self.assertEqual(self.ok(self.send("d", [{}] * 50, [{}] * 100))["pdus"], {})

    def test_unsigned_and_foreign_events_are_refused_one_by_one(self) -> None:
        room_id = self.given_room(self.alice)
        self.ok(self.join(self.bob, room_id))
        url = f"{V1}make_leave/{quote(room_id)}/{quote(self.bob.user_id)}"
        event = self.ok(self.ask("GET", url))["event"]
        event["hashes"] = {"sha256": "A" * 43}
        event["signatures"] = {TWO: {"ed25519:test": "A" * 86}}
        results = self.ok(self.send("t1", [event]))["pdus"]
        self.assertEqual(len(results), 1)
        self.assertTrue(all("error" in result for result in results.values()))
        self.assertEqual(self.members(self.alice, room_id), {self.alice.user_id, self.bob.user_id})
        # The same transaction again has the same answer.
        self.assertEqual(self.ok(self.send("t1", []))["pdus"], results)

    def test_only_servers_in_the_room_may_ask(self) -> None:
        room_id = self.given_room(self.alice)
        event_id = self.given_message(self.alice, room_id)
        room, event = quote(room_id), quote(event_id)
        questions = [
            ("GET", f"{V1}event/{event}", None),
            ("GET", f"{V1}state/{room}?event_id={event}", None),
            ("GET", f"{V1}state_ids/{room}?event_id={event}", None),
            ("GET", f"{V1}event_auth/{room}/{event}", None),
            ("GET", f"{V1}backfill/{room}?v={event}&limit=5", None),
            ("GET", f"{V1}timestamp_to_event/{room}?ts=1&dir=f", None),
            (
                "POST",
                f"{V1}get_missing_events/{room}",
                {"earliest_events": [], "latest_events": [event_id]},
            ),
        ]
        for method, url, body in questions:
            self.assert_refused(self.ask(method, url, body), 403, "M_FORBIDDEN")
        self.ok(self.join(self.bob, room_id))
        for method, url, body in questions:
            self.ok(self.ask(method, url, body))
        acl = {"allow": ["*"], "deny": ["TWO.*"]}
        self.ok(self.put(f"/_matrix/client/v3/rooms/{room}/state/m.room.server_acl", acl, self.alice))
        for method, url, body in questions:
            self.assert_refused(self.ask(method, url, body), 403, "M_FORBIDDEN")
        self.assert_refused(
            self.ask("GET", f"{V1}make_join/{room}/{quote(self.bob.user_id)}?ver=12"), 403, "M_FORBIDDEN"
        )

    def test_history_from_before_the_join_is_redacted_if_hidden(self) -> None:
        rule = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}
        room_id = self.given_room(self.alice, initial_state=[rule])
        hidden = self.given_message(self.alice, room_id, "secret")
        self.ok(self.join(self.bob, room_id))
        shown = self.given_message(self.alice, room_id, "open")
        contents = [
            self.ok(self.ask("GET", f"{V1}event/{quote(event_id)}"))["pdus"][0]["content"]
            for event_id in (hidden, shown)
        ]
        self.assertEqual([content.get("body") for content in contents], [None, "open"])

    def test_templates_are_for_own_users_and_known_versions(self) -> None:
        room_id = self.given_room(self.alice, room_version="11")
        room, bob = quote(room_id), quote(self.bob.user_id)
        status, body = self.ask("GET", f"{V1}make_join/{room}/{bob}?ver=1&ver=10")
        self.assertEqual(
            (status, body["errcode"], body["room_version"]), (400, "M_INCOMPATIBLE_ROOM_VERSION", "11")
        )
        self.ok(self.ask("GET", f"{V1}make_join/{room}/{bob}?ver=11"))
        stranger = quote("@eve:three.example")
        self.assert_refused(self.ask("GET", f"{V1}make_join/{room}/{stranger}?ver=11"), 403, "M_FORBIDDEN")
        self.assert_refused(self.ask("GET", f"{V1}make_knock/{room}/{bob}?ver=11"), 403, "M_FORBIDDEN")
        self.assert_refused(self.ask("GET", f"{V1}make_join/%21none/{bob}?ver=11"), 404, "M_NOT_FOUND")

    def test_unsigned_join_is_refused(self) -> None:
        room_id = self.given_room(self.alice)
        bob = quote(self.bob.user_id)
        event = self.ok(self.ask("GET", f"{V1}make_join/{quote(room_id)}/{bob}?ver=12"))["event"]
        event |= {"hashes": {"sha256": "A" * 43}, "signatures": {}}
        answer = self.ask("PUT", f"{V2}send_join/{quote(room_id)}/%24x", event)
        self.assert_refused(answer, 400, "M_INVALID_PARAM")
        self.assert_refused(
            self.ask("PUT", f"{V2}send_join/{quote(room_id)}/%24x", {}), 400, "M_INVALID_PARAM"
        )
        self.assertEqual(self.members(self.alice, room_id), {self.alice.user_id})
