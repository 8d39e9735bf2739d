"""Directories of other servers, and this one's for them."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.federation_queries.queries_case import (
    FAR,
    FEDERATION,
    FarAnswers,
    QueriesTestCase,
    refusal,
    success,
)
from tests.popcube_server.rooms.rooms_case import V3
from tests.popcube_server.server_case import ONE, TWO

PATH = f"{FEDERATION}/publicRooms"
LISTED: Any = {
    "room_id": "!a:far.example",
    "num_joined_members": 3,
    "world_readable": True,
    "guest_can_join": False,
    "name": "Far",
    "topic": "away",
    "canonical_alias": "#a:far.example",
    "avatar_url": "mxc://far.example/a",
    "join_rule": "knock",
    "room_type": "m.space",
}


class SharedDirectoryTests(QueriesTestCase):
    extra_configuration = "allow_public_rooms_over_federation: true"

    def names(self, answer: Any) -> list[str]:
        return [room["name"] for room in self.ok(answer)["chunk"]]

    def setUp(self) -> None:
        super().setUp()
        for name, options in (
            ("Cats", {}),
            ("Dogs", {"topic": "and cats", "creation_content": {"type": "m.space"}}),
            ("Ours", {"creation_content": {"m.federate": False}}),
        ):
            self.given_room(self.alice, name=name, visibility="public", **options)

    def test_rooms_are_listed_page_by_page(self) -> None:
        page = self.ok(self.ask("GET", f"{PATH}?limit=1"))
        second = self.ok(self.ask("GET", f"{PATH}?limit=1&since={quote(page['next_batch'])}"))
        found = [room["name"] for room in (*page["chunk"], *second["chunk"])]
        self.assertEqual((sorted(found), page["total_room_count_estimate"]), (["Cats", "Dogs"], 2))
        self.assertNotIn("next_batch", second)
        # 0 is no limit.
        self.assertEqual(len(self.names(self.ask("GET", f"{PATH}?limit=0"))), 2)

    def test_rooms_that_do_not_federate_are_for_users_here_only(self) -> None:
        self.assertNotIn("Ours", self.names(self.ask("GET", PATH)))
        self.assertIn("Ours", self.names(self.get(f"{V3}/publicRooms", self.alice)))
        self.assertNotIn("Ours", self.names(self.get(f"{V3}/publicRooms?server={ONE}", self.carol)))

    def test_rooms_are_filtered(self) -> None:
        for body, names in (
            ({}, ["Cats", "Dogs"]),
            ({"filter": {"generic_search_term": "CATS"}}, ["Cats", "Dogs"]),
            ({"filter": {"generic_search_term": "and"}}, ["Dogs"]),
            ({"filter": {"room_types": [None]}}, ["Cats"]),
            ({"filter": {"room_types": ["m.space"]}, "limit": 5}, ["Dogs"]),
            ({"third_party_instance_id": "irc"}, []),
            ({"include_all_networks": True}, ["Cats", "Dogs"]),
        ):
            self.assertEqual(sorted(self.names(self.ask("POST", PATH, body))), names, body)
            remote = self.post(f"{V3}/publicRooms?server={ONE}", body, self.carol)
            self.assertEqual(sorted(self.names(remote)), names, body)

    def test_wrong_questions_are_refused(self) -> None:
        both = {"include_all_networks": True, "third_party_instance_id": "irc"}
        self.assert_refused(self.ask("POST", PATH, both), 400, "M_INVALID_PARAM")
        for query in ("limit=-1", "limit=x", "since=x", "include_all_networks=1"):
            self.assert_refused(self.ask("GET", f"{PATH}?{query}"), 400, "M_INVALID_PARAM")
        self.assert_refused(self.call("GET", PATH), 401, "M_UNAUTHORIZED")

    def test_server_that_asks_too_often_is_told_so(self) -> None:
        answers = [self.ask("GET", f"{PATH}?limit=1")[0] for _ in range(205)]
        self.assertEqual((answers[0], answers[-1]), (200, 429))
        self.clock.advance(60)
        self.ok(self.ask("GET", PATH))


class ClosedDirectoryTests(QueriesTestCase):
    def test_directory_is_closed_unless_the_operator_opens_it(self) -> None:
        self.given_room(self.alice, name="Cats", visibility="public")
        self.assert_refused(self.ask("GET", PATH), 403, "M_FORBIDDEN")
        self.assert_refused(self.ask("POST", PATH, {}), 403, "M_FORBIDDEN")
        answer = self.get(f"{V3}/publicRooms?server={ONE}", self.carol)
        self.assert_refused(answer, 502, "M_UNKNOWN")


class RemoteDirectoryTests(QueriesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.far: FarAnswers = self.given_far()

    def list(self, query: str = "") -> tuple[int, Any]:
        return self.get(f"{V3}/publicRooms?server={FAR}{query}", self.alice)

    def test_page_is_passed_on(self) -> None:
        page = {"chunk": [LISTED], "next_batch": "n", "prev_batch": "p", "total_room_count_estimate": 7}
        self.far.answers[PATH] = page
        self.assertEqual(self.ok(self.list("&limit=3&since=abc")), page)
        self.assertEqual(self.far.asked, [(PATH, {"limit": 3, "since": "abc"})])

    def test_same_page_is_asked_for_once_in_a_while(self) -> None:
        self.far.answers[PATH] = {"chunk": [LISTED]}
        for _ in range(20):
            self.ok(self.list())
        self.assertEqual(len(self.far.asked), 1)
        self.clock.advance(61)
        self.ok(self.list())
        self.assertEqual(len(self.far.asked), 2)

    def test_refusal_is_not_asked_for_again_at_once(self) -> None:
        self.far.answers[PATH] = refusal(403, "M_FORBIDDEN")
        for _ in range(20):
            self.assert_refused(self.list(), 502, "M_UNKNOWN")
        self.assertEqual(len(self.far.asked), 1)

    def test_all_who_ask_at_the_same_time_share_a_question(self) -> None:
        self.network.silent.add(FAR)
        path = f"{V3}/publicRooms?server={FAR}"
        first = self.begin("GET", path, user=self.alice)
        others = [self.begin("GET", path, user=self.bob) for _ in range(10)]
        self.assert_waiting(first)
        self.assertEqual(self.sent_to(FAR, ""), 1)
        self.clock.advance(61)
        for pending in (first, *others):
            self.assert_refused(self.finish(pending), 504, "M_UNKNOWN")

    def test_server_that_is_down_is_said_to_be(self) -> None:
        self.network.down.add(FAR)
        answer = self.wait(lambda: self.begin("GET", f"{V3}/publicRooms?server={FAR}", user=self.alice))
        self.assert_refused(answer, 504, "M_UNKNOWN")

    def test_user_has_a_budget(self) -> None:
        self.far.answers[PATH] = {"chunk": []}
        statuses = [self.list(f"&since={number}")[0] for number in range(230)]
        self.assertEqual((statuses[0], statuses[-1]), (200, 429))
        self.assertLess(len(self.far.asked), 210)
        # Another user still has theirs.
        self.ok(self.get(f"{V3}/publicRooms?server={FAR}", self.bob))

    def test_wrong_rooms_are_left_out_and_wrong_fields_too(self) -> None:
        wrong_rooms: tuple[Any, ...] = (
            7,
            {},
            {**LISTED, "room_id": "a"},
            {**LISTED, "room_id": "!" + "a" * 300},
            {**LISTED, "num_joined_members": "3"},
            {**LISTED, "num_joined_members": -1},
            {**LISTED, "num_joined_members": True},
            {**LISTED, "world_readable": 1},
            {**LISTED, "guest_can_join": None},
            {**LISTED, "join_rule": ["public"]},
        )
        wrong_fields = {
            "name": {"a": 1},
            "topic": 7,
            "canonical_alias": "a",
            "avatar_url": "javascript:alert(1)",
            "room_type": "x" * 256,
            "org.example.more": "x",
        }
        self.far.answers[PATH] = {
            "chunk": [*wrong_rooms, {**LISTED, **wrong_fields}],
            "total_room_count_estimate": "many",
            "next_batch": 7,
            "prev_batch": "x" * 3_000,
        }
        bare = {
            key: LISTED[key]
            for key in ("room_id", "num_joined_members", "world_readable", "guest_can_join", "join_rule")
        }
        self.assertEqual(self.ok(self.list()), {"chunk": [bare]})

    def test_there_are_no_more_rooms_than_were_asked_for_and_no_endless_topics(self) -> None:
        self.far.answers[PATH] = {"chunk": [{**LISTED, "topic": "x" * 10_000}] * 50}
        chunk = self.ok(self.list("&limit=5"))["chunk"]
        self.assertEqual((len(chunk), len(chunk[0]["topic"])), (5, 4_000))

    def test_answer_that_makes_no_sense_is_a_failure(self) -> None:
        wrong: tuple[Any, ...] = ({}, {"chunk": {}}, [], success({"chunk": ["x" * 5 * 1024 * 1024]}))
        for answer in wrong:
            self.far.answers[PATH] = answer
            self.clock.advance(11)
            self.assert_refused(self.list(), 502, "M_UNKNOWN")

    def test_nobody_makes_us_ask_what_is_no_server(self) -> None:
        for name in ("far%20example", "%2E%2E/x", "x" * 300):
            answer = self.get(f"{V3}/publicRooms?server={name}", self.alice)
            self.assert_refused(answer, 400, "M_INVALID_PARAM")
        self.assert_refused(self.get(f"{V3}/publicRooms?server={FAR}"), 401, "M_MISSING_TOKEN")
        self.assertEqual(self.far.asked, [])


class OpenDirectoryTests(QueriesTestCase):
    extra_configuration = "allow_public_rooms_without_auth: true\nallow_public_rooms_over_federation: true"

    def test_directory_is_open_without_a_token_and_addresses_have_a_budget(self) -> None:
        self.given_room(self.alice, name="Cats", visibility="public")
        self.assertEqual(len(self.ok(self.get(f"{V3}/publicRooms"))["chunk"]), 1)
        answer = self.call("GET", f"{V3}/publicRooms?server={ONE}", server_name=TWO)
        self.assertEqual(len(self.ok(answer)["chunk"]), 1)
        far = self.given_far()
        far.answers[PATH] = {"chunk": []}
        statuses = [self.get(f"{V3}/publicRooms?server={FAR}&since={n}")[0] for n in range(230)]
        self.assertEqual((statuses[0], statuses[-1]), (200, 429))
