"""Messages from device to device over HTTP."""

from typing import Any

import orjson

from popcube_server.services.to_device.send_to_device import MAX_RECIPIENTS
from storage.to_device import ToDeviceRepository
from storage.to_device_sorting import sort_leftover
from tests.popcube_server.rest.client.keys_case import V3, KeysTestCase
from tests.popcube_server.server_case import TWO, TestUser


class SendToDeviceTests(KeysTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob")

    def send(self, messages: Any, txn_id: str = "1", event_type: str = "m.new_device") -> None:
        path = f"{V3}/sendToDevice/{event_type}/{txn_id}"
        self.assertEqual(self.checked("PUT", path, {"messages": messages}, self.alice), {})

    def inbox(self, device: TestUser) -> list[Any]:
        database = self.organisations[device.server_name].core.database
        sort_leftover(database)
        rows = database.read_now(
            lambda tx: ToDeviceRepository().get_after(tx, device.user_id, device.device_id, 0, 2**40, 1000)
        )
        return [orjson.loads(event) for _, event in rows]

    def position(self) -> int:
        return self.organisations["one.example"].core.log.position

    def test_message_reaches_its_device(self) -> None:
        second = self.given_login(self.bob)
        self.send({self.bob.user_id: {self.bob.device_id: {"a": 1.5}}})
        event = {"type": "m.new_device", "sender": self.alice.user_id, "content": {"a": 1.5}}
        self.assertEqual(
            [self.inbox(self.bob), self.inbox(second), self.inbox(self.alice)], [[event], [], []]
        )

    def test_star_reaches_all_devices_but_not_those_named(self) -> None:
        second, third = self.given_login(self.bob), self.given_login(self.bob)
        self.send({self.bob.user_id: {"*": {"for": "all"}, third.device_id: {"for": "third"}}})
        contents = [
            [event["content"] for event in self.inbox(device)] for device in (self.bob, second, third)
        ]
        self.assertEqual(contents, [[{"for": "all"}], [{"for": "all"}], [{"for": "third"}]])

    def test_repeated_transaction_does_nothing(self) -> None:
        for content in ({"a": 1}, {"a": 2}):
            self.send({self.bob.user_id: {"*": content}}, "same")
        self.restart()
        self.send({self.bob.user_id: {"*": {"a": 3}}}, "same")
        self.assertEqual([event["content"] for event in self.inbox(self.bob)], [{"a": 1}])
        self.send({self.bob.user_id: {"*": {"a": 4}}}, "same", "m.other")
        self.send({self.bob.user_id: {"*": {"a": 5}}}, "other")
        self.assertEqual([event["content"]["a"] for event in self.inbox(self.bob)], [1, 4, 5])

    def test_unknown_devices_users_and_servers_are_passed_over(self) -> None:
        unknown: dict[str, Any] = {
            "@nobody:one.example": {"*": {}},
            "@carol:other.example": {"*": {}},
            "@\0:one.example": {"*": {}},
            "nobody": {"*": {}},
            "": {"*": {}},
            "@carol:not a server": {"*": {}},
        }
        path = f"{V3}/sendToDevice/m.new_device/1"
        body = {
            "messages": {
                **unknown,
                self.bob.user_id: {"UNKNOWN": {}, "A\0": {}, self.bob.device_id: {"a": 1}},
            }
        }
        self.assertEqual(self.ok(self.put(path, body, self.alice)), {})
        self.assertEqual(len(self.inbox(self.bob)), 1)

    def test_hundred_devices_are_one_entry_in_the_log(self) -> None:
        devices = [self.given_login(self.bob, f"DEVICE{number}") for number in range(100)]
        before = self.position()
        self.send({self.bob.user_id: {device.device_id: {"to": device.device_id} for device in devices}})
        # One entry for the messages, one for the transaction ID.
        self.assertLessEqual(self.position() - before, 2)
        self.assertEqual(self.inbox(devices[42])[0]["content"], {"to": "DEVICE42"})

    def test_messages_of_a_deleted_device_go(self) -> None:
        second = self.given_login(self.bob)
        self.send({self.bob.user_id: {"*": {"a": 1}}})
        self.ok(self.post(f"{V3}/logout", {}, second))
        self.assertEqual((len(self.inbox(self.bob)), self.inbox(second)), (1, []))

    def test_wrong_requests_are_refused_and_may_be_tried_again(self) -> None:
        path = f"{V3}/sendToDevice/m.new_device/1"
        big = {self.bob.user_id: {self.bob.device_id: {"x": "x" * 70_000}}}
        many: dict[str, Any] = {self.bob.user_id: {f"D{number}": {} for number in range(MAX_RECIPIENTS + 1)}}
        for body, status, errcode in (
            ({}, 400, "M_MISSING_PARAM"),
            ({"messages": []}, 400, "M_BAD_JSON"),
            ({"messages": {self.bob.user_id: []}}, 400, "M_BAD_JSON"),
            ({"messages": {self.bob.user_id: {"*": 5}}}, 400, "M_BAD_JSON"),
            ({"messages": big}, 413, "M_TOO_LARGE"),
            ({"messages": many}, 413, "M_TOO_LARGE"),
        ):
            self.assert_refused(self.put(path, body, self.alice), status, errcode)
        long_type = f"{V3}/sendToDevice/{'x' * 256}/1"
        self.assert_refused(self.put(long_type, {"messages": {}}, self.alice), 400, "M_INVALID_PARAM")
        self.assertEqual(self.inbox(self.bob), [])
        self.send({self.bob.user_id: {"*": {}}})
        self.assertEqual(len(self.inbox(self.bob)), 1)

    def test_other_organisation_gets_nothing(self) -> None:
        namesake = self.given_user("bob", TWO)
        self.send({namesake.user_id: {"*": {}}, self.bob.user_id: {"*": {}}})
        self.assertEqual((len(self.inbox(self.bob)), self.inbox(namesake)), (1, []))


class KeyRequestLimitTests(KeysTestCase):
    limits = "rc_key_requests: {per_second: 0.1, burst_count: 2}"

    def test_key_requests_are_limited_and_other_messages_are_not(self) -> None:
        alice = self.given_user("alice")
        body: Any = {"messages": {}}
        for number in range(2):
            self.ok(self.put(f"{V3}/sendToDevice/m.room_key_request/{number}", body, alice))
        path = f"{V3}/sendToDevice/m.room_key_request/3"
        self.assert_refused(self.put(path, body, alice), 429, "M_LIMIT_EXCEEDED")
        self.ok(self.put(f"{V3}/sendToDevice/m.room_key/4", body, alice))
        self.clock.advance(10)
        self.ok(self.put(path, body, alice))
