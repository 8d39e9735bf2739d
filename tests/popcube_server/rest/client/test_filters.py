"""Filters that clients leave here."""

from typing import Any

from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import TWO, TestUser

FILTER = {
    "room": {
        "state": {"types": ["m.room.*"], "not_rooms": ["!726s6s6q:example.com"], "lazy_load_members": True},
        "timeline": {"limit": 10, "types": ["m.room.message"], "not_senders": ["@spam:example.com"]},
        "ephemeral": {"types": ["m.receipt", "m.typing"], "org.example.unknown": [1.5]},
    },
    "presence": {"types": ["m.presence"], "not_senders": ["@alice:example.com"]},
    "event_format": "client",
    "event_fields": ["type", "content", "sender"],
}


class FilterTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")

    def path(self, filter_id: str | None = None, user: TestUser | None = None) -> str:
        path = f"/_matrix/client/v3/user/{(user or self.alice).user_id}/filter"
        return path if filter_id is None else f"{path}/{filter_id}"

    def store(self, body: Any) -> str:
        filter_id: str = self.ok(self.post(self.path(), body, self.alice))["filter_id"]
        return filter_id

    def test_filter_is_given_back_as_it_was_sent(self) -> None:
        filter_id = self.store(FILTER)
        self.assertFalse(filter_id.startswith("{"))
        self.assertEqual(self.ok(self.get(self.path(filter_id), self.alice)), FILTER)
        self.restart()
        self.assertEqual(self.ok(self.get(self.path(filter_id), self.alice)), FILTER)

    def test_same_filter_has_the_same_id(self) -> None:
        self.assertEqual(self.store(FILTER), self.store(FILTER))
        self.assertNotEqual(self.store(FILTER), self.store({}))

    def test_filters_of_others_are_forbidden_and_unknown_ones_not_found(self) -> None:
        bob = self.given_user("bob")
        filter_id = self.store(FILTER)
        self.assert_refused(self.post(self.path(), {}, bob), 403, "M_FORBIDDEN")
        self.assert_refused(self.get(self.path(filter_id), bob), 403, "M_FORBIDDEN")
        self.assert_refused(self.get(self.path(filter_id, bob), bob), 404, "M_NOT_FOUND")
        self.assert_refused(self.get(self.path("nothing"), self.alice), 404, "M_NOT_FOUND")

    def test_wrong_filters_are_refused(self) -> None:
        for body, errcode in (
            ({"room": []}, "M_BAD_JSON"),
            ({"event_format": "xml"}, "M_INVALID_PARAM"),
            ({"room": {"timeline": {"limit": -1}}}, "M_INVALID_PARAM"),
        ):
            self.assert_refused(self.post(self.path(), body, self.alice), 400, errcode)
        self.assert_refused(self.post(self.path(), {"x": "y" * 70_000}, self.alice), 413, "M_TOO_LARGE")

    def test_filter_chooses_what_sync_gives(self) -> None:
        room = self.given_room(self.alice)
        self.given_message(self.alice, room, "hello")
        filter_id = self.store({"room": {"timeline": {"types": ["m.room.message"]}, "state": {"types": []}}})
        answer = self.ok(self.get(f"/_matrix/client/v3/sync?timeout=0&filter={filter_id}", self.alice))
        joined = answer["rooms"]["join"][room]
        self.assertEqual([event["content"]["body"] for event in joined["timeline"]["events"]], ["hello"])

    def test_filters_of_one_organisation_are_unknown_to_the_other(self) -> None:
        twin = self.given_user("alice", TWO)
        filter_id = self.store(FILTER)
        self.assert_refused(self.get(self.path(filter_id, twin), twin), 404, "M_NOT_FOUND")
        self.assertEqual(self.get(self.path(filter_id), self.alice)[0], 200)
