"""Account data and tags: own only, bounded, and each organisation's own."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import TWO, TestUser

ROOM = "!room:one.example"


def account_data(user: TestUser, event_type: str, room_id: str | None = None) -> str:
    room = "" if room_id is None else f"/rooms/{quote(room_id)}"
    return f"/_matrix/client/v3/user/{quote(user.user_id)}{room}/account_data/{quote(event_type, safe='')}"


def tags(user: TestUser, tag: str | None = None, room_id: str = ROOM) -> str:
    path = f"/_matrix/client/v3/user/{quote(user.user_id)}/rooms/{quote(room_id)}/tags"
    return path if tag is None else f"{path}/{quote(tag, safe='')}"


class AccountDataTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")

    def test_what_is_set_is_read(self) -> None:
        for room_id in (None, ROOM):
            path = account_data(self.alice, "org.example/type \u00e9", room_id)
            content = {"n": [1, 2.5, None, {"\0": "x"}], "where": room_id}
            self.assertEqual(self.ok(self.put(path, content, self.alice)), {})
            self.assertEqual(self.ok(self.get(path, self.alice)), content)
        self.ok(self.put(account_data(self.alice, "again"), {"n": 1}, self.alice))
        self.ok(self.put(account_data(self.alice, "again"), {}, self.alice))
        self.assertEqual(self.ok(self.get(account_data(self.alice, "again"), self.alice)), {})

    def test_what_is_not_set_is_not_found(self) -> None:
        for room_id in (None, ROOM):
            self.assert_refused(
                self.get(account_data(self.alice, "x", room_id), self.alice), 404, "M_NOT_FOUND"
            )

    def test_account_data_of_others_is_forbidden(self) -> None:
        bob = self.given_user("bob")
        for room_id in (None, ROOM):
            path = account_data(self.alice, "x", room_id)
            self.ok(self.put(path, {}, self.alice))
            self.assert_refused(self.get(path, bob), 403, "M_FORBIDDEN")
            self.assert_refused(self.put(path, {"x": 1}, bob), 403, "M_FORBIDDEN")
            self.assertEqual(self.ok(self.get(path, self.alice)), {})

    def test_types_of_the_server_cannot_be_set(self) -> None:
        for event_type in ("m.fully_read", "m.push_rules"):
            for room_id in (None, ROOM):
                answer = self.put(account_data(self.alice, event_type, room_id), {"x": 1}, self.alice)
                self.assert_refused(answer, 405, "M_BAD_JSON")
        self.assertIn(
            "override", self.ok(self.get(account_data(self.alice, "m.push_rules"), self.alice))["global"]
        )

    def test_wrong_input_is_refused(self) -> None:
        path = account_data(self.alice, "x")
        self.assert_refused(self.put(path, b"[1]", self.alice), 400, "M_BAD_JSON")
        self.assert_refused(self.put(path, b"{", self.alice), 400, "M_NOT_JSON")
        self.assert_refused(
            self.put(account_data(self.alice, "x" * 256), {}, self.alice), 400, "M_INVALID_PARAM"
        )
        self.assert_refused(self.put(path, {"x": "y" * 300_000}, self.alice), 413, "M_TOO_LARGE")
        self.assert_refused(self.get(path, self.alice), 404, "M_NOT_FOUND")
        bad_room = account_data(self.alice, "x", "@notaroomid:example.org")
        self.assert_refused(self.put(bad_room, {}, self.alice), 400, "M_INVALID_PARAM")
        self.assert_refused(self.get(bad_room, self.alice), 400, "M_INVALID_PARAM")

    def test_all_account_data_together_is_bounded_and_may_always_shrink(self) -> None:
        full = {"x": "y" * 250_000}
        answers = [self.put(account_data(self.alice, f"t{number}"), full, self.alice) for number in range(70)]
        self.assertEqual({answer[0] for answer in answers[:66]}, {200})
        self.assert_refused(answers[-1], 413, "M_TOO_LARGE")
        self.assert_refused(
            self.put(account_data(self.alice, "t", ROOM), full, self.alice), 413, "M_TOO_LARGE"
        )
        self.assert_refused(self.put(tags(self.alice, "u.x"), full, self.alice), 413, "M_TOO_LARGE")
        self.ok(self.put(account_data(self.alice, "t0"), {}, self.alice))
        self.ok(self.put(account_data(self.alice, "t", ROOM), full, self.alice))
        bob = self.given_user("bob")
        self.ok(self.put(account_data(bob, "t"), full, bob))

    def test_account_data_of_one_organisation_is_unknown_to_the_other(self) -> None:
        twin = self.given_user("alice", TWO)
        self.ok(self.put(account_data(self.alice, "x"), {"n": 1}, self.alice))
        self.assert_refused(self.get(account_data(twin, "x"), twin), 404, "M_NOT_FOUND")
        self.assertEqual(self.get(account_data(self.alice, "x"), twin)[0], 403)

    def test_account_data_survives_a_restart(self) -> None:
        self.ok(self.put(account_data(self.alice, "x"), {"n": 1}, self.alice))
        self.restart()
        self.assertEqual(self.ok(self.get(account_data(self.alice, "x"), self.alice)), {"n": 1})


class TagTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")

    def tags(self) -> Any:
        return self.ok(self.get(tags(self.alice), self.alice))["tags"]

    def test_tags_are_set_listed_and_deleted(self) -> None:
        self.assertEqual(self.tags(), {})
        self.ok(self.put(tags(self.alice, "u.Work/\u00e9"), {"order": 0.5}, self.alice))
        self.ok(self.put(tags(self.alice, "m.favourite"), {}, self.alice))
        self.assertEqual(self.tags(), {"u.Work/\u00e9": {"order": 0.5}, "m.favourite": {}})
        self.ok(self.put(tags(self.alice, "m.favourite"), {"order": 1, "org.example.x": 2}, self.alice))
        self.ok(self.delete(tags(self.alice, "u.Work/\u00e9"), self.alice))
        self.ok(self.delete(tags(self.alice, "u.Work/\u00e9"), self.alice))
        self.assertEqual(self.tags(), {"m.favourite": {"order": 1, "org.example.x": 2}})
        self.assertEqual(
            self.ok(self.get(account_data(self.alice, "m.tag", ROOM), self.alice)), {"tags": self.tags()}
        )

    def test_wrong_tags_are_refused(self) -> None:
        for content, errcode in (
            ({"order": "1"}, "M_BAD_JSON"),
            ({"order": True}, "M_BAD_JSON"),
            ({"order": 2}, "M_INVALID_PARAM"),
        ):
            self.assert_refused(self.put(tags(self.alice, "u.x"), content, self.alice), 400, errcode)
        self.assert_refused(self.put(tags(self.alice, "u" * 256), {}, self.alice), 400, "M_INVALID_PARAM")
        self.assert_refused(self.put(tags(self.alice, "u.x", "!"), {}, self.alice), 400, "M_INVALID_PARAM")
        self.assertEqual(self.tags(), {})

    def test_tags_of_others_are_forbidden(self) -> None:
        bob = self.given_user("bob")
        self.ok(self.put(tags(self.alice, "u.x"), {}, self.alice))
        self.assert_refused(self.get(tags(self.alice), bob), 403, "M_FORBIDDEN")
        self.assert_refused(self.put(tags(self.alice, "u.y"), {}, bob), 403, "M_FORBIDDEN")
        self.assert_refused(self.delete(tags(self.alice, "u.x"), bob), 403, "M_FORBIDDEN")
        self.assertEqual(self.tags(), {"u.x": {}})

    def test_tags_written_as_account_data_in_another_shape_do_no_harm(self) -> None:
        self.ok(self.put(account_data(self.alice, "m.tag", ROOM), {"tags": [1]}, self.alice))
        self.assertEqual(self.tags(), {})
        self.ok(self.put(tags(self.alice, "u.x"), {}, self.alice))
        self.assertEqual(self.tags(), {"u.x": {}})
