"""Messages to devices: each arrives once, in order, and is not lost while the other server is away."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.integration.federation.key_material import Device, another_session
from tests.integration.federation.listening import Listener, show_life
from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
)
from tests.integration.federation.peers import User, eventually

TYPE = "org.example.secret"
MANY = 150
"""More than one transaction may carry."""


class ToDeviceScenarios(Scenarios):
    def test_messages_arrive_in_order(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            listener, device = Listener(bob), Device(bob)
            sent = send_many(alice, device, 20)
            self.wait_for_bodies(listener, sent)
            self.assertEqual({message["sender"] for message in listener.messages}, {alice.user_id})
            self.assertEqual({message["type"] for message in listener.messages}, {TYPE})

    def test_every_device_is_reached_at_once(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            listeners = [Listener(bob), Listener(another_session(bob))]
            send(alice, {bob.user_id: {"*": {"body": "to all"}}}, "1")
            for listener in listeners:
                self.wait_for_bodies(listener, ["to all"])

    def test_a_message_for_one_device_does_not_go_to_another(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            second = another_session(bob)
            listener, other = Listener(bob), Listener(second)
            send(alice, {bob.user_id: {Device(bob).device_id: {"body": "first"}}}, "1")
            send(alice, {bob.user_id: {Device(second).device_id: {"body": "second"}}}, "2")
            self.wait_for_bodies(listener, ["first"])
            self.wait_for_bodies(other, ["second"])

    def test_a_request_that_is_repeated_is_delivered_once(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            listener = Listener(bob)
            for _ in range(2):
                send(alice, {bob.user_id: {"*": {"body": "once"}}}, "1")
            send(alice, {bob.user_id: {"*": {"body": "last"}}}, "2")
            self.wait_for_bodies(listener, ["once", "last"])

    def test_nothing_is_lost_while_they_do_not_reach_each_other(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            listener, device = Listener(bob), Device(bob)
            with self.partition():
                sent = send_many(alice, device, MANY)
            if near.waits_for_life:
                show_life(bob, alice)
            self.wait_for_bodies(listener, sent)

    def test_nothing_is_lost_when_both_go_down_in_turn(self) -> None:
        alice, bob = self.here.register("alice"), self.there.register("bob")
        listener, device = Listener(bob), Device(bob)
        self.there.kill9()
        try:
            sent = send_many(alice, device, 30)
            # What waits is on disk.
            self.here.kill9()
            self.here.start()
        finally:
            self.there.start()
        self.wait_for_bodies(listener, sent)

    def wait_for_bodies(self, listener: Listener, bodies: Sequence[str]) -> None:
        def arrived() -> bool:
            found = listener.hear().bodies()
            assert found == bodies, found
            return True

        eventually(arrived, "all messages in order")


def send(user: User, messages: Mapping[str, Mapping[str, Any]], transaction_id: str) -> None:
    user.put(f"/sendToDevice/{TYPE}/{transaction_id}", {"messages": messages})


def send_many(user: User, device: Device, count: int) -> Sequence[str]:
    bodies = [f"message {number}" for number in range(count)]
    for number, body in enumerate(bodies):
        send(user, {device.user_id: {device.device_id: {"body": body}}}, f"many-{number}")
    return bodies


class ToDeviceOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, ToDeviceScenarios):
    pass


class ToDeviceOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, ToDeviceScenarios):
    pass


class ToDeviceBetweenOursTests(TwoOfOurs, ToDeviceScenarios):
    pass
