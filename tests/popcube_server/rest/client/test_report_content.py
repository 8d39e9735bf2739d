"""Reports reach the database, and tell the reporter nothing that they may not know."""

from storage.reports import ReportKind, ReportRow, ReportsRepository
from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import ONE, TWO

CLIENT = "/_matrix/client/v3"


class ReportsTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob")
        self.room = self.given_room(self.alice)
        self.event = self.given_message(self.alice, self.room)

    def reports(self, server_name: str = ONE) -> list[ReportRow]:
        database = self.organisations[server_name].core.database
        return database.read_now(lambda tx: ReportsRepository().get_before(tx, 2**62, 100))

    def test_event_is_reported_by_who_is_in_the_room(self) -> None:
        path = f"{CLIENT}/rooms/{self.room}/report/{self.event}"
        self.assert_refused(self.post(path, {"reason": "rude"}, self.bob), 404, "M_NOT_FOUND")
        self.assertEqual(self.reports(), [])
        self.given_joined(self.bob, self.room)
        self.assertEqual(self.ok(self.post(path, {"reason": "rude\0", "score": -100}, self.bob)), {})
        (report,) = self.reports()
        self.assertEqual(report.about, ReportKind.EVENT)
        self.assertEqual((report.reporter, report.user_id), (self.bob.user_id, self.alice.user_id))
        self.assertEqual((report.room_id, report.event_id), (self.room, self.event))
        self.assertEqual((report.reason, report.score), ("rude\0", -100))
        self.assertEqual(self.reports(TWO), [])

    def test_unknown_and_hidden_events_have_the_answer_of_a_room_where_one_is_not(self) -> None:
        path = f"{CLIENT}/rooms/{self.room}/report"
        stranger = self.post(f"{path}/{self.event}", {}, self.bob)
        body = {"history_visibility": "joined"}
        self.ok(self.put(f"{CLIENT}/rooms/{self.room}/state/m.room.history_visibility/", body, self.alice))
        hidden = self.given_message(self.alice, self.room)
        self.given_joined(self.bob, self.room)
        for event_id in ("$unknown", hidden):
            self.assertEqual(self.post(f"{path}/{event_id}", {}, self.bob), stranger)
        other = self.given_room(self.bob)
        self.assertEqual(self.post(f"{CLIENT}/rooms/{other}/report/{self.event}", {}, self.bob), stranger)
        self.assertEqual(self.reports(), [])

    def test_rooms_and_users_are_reported_without_being_met(self) -> None:
        self.ok(self.post(f"{CLIENT}/rooms/{self.room}/report", {"reason": ""}, self.bob))
        self.ok(self.post(f"{CLIENT}/users/{self.alice.user_id}/report", {"reason": "spam"}, self.bob))
        user, room = self.reports()
        self.assertEqual((room.about, room.room_id, room.reason), (ReportKind.ROOM, self.room, ""))
        self.assertEqual((user.about, user.user_id), (ReportKind.USER, self.alice.user_id))

    def test_unknown_rooms_and_users_get_the_same_answer_and_are_not_kept(self) -> None:
        for path in ("rooms/!none:one.example", "users/@none:one.example", "users/@none:else.example"):
            self.assertEqual(self.ok(self.post(f"{CLIENT}/{path}/report", {"reason": "x"}, self.bob)), {})
        self.assertEqual(self.reports(), [])
        answer = self.post(f"{CLIENT}/users/nobody/report", {"reason": "x"}, self.bob)
        self.assert_refused(answer, 400, "M_INVALID_PARAM")

    def test_reason_must_be_a_string_of_bounded_size(self) -> None:
        path = f"{CLIENT}/rooms/{self.room}/report"
        self.assert_refused(self.post(path, {"reason": 7}, self.bob), 400, "M_BAD_JSON")
        self.assert_refused(self.post(path, {"reason": "x" * 9000}, self.bob), 413, "M_TOO_LARGE")
        self.assertEqual(self.reports(), [])

    def test_reports_are_limited(self) -> None:
        path = f"{CLIENT}/rooms/{self.room}/report"
        for _ in range(5):
            self.ok(self.post(path, {"reason": "x"}, self.bob))
        self.assert_refused(self.post(path, {"reason": "x"}, self.bob), 429, "M_LIMIT_EXCEEDED")
