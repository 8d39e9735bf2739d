"""What a server is told that was away, or that does not take what it is sent."""

from typing import Any

import orjson
from twisted.trial.unittest import SynchronousTestCase

from federation.sending.destination_queue import State
from federation.sending.not_taken import MAX_REFUSED
from federation.sending.parked import AT_ONCE, PAUSE_S
from federation.sending.place import CURSOR
from federation.sending.sender import SAVE_AFTER_S
from federation.sending.work_slots import MAX_AT_ONCE
from federation.transport.errors import HttpRefusal
from federation.transport.https_client import MAX_REQUESTS
from storage.destinations_behind import FallBehind
from storage.device_keys import RemoveDeviceKeys, SetDeviceKeys
from storage.devices import AddDevice
from storage.followers import FollowersRepository
from storage.sender_epoch import TakeOver
from storage.to_device_remote import SendToRemoteDevices
from tests.federation.rooms.engine_case import ALICE, BOB
from tests.federation.sending.sender_case import SenderMixin, X, Y
from tests.storage.storage_case import PostgresStorage, SqliteStorage

FORBIDDEN = HttpRefusal(X, 403, {"errcode": "M_FORBIDDEN"})
HOUR_S = 3600


class RefusalTests(SenderMixin):
    def tries_in(self, duration_s: int) -> int:
        before = self.others.tries
        for _ in range(duration_s // 30):
            self.clock.advance(30)
        return self.others.tries - before

    def test_pauses_after_refusals_grow_and_outlast_a_restart(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.errors[X] = FORBIDDEN
        self.say(room_id, "refused")
        # After 1, 3, 7, 15, 31 and 63 minutes.
        self.assertEqual(self.tries_in(HOUR_S), 5)
        self.restart()
        self.assertEqual(self.tries_in(120), 0)
        self.assertEqual(self.tries_in(HOUR_S), 1)
        self.assertEqual(self.tries_in(HOUR_S), 1)
        del self.others.errors[X]
        self.pass_time(3 * HOUR_S)
        self.assertEqual(self.others.bodies(X), ["refused"])
        self.others.errors[X] = FORBIDDEN
        self.say(room_id, "refused again")
        del self.others.errors[X]
        self.pass_time(60)
        self.assertEqual(self.others.bodies(X)[-1], "refused again")

    def test_the_time_that_a_server_asks_for_is_waited(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.errors[X] = HttpRefusal(X, 429, {"retry_after_ms": 600_000})
        self.say(room_id, "too much")
        self.assertEqual(self.tries_in(599), 0)
        self.assertEqual(self.tries_in(60), 1)

    def given_poison(self, text: str, status: int) -> None:
        def judge(body: dict[str, Any]) -> HttpRefusal | None:
            is_bad = any(pdu["content"].get("body") == text for pdu in body["pdus"])
            return HttpRefusal(X, status, {"errcode": "M_UNKNOWN"}) if is_bad else None

        self.others.judges[X] = judge

    def test_event_that_is_never_taken_does_not_hold_up_the_others(self) -> None:
        rooms = [self.given_shared_room(X) for _ in range(5)]
        self.given_poison("2", 400)
        self.others.held[X] = []
        for number, room_id in enumerate(rooms):
            self.say(room_id, str(number))
        self.release(X)
        self.tries_in(HOUR_S)
        self.assertEqual(sorted(self.others.bodies(X)), ["0", "1", "3", "4"])
        self.assertEqual((len(self.deliveries), self.deliveries.state_of(X)), (0, State.IDLE))
        self.say(rooms[2], "after it")
        self.assertEqual(self.others.bodies(X)[-1], "after it")

    def test_event_that_breaks_a_server_comes_last_and_is_given_up_in_the_end(self) -> None:
        rooms = [self.given_shared_room(X) for _ in range(4)]
        self.given_poison("0", 500)
        self.others.held[X] = []
        for number, room_id in enumerate(rooms):
            self.say(room_id, str(number))
        self.release(X)
        self.tries_in(HOUR_S // 4)
        self.assertEqual(sorted(self.others.bodies(X)), ["1", "2", "3"])
        self.assertEqual(self.deliveries.state_of(X), State.BACKING_OFF)
        self.tries_in(2**MAX_REFUSED * 600)
        self.assertEqual(self.deliveries.state_of(X), State.IDLE)

    def test_message_to_a_device_that_is_never_taken_does_not_hold_up_the_others(self) -> None:
        def judge(body: dict[str, Any]) -> HttpRefusal | None:
            is_bad = any(edu["content"]["type"] == "1" for edu in body["edus"])
            return HttpRefusal(X, 400, {}) if is_bad else None

        self.others.judges[X] = judge
        contents = [{"sender": ALICE, "type": str(number), "messages": {}} for number in range(3)]
        messages = tuple((X, orjson.dumps(content)) for content in contents)
        self.result(self.committer.commit(SendToRemoteDevices(messages)))
        self.turn()
        self.tries_in(HOUR_S)
        told = [content["type"] for content in self.told(X, "m.direct_to_device")]
        self.assertEqual(told, ["0", "2"])

    def release(self, destination: str) -> None:
        for waiting in self.others.held.pop(destination):
            waiting.callback(None)
        self.turn()


class RecoveryTests(SenderMixin):
    def test_receipts_and_presence_are_told_as_they_are_when_a_server_is_back(self) -> None:
        room_id, unseen = self.given_shared_room(X), self.given_shared_room(Y)
        events = [self.say(room_id, str(number)) for number in range(3)]
        hidden = self.say(unseen, "hidden")
        self.read_receipt(room_id, BOB, events[0], 1)
        self.pass_time(1)
        self.given_down(X)
        self.say(room_id, "missed")
        for number in (1, 2):
            self.read_receipt(room_id, ALICE, events[number], number + 1)
        self.read_receipt(unseen, ALICE, hidden, 9)
        self.be_online(ALICE)
        self.be_online("@stranger:one.example")
        before = len(self.told(X, "m.receipt"))
        self.recover(X)
        (receipts,) = self.told(X, "m.receipt")[before:]
        self.assertEqual(
            receipts, {room_id: {"m.read": {ALICE: {"data": {"ts": 4_000}, "event_ids": [events[2]]}}}}
        )
        (presence,) = self.told(X, "m.presence")
        self.assertEqual([one["user_id"] for one in presence["push"]], [ALICE])

    def test_receipt_whose_transaction_failed_is_told_when_the_server_is_back(self) -> None:
        room_id = self.given_shared_room(X)
        event_id = self.say(room_id, "hello")
        self.others.errors[X] = FORBIDDEN
        self.read_receipt(room_id, ALICE, event_id, 1)
        del self.others.errors[X]
        self.pass_time(60)
        self.assertEqual([list(one) for one in self.told(X, "m.receipt")], [[room_id]])

    def test_what_a_dead_server_misses_of_a_room_is_written_down_once(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        self.say(room_id, "not taken")
        self.say(room_id, "not sent")
        written: list[object] = []
        commit = self.committer.commit

        def watch(*changes: Any, **options: Any) -> Any:
            written.extend(change for change in changes if isinstance(change, FallBehind))
            return commit(*changes, **options)

        self.committer.commit = watch  # type: ignore[assignment]
        for number in range(5):
            self.say(room_id, str(number))
        self.assertEqual(written, [])
        self.committer.commit = commit  # type: ignore[method-assign]
        self.recover(X)
        self.assertEqual(self.others.bodies(X), ["4"])

    def test_server_that_joins_again_while_it_is_away_gets_the_latest(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        self.say(room_id, "missed")
        self.set_state(room_id, ALICE, "m.room.member", f"@remote:{X}", {"membership": "leave"})
        self.turn()
        self.given_remote_member(room_id, f"@remote:{X}")
        self.turn()
        self.say(room_id, "latest")
        self.recover(X)
        self.assertEqual(self.others.bodies(X), ["latest"])

    def test_thousands_are_not_tried_at_once_after_a_start(self) -> None:
        names = [f"s{number}.example" for number in range(3 * AT_ONCE)]
        self.result(self.committer.commit(*(FallBehind(name, 1, ()) for name in names)))
        for name in names:
            self.others.held[name] = []
        self.restart()
        self.assertEqual(self.deliveries.parked_count, 2 * AT_ONCE)
        self.clock.advance(PAUSE_S)
        self.assertEqual(self.deliveries.parked_count, AT_ONCE)

    def test_stop_with_a_transaction_under_way_loses_nothing(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.held[X] = []
        for text in ("under way", "behind it"):
            self.say(room_id, text)
        self.result(self.sender.stop())
        self.others.held.clear()
        self.open()
        self.assertEqual(self.others.bodies(X), ["under way", "behind it"])

    def test_sender_that_was_replaced_while_sending_writes_nothing_down(self) -> None:
        message = {"sender": ALICE, "type": "m.test", "messages": {}}
        self.others.held[X] = []
        self.result(self.committer.commit(SendToRemoteDevices(((X, orjson.dumps(message)),))))
        self.turn()
        self.result(self.committer.commit(TakeOver()))
        (first,) = self.others.held.pop(X)
        first.callback(None)
        self.turn()
        rows = self.read(lambda tx: tx.all("SELECT destination FROM federation_to_device"))
        self.assertEqual([tuple(row) for row in rows], [(X,)])
        self.result(self.committer.commit(SendToRemoteDevices(((Y, orjson.dumps(message)),))))
        self.turn()
        self.assertEqual(self.others.edus(Y), [])

    def test_sender_that_was_replaced_leaves_the_place_to_the_other_one(self) -> None:
        room_id = self.given_shared_room(X)
        self.result(self.committer.commit(TakeOver()))
        before = self.read(lambda tx: FollowersRepository().find_position(tx, CURSOR))
        self.say(room_id, "sent by the wrong one")
        self.pass_time(SAVE_AFTER_S)
        self.result(self.sender.stop())
        self.assertEqual(self.read(lambda tx: FollowersRepository().find_position(tx, CURSOR)), before)
        self.open()

    def test_sender_that_was_replaced_tries_nobody_again(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        self.say(room_id, "missed")
        message = orjson.dumps({"sender": ALICE, "type": "m.test", "messages": {}})
        self.result(self.committer.commit(SendToRemoteDevices(((X, message),))))
        self.turn()
        self.result(self.committer.commit(TakeOver()))
        self.say(room_id, "written down")
        del self.others.errors[X]
        self.pass_time(HOUR_S)
        self.assertEqual(self.others.bodies(X), [])


class DeviceListTests(SenderMixin):
    def setUp(self) -> None:
        super().setUp()
        self.room_id = self.given_shared_room(X)

    def change(self, device_id: str) -> None:
        self.result(self.committer.commit(RemoveDeviceKeys(ALICE, (device_id,))))
        self.turn()

    def chain(self) -> list[tuple[str, list[int]]]:
        """Of each update the device, and which updates of before it refers to, counted from 0."""
        updates = self.told(X, "m.device_list_update")
        numbers = {update["stream_id"]: number for number, update in enumerate(updates)}
        return [(update["device_id"], [numbers[one] for one in update["prev_id"]]) for update in updates]

    def test_each_update_refers_to_the_one_before(self) -> None:
        for device_id in ("A", "B", "A"):
            self.change(device_id)
        self.assertEqual(self.chain(), [("A", []), ("B", [0]), ("A", [1])])

    def publish(self, user_id: str, device_id: str) -> None:
        self.result(self.committer.commit(AddDevice(user_id, device_id, None, 0)))
        self.turn()
        self.result(self.committer.commit(SetDeviceKeys(user_id, device_id, b"{}", is_noted=True)))

    def test_update_that_was_noted_with_the_keys_is_told_like_the_others(self) -> None:
        self.change("A")
        self.publish(ALICE, "B")
        self.turn()
        self.change("A")
        # That there is a device is told too.
        self.assertEqual(self.chain(), [("A", []), ("B", [0]), ("B", [1]), ("A", [2])])

    def test_nothing_is_written_of_a_noted_update_that_concerns_nobody(self) -> None:
        for user_id, is_written in (("@alone:one.example", False), (ALICE, True)):
            self.publish(user_id, "D")
            # Whether it is noted once more shows if it was taken away.
            self.database.write_now(lambda tx: tx.run("DELETE FROM device_list_updates"))
            self.turn()
            count = self.database.read_now(lambda tx: tx.value("SELECT COUNT(*) FROM device_list_updates"))
            self.assertEqual(bool(count), is_written)

    def test_update_that_was_never_told_is_not_referred_to(self) -> None:
        self.change("A")
        self.others.held[X] = []
        self.say(self.room_id, "held")
        for device_id in ("B", "C", "B"):
            self.change(device_id)
        (first,) = self.others.held.pop(X)
        first.callback(None)
        self.turn()
        self.change("D")
        self.assertEqual(self.chain(), [("A", []), ("C", [0]), ("B", [1]), ("D", [2])])

    def test_updates_of_an_outage_are_told_with_what_came_before_them(self) -> None:
        self.change("A")
        self.given_down(X)
        for device_id in ("B", "C"):
            self.change(device_id)
        self.recover(X)
        self.change("D")
        self.assertEqual(self.chain(), [("A", []), ("B", [0]), ("C", [1]), ("D", [2])])


class SlowServersTests(SynchronousTestCase):
    def test_servers_that_take_their_time_leave_room_for_other_requests(self) -> None:
        self.assertLessEqual(MAX_AT_ONCE, MAX_REQUESTS - 100)


class SqliteRefusalTests(SqliteStorage, RefusalTests, SynchronousTestCase): ...


class PostgresRefusalTests(PostgresStorage, RefusalTests, SynchronousTestCase): ...


class SqliteRecoveryTests(SqliteStorage, RecoveryTests, SynchronousTestCase): ...


class PostgresRecoveryTests(PostgresStorage, RecoveryTests, SynchronousTestCase): ...


class SqliteDeviceListTests(SqliteStorage, DeviceListTests, SynchronousTestCase): ...
