"""The list of notifications, and pushers."""

from typing import Any

from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import TWO, TestUser

LIST = "/_matrix/client/v3/notifications"
PUSHERS = "/_matrix/client/v3/pushers"
URL = "https://push.example/_matrix/push/v1/notify"


class NotificationsTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob")
        self.room = self.given_room(self.bob)
        self.given_joined(self.alice, self.room)

    def mention(self) -> str:
        body = {"msgtype": "m.text", "body": "hi", "m.mentions": {"user_ids": [self.alice.user_id]}}
        path = f"/_matrix/client/v3/rooms/{self.room}/send/m.room.message/t{self._random.getrandbits(60)}"
        event_id: str = self.ok(self.put(path, body, self.bob))["event_id"]
        return event_id

    def listed(self, query: str = "", user: TestUser | None = None) -> Any:
        return self.ok(self.get(LIST + query, user or self.alice))

    def ids(self, answer: Any) -> list[str]:
        return [each["event"]["event_id"] for each in answer["notifications"]]

    def test_newest_notifications_come_first(self) -> None:
        sent = [self.given_message(self.bob, self.room), self.mention()]
        answer = self.listed()
        self.assertEqual(self.ids(answer), sent[::-1])
        newest = answer["notifications"][0]
        self.assertEqual(newest["room_id"], self.room)
        self.assertEqual(newest["actions"][-1], {"set_tweak": "highlight"})
        self.assertEqual(newest["event"]["content"]["body"], "hi")
        self.assertFalse(newest["read"])
        self.assertNotIn("next_token", answer)
        self.assertEqual(self.ids(self.listed(user=self.bob)), [])

    def test_pages_follow_each_other(self) -> None:
        sent = [self.given_message(self.bob, self.room) for _ in range(5)]
        found: list[str] = []
        query = "?limit=2"
        for size in (2, 2, 1):
            answer = self.listed(query)
            self.assertEqual(len(answer["notifications"]), size)
            found += self.ids(answer)
            query = f"?limit=2&from={answer.get('next_token')}"
        self.assertEqual(found, sent[::-1])
        self.assertNotIn("next_token", answer)

    def test_highlights_can_be_had_alone(self) -> None:
        highlight = self.mention()
        self.given_message(self.bob, self.room)
        self.assertEqual(self.ids(self.listed("?only=highlight")), [highlight])

    def test_read_ones_are_marked(self) -> None:
        first = self.given_message(self.bob, self.room)
        self.given_message(self.bob, self.room)
        self.ok(self.post(f"/_matrix/client/v3/rooms/{self.room}/receipt/m.read/{first}", {}, self.alice))
        self.assertEqual([each["read"] for each in self.listed()["notifications"]], [False, True])

    def test_invitation_is_listed(self) -> None:
        room = self.given_room(self.bob, invite=[self.alice.user_id])
        (notification,) = self.listed()["notifications"]
        self.assertEqual((notification["room_id"], notification["event"]["type"]), (room, "m.room.member"))

    def test_wrong_queries_are_refused(self) -> None:
        for query in ("?from=x", "?from=-1", "?from=99999999999999999999", "?limit=x", "?limit=0"):
            self.assert_refused(self.get(LIST + query, self.alice), 400, "M_INVALID_PARAM")

    def test_notifications_of_one_organisation_are_unknown_to_the_other(self) -> None:
        twin = self.given_user("alice", TWO)
        self.mention()
        self.assertEqual(self.ids(self.listed(user=twin)), [])


class PusherTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")

    def pusher(self, **changes: Any) -> dict[str, Any]:
        return {
            "pushkey": "key",
            "kind": "http",
            "app_id": "org.example.app",
            "app_display_name": "App",
            "device_display_name": "Phone",
            "lang": "en",
            "data": {"url": URL, "format": "event_id_only", "brand": {"x": 1}},
            **changes,
        }

    def set(self, user: TestUser | None = None, **changes: Any) -> tuple[int, Any]:
        return self.post(PUSHERS + "/set", self.pusher(**changes), user or self.alice)

    def pushers(self, user: TestUser | None = None) -> Any:
        return self.ok(self.get(PUSHERS, user or self.alice))["pushers"]

    def test_pusher_is_set_changed_and_deleted(self) -> None:
        self.assertEqual(self.pushers(), [])
        self.assertEqual(self.ok(self.set(profile_tag="tag")), {})
        self.assertEqual(self.pushers(), [self.pusher(profile_tag="tag")])
        self.ok(self.set(lang="de"))
        self.ok(self.set(pushkey="another"))
        self.assertEqual(
            [(each["pushkey"], each["lang"]) for each in self.pushers()], [("key", "de"), ("another", "en")]
        )
        self.restart()
        gone = {"kind": None, "app_id": "org.example.app", "pushkey": "key"}
        for _ in range(2):
            self.ok(self.post(PUSHERS + "/set", gone, self.alice))
        self.assertEqual([each["pushkey"] for each in self.pushers()], ["another"])

    def test_pusher_takes_the_place_of_other_users_unless_appended(self) -> None:
        bob = self.given_user("bob")
        self.ok(self.set())
        self.ok(self.set(bob, append=True))
        self.assertEqual((len(self.pushers()), len(self.pushers(bob))), (1, 1))
        self.ok(self.set(bob))
        self.assertEqual((len(self.pushers()), len(self.pushers(bob))), (0, 1))

    def test_pusher_ends_with_its_device(self) -> None:
        second = self.given_login(self.alice)
        self.ok(self.set(second))
        self.assertEqual(len(self.pushers()), 1)
        self.ok(self.post("/_matrix/client/v3/logout", {}, second))
        self.assertEqual(self.pushers(), [])

    def test_wrong_pushers_are_refused(self) -> None:
        for changes, errcode in (
            ({"pushkey": None}, "M_MISSING_PARAM"),
            ({"pushkey": ""}, "M_INVALID_PARAM"),
            ({"pushkey": "x" * 513}, "M_INVALID_PARAM"),
            ({"app_id": "x" * 65}, "M_INVALID_PARAM"),
            ({"app_id": 5}, "M_BAD_JSON"),
            ({"kind": "email"}, "M_INVALID_PARAM"),
            ({"kind": 5}, "M_BAD_JSON"),
            ({"lang": None}, "M_MISSING_PARAM"),
            ({"app_display_name": "x" * 1025}, "M_INVALID_PARAM"),
            ({"data": None}, "M_MISSING_PARAM"),
            ({"data": "x"}, "M_BAD_JSON"),
            ({"data": {}}, "M_MISSING_PARAM"),
            ({"data": {"url": 5}}, "M_BAD_JSON"),
            ({"data": {"url": "http://push.example/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
            ({"data": {"url": "https://push.example/other"}}, "M_INVALID_PARAM"),
            ({"data": {"url": URL + "?x"}}, "M_INVALID_PARAM"),
            ({"data": {"url": "https:///_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
            ({"data": {"url": "https://u:p@push.example/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
            ({"data": {"url": "https://[x/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
            ({"data": {"url": "https://push.example:x/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
            ({"data": {"url": URL, "format": 5}}, "M_BAD_JSON"),
            ({"append": "yes"}, "M_BAD_JSON"),
        ):
            with self.subTest(changes=changes):
                self.assert_refused(self.set(**changes), 400, errcode)
        self.assert_refused(self.set(data={"url": URL, "x": "y" * 9000}), 413, "M_TOO_LARGE")
        body = self.pusher()
        del body["kind"]
        self.assert_refused(self.post(PUSHERS + "/set", body, self.alice), 400, "M_MISSING_PARAM")
        self.assertEqual(self.pushers(), [])

    def test_pushers_of_one_organisation_are_unknown_to_the_other(self) -> None:
        twin = self.given_user("alice", TWO)
        self.ok(self.set())
        self.ok(self.set(twin))
        self.assertEqual((len(self.pushers()), len(self.pushers(twin))), (1, 1))
