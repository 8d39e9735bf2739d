"""One's own devices."""

from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import TWO

DEVICES = "/_matrix/client/v3/devices"
AUTH = {"type": "m.login.password", "user": "alice", "password": "password of alice"}


class DeviceTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")

    def test_devices_are_listed_with_where_they_were_seen(self) -> None:
        phone = self.given_login(self.alice, "PHONE")
        self.call("GET", DEVICES, None, phone, {"User-Agent": "Test/1"})
        self.clock.advance(15)
        answer = self.ok(self.get(DEVICES, self.alice))
        devices = {device["device_id"]: device for device in answer["devices"]}
        self.assertEqual(set(devices), {"PHONE", self.alice.device_id})
        self.assertEqual(devices["PHONE"]["last_seen_ts"], int(self.clock.seconds() - 15) * 1000)
        self.assertEqual(devices["PHONE"]["last_seen_ip"], "127.0.0.1")
        self.assertEqual(self.ok(self.get(f"{DEVICES}/PHONE", self.alice)), devices["PHONE"])

    def test_what_was_seen_outlives_a_restart(self) -> None:
        self.ok(self.get(DEVICES, self.alice))
        self.restart()
        answer = self.ok(self.get(f"{DEVICES}/{self.alice.device_id}", self.alice))
        self.assertIn("last_seen_ts", answer)

    def test_device_is_renamed(self) -> None:
        path = f"{DEVICES}/{self.alice.device_id}"
        self.assertEqual(self.ok(self.put(path, {"display_name": "\0 phone"}, self.alice)), {})
        self.assertEqual(self.ok(self.put(path, {}, self.alice)), {})
        self.assertEqual(self.ok(self.get(path, self.alice))["display_name"], "\0 phone")
        self.assert_refused(self.put(path, {"display_name": "x" * 101}, self.alice), 400, "M_INVALID_PARAM")
        self.assert_refused(self.put(path, {"display_name": 1}, self.alice), 400, "M_BAD_JSON")

    def test_deleted_device_is_logged_out(self) -> None:
        phone = self.given_login(self.alice, "PHONE")
        path = f"{DEVICES}/PHONE"
        self.assertEqual(self.delete(path, self.alice)[0], 401)
        self.assertEqual(self.delete(path, self.alice, {})[0], 401)
        self.ok(self.get(path, phone))
        self.assertEqual(self.ok(self.delete(path, self.alice, {"auth": AUTH})), {})
        self.assert_refused(self.get(DEVICES, phone), 401, "M_UNKNOWN_TOKEN")
        self.assert_refused(self.get(path, self.alice), 404, "M_NOT_FOUND")

    def test_several_are_deleted_at_once_and_unknown_ones_do_no_harm(self) -> None:
        for device_id in ("A", "B"):
            self.given_login(self.alice, device_id)
        body = {"devices": ["A", "B", "UNKNOWN"], "auth": AUTH}
        self.assertEqual(self.ok(self.post("/_matrix/client/v3/delete_devices", body, self.alice)), {})
        answer = self.ok(self.get(DEVICES, self.alice))
        self.assertEqual([device["device_id"] for device in answer["devices"]], [self.alice.device_id])

    def test_nonsense_is_refused(self) -> None:
        path = "/_matrix/client/v3/delete_devices"
        self.assert_refused(self.post(path, {}, self.alice), 400, "M_MISSING_PARAM")
        self.assert_refused(self.post(path, {"devices": [1]}, self.alice), 400, "M_BAD_JSON")
        self.assert_refused(self.post(path, {"devices": ["x"] * 501}, self.alice), 400, "M_INVALID_PARAM")
        self.assert_refused(self.get(f"{DEVICES}/a%00b", self.alice), 404, "M_NOT_FOUND")

    def test_devices_of_others_are_out_of_reach(self) -> None:
        bob = self.given_user("bob")
        elsewhere = self.given_user("alice", TWO)
        path = f"{DEVICES}/{self.alice.device_id}"
        for stranger in (bob, elsewhere):
            self.assert_refused(self.get(path, stranger), 404, "M_NOT_FOUND")
            self.assert_refused(self.put(path, {"display_name": "x"}, stranger), 404, "M_NOT_FOUND")
            self.assertEqual(len(self.ok(self.get(DEVICES, stranger))["devices"]), 1)
        auth = {"type": "m.login.password", "user": "bob", "password": "password of bob"}
        self.assert_refused(self.delete(path, bob, {"auth": auth}), 404, "M_NOT_FOUND")
        body = {"devices": [self.alice.device_id], "auth": auth}
        self.ok(self.post("/_matrix/client/v3/delete_devices", body, bob))
        self.ok(self.get(path, self.alice))
