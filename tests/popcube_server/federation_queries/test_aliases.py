"""Aliases of other servers, for our users; ours for other servers."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.federation_queries.queries_case import FAR, FEDERATION, QueriesTestCase, refusal
from tests.popcube_server.rooms.rooms_case import V1, V3
from tests.popcube_server.server_case import ONE, TWO, TestUser

PATH = f"{FEDERATION}/query/directory"
FAR_ALIAS = "#room:far.example"


def directory(alias: str) -> str:
    return f"{V3}/directory/room/{quote(alias)}"


class AliasTests(QueriesTestCase):
    def given_alias(self, user: TestUser, localpart: str, **options: Any) -> str:
        return self.given_room(user, room_alias_name=localpart, **options)

    def test_alias_of_another_server_is_found_and_joined_by(self) -> None:
        room_id = self.given_alias(self.alice, "open")
        alias = f"#open:{ONE}"
        found = self.ok(self.get(directory(alias), self.carol))
        self.assertEqual(found, {"room_id": room_id, "servers": [ONE]})
        # Nobody needs a token to ask where an alias leads.
        self.ok(self.call("GET", directory(alias), server_name=TWO))
        self.assertEqual(self.ok(self.post(f"{V3}/join/{quote(alias)}", {}, self.carol))["room_id"], room_id)
        members = self.ok(self.get(f"{V3}/rooms/{quote(room_id)}/joined_members", self.alice))["joined"]
        self.assertIn(self.carol.user_id, members)

    def test_knock_by_alias_of_another_server(self) -> None:
        rule = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
        room_id = self.given_alias(self.alice, "knock", initial_state=[rule])
        answer = self.post(f"{V3}/knock/{quote('#knock:' + ONE)}", {}, self.carol)
        self.assertEqual(self.ok(answer)["room_id"], room_id)

    def test_directory_is_asked_by_servers(self) -> None:
        room_id = self.given_alias(self.alice, "open")
        url = f"{PATH}?room_alias={quote('#open:' + ONE)}"
        self.assertEqual(self.ok(self.ask("GET", url)), {"room_id": room_id, "servers": [ONE]})
        self.ok(self.post(f"{V3}/join/{quote(room_id)}?via={ONE}", {}, self.carol))
        self.assertEqual(self.ok(self.ask("GET", url))["servers"], [ONE, TWO])
        none = f"{PATH}?room_alias={quote('#none:' + ONE)}"
        self.assert_refused(self.ask("GET", none), 404, "M_NOT_FOUND")
        # Nobody asks a third server through this one.
        self.assert_refused(self.ask("GET", f"{PATH}?room_alias={quote(FAR_ALIAS)}"), 400, "M_INVALID_PARAM")
        self.assert_refused(self.ask("GET", PATH), 400, "M_MISSING_PARAM")

    def test_alias_of_a_room_that_does_not_federate_is_for_users_here(self) -> None:
        self.given_alias(self.alice, "own", creation_content={"m.federate": False})
        self.ok(self.get(directory(f"#own:{ONE}"), self.bob))
        self.assert_refused(self.get(directory(f"#own:{ONE}"), self.carol), 404, "M_NOT_FOUND")

    def test_questions_are_bounded(self) -> None:
        far = self.given_far()
        far.answers[PATH] = {"room_id": "!a:far.example", "servers": [FAR]}
        for _ in range(50):
            self.ok(self.get(directory(FAR_ALIAS)))
        self.assertEqual(len(far.asked), 1)
        statuses = [self.get(directory(f"#{number}:far.example"))[0] for number in range(230)]
        self.assertEqual(statuses[-1], 429)
        self.assertLess(len(far.asked), 210)
        self.ok(self.get(directory(FAR_ALIAS)))

    def test_missing_and_unreachable_are_told_apart(self) -> None:
        far = self.given_far()
        for answer, status, errcode in (
            (refusal(404, "M_NOT_FOUND"), 404, "M_NOT_FOUND"),
            (refusal(400, "M_UNKNOWN"), 404, "M_NOT_FOUND"),
            (refusal(429, "M_LIMIT_EXCEEDED"), 502, "M_UNKNOWN"),
            (refusal(500, "M_UNKNOWN"), 502, "M_UNKNOWN"),
            ([], 502, "M_UNKNOWN"),
            ({"room_id": "#a:far.example", "servers": []}, 502, "M_UNKNOWN"),
            ({"room_id": "!a\0:far.example", "servers": []}, 502, "M_UNKNOWN"),
        ):
            far.answers[PATH] = answer
            # Past what is remembered, and past the pause after a failure.
            self.clock.advance(3600)
            self.assert_refused(self.get(directory(FAR_ALIAS), self.alice), status, errcode)
        self.clock.advance(3600)
        self.network.down.add(FAR)
        for _ in range(3):
            answer = self.wait(lambda: self.begin("GET", directory(FAR_ALIAS), user=self.alice))
            self.assert_refused(answer, 504, "M_UNKNOWN")

    def test_servers_of_an_answer_are_read_with_care(self) -> None:
        far = self.given_far()
        servers = [
            7,
            "not a server",
            "a.example",
            "a.example",
            {"b": 1},
            *(f"s{n}.example" for n in range(100)),
        ]
        far.answers[PATH] = {"room_id": "!a:far.example", "servers": servers}
        found = self.ok(self.get(directory(FAR_ALIAS), self.alice))["servers"]
        self.assertEqual(found[:3], [FAR, "a.example", "s0.example"])
        self.assertLess(len(found), 51)
        self.clock.advance(61)
        far.answers[PATH] = {"room_id": "!a:far.example", "servers": "x"}
        self.assertEqual(self.ok(self.get(directory(FAR_ALIAS), self.alice))["servers"], [FAR])

    def test_only_aliases_here_can_be_made_and_removed(self) -> None:
        room_id = self.given_room(self.alice)
        answer = self.put(directory(FAR_ALIAS), {"room_id": room_id}, self.alice)
        self.assert_refused(answer, 403, "M_FORBIDDEN")
        self.assert_refused(self.delete(directory(FAR_ALIAS), self.alice), 404, "M_NOT_FOUND")
        self.assert_refused(self.get(directory("#x"), self.alice), 400, "M_INVALID_PARAM")

    def test_canonical_alias_of_another_server_must_lead_to_the_room(self) -> None:
        room_id = self.given_room(self.alice, preset="public_chat")
        self.ok(self.post(f"{V3}/join/{quote(room_id)}?via={ONE}", {}, self.carol))
        self.ok(self.put(directory(f"#theirs:{TWO}"), {"room_id": room_id}, self.carol))
        self.given_alias(self.carol, "other")
        state = f"{V3}/rooms/{quote(room_id)}/state/m.room.canonical_alias/"
        for wrong in (f"#other:{TWO}", f"#none:{TWO}"):
            for content in ({"alias": wrong}, {"alt_aliases": [wrong]}):
                self.assert_refused(self.put(state, content, self.alice), 400, "M_BAD_ALIAS")
        self.ok(self.put(state, {"alias": f"#theirs:{TWO}"}, self.alice))
        # What stands there already may stay, though its server is gone; what is new may not.
        self.network.down.add(TWO)
        self.clock.advance(120)
        self.ok(self.put(directory(f"#ours:{ONE}"), {"room_id": room_id}, self.alice))
        both = {"alias": f"#theirs:{TWO}", "alt_aliases": [f"#ours:{ONE}"]}
        self.ok(self.put(state, both, self.alice))
        answer = self.wait(lambda: self.begin("PUT", state, {"alias": f"#new:{TWO}"}, self.alice))
        self.assert_refused(answer, 400, "M_BAD_ALIAS")

    def test_summary_by_alias_of_another_server(self) -> None:
        room_id = self.given_alias(self.alice, "open", name="Open")
        found = self.ok(self.get(f"{V1}/room_summary/{quote('#open:' + ONE)}", self.carol))
        self.assertEqual((found["room_id"], found["name"], found["membership"]), (room_id, "Open", "leave"))
