"""Devices and keys of users of the other side: what is new is told, and what is asked for is answered."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.integration.federation.key_material import ALGORITHM, CrossSigning, Device, another_session
from tests.integration.federation.listening import Listener, show_life
from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
)
from tests.integration.federation.peers import PASSWORD, Peer, User, eventually, quote

ENCRYPTION = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}


class DeviceScenarios(Scenarios):
    def test_every_change_of_devices_is_told(self) -> None:
        for near, far in self.both_ways():
            alice, bob, listener = self.given_encrypted(near, far)
            first = Device(alice)
            self.check_told(listener, alice, first.upload)
            self.wait_for_devices(bob, alice, first)
            second = Device(another_session(alice))
            self.check_told(listener, alice, second.upload)
            self.wait_for_devices(bob, alice, first, second)
            self.assertEqual(devices(bob, alice), {one.device_id: one.keys() for one in (first, second)})
            self.check_told(listener, alice, second.log_out)
            self.wait_for_devices(bob, alice, first)

    def test_a_deleted_device_is_gone(self) -> None:
        for near, far in self.both_ways():
            alice, bob, listener = self.given_encrypted(near, far)
            first = Device(alice).upload()
            second = Device(another_session(alice)).upload()
            self.wait_for_devices(bob, alice, first, second)
            listener.forget_changes()
            delete_device(alice, second.device_id)
            self.wait_for_change(listener, alice)
            self.wait_for_devices(bob, alice, first)

    def test_a_new_name_of_a_device_is_no_reason_to_lose_it(self) -> None:
        for near, far in self.both_ways():
            alice, bob, listener = self.given_encrypted(near, far)
            first = Device(alice).upload()
            self.wait_for_devices(bob, alice, first)
            listener.forget_changes()
            first.rename("Alice's telephone")
            second = Device(another_session(alice))
            self.check_told(listener, alice, second.upload)
            self.wait_for_devices(bob, alice, first, second)

    def test_devices_of_an_outage_are_known_afterwards(self) -> None:
        for near, far in self.both_ways():
            alice, bob, listener = self.given_encrypted(near, far)
            first = Device(alice).upload()
            gone = Device(another_session(alice)).upload()
            self.wait_for_devices(bob, alice, first, gone)
            listener.forget_changes()
            with self.partition():
                gone.log_out()
                added = [Device(another_session(alice)).upload() for _ in range(3)]
            if near.waits_for_life:
                show_life(bob, alice)
            self.wait_for_change(listener, alice)
            self.wait_for_devices(bob, alice, first, *added)

    def test_devices_of_the_time_before_the_first_shared_room_are_known(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            device = Device(alice).upload()
            listener = Listener(bob)
            room_id = alice.create_room(preset="public_chat", initial_state=[ENCRYPTION])
            bob.join(room_id, near.server_name)
            self.wait_for_change(listener, alice)
            self.wait_for_devices(bob, alice, device)
            listener.forget_changes()
            alice.leave(room_id)
            self.wait_until_left(listener, alice)

    def test_keys_of_strangers_are_asked_for(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            device = Device(alice).upload()
            self.assertEqual(devices(bob, alice), {device.device_id: device.keys()})
            # Nothing tells of the changes of a stranger: it must not be answered from memory.
            another = Device(another_session(alice)).upload()
            self.assertEqual(devices(bob, alice).keys(), {device.device_id, another.device_id})

    def test_a_server_that_is_away_is_named(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            body = {"device_keys": {alice.user_id: []}, "timeout": 2000}
            with self.partition():
                answer = bob.post("/keys/query", body)
            self.assertEqual(answer["failures"].keys(), {near.server_name})

    def test_one_time_keys_are_claimed_once_and_then_the_fallback_key(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            device = Device(alice).upload(one_time=3, fallback=True)
            names = [name for _ in range(5) for name in claim(bob, device)]
            self.assertEqual(len(set(names[:3])), 3, names)
            self.assertNotIn(f"{ALGORITHM}:fallback", names[:3])
            self.assertEqual(names[3:], [f"{ALGORITHM}:fallback"] * 2)
            listener = Listener(alice)
            self.assertEqual(listener.one_time_keys.get(ALGORITHM, 0), 0)
            self.assertEqual(listener.unused_fallback_keys, [])

    def test_a_device_without_keys_gives_none(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            self.assertEqual(claim(bob, Device(alice).upload()), {})

    def test_cross_signing_keys_are_told_and_read(self) -> None:
        for near, far in self.both_ways():
            alice, bob, listener = self.given_encrypted(near, far)
            device = Device(alice).upload()
            self.wait_for_devices(bob, alice, device)
            listener.forget_changes()
            keys = CrossSigning(alice).upload()
            self.wait_for_change(listener, alice)
            self.wait_for_master_key(bob, alice, keys)
            listener.forget_changes()
            signed = keys.sign(device)
            self.wait_for_change(listener, alice)
            self.wait_for_signatures(bob, device, signed)

    def test_cross_signing_keys_are_replaced(self) -> None:
        for near, far in self.both_ways():
            alice, bob, listener = self.given_encrypted(near, far)
            self.wait_for_master_key(bob, alice, CrossSigning(alice).upload())
            listener.forget_changes()
            with self.partition():
                keys = CrossSigning(alice).upload()
            if near.waits_for_life:
                show_life(bob, alice)
            self.wait_for_change(listener, alice)
            self.wait_for_master_key(bob, alice, keys)

    def test_user_signing_keys_are_for_their_user_alone(self) -> None:
        for near, far in self.both_ways():
            alice, bob, _ = self.given_encrypted(near, far)
            keys = CrossSigning(alice).upload()
            self.wait_for_master_key(bob, alice, keys)
            query: Mapping[str, Any] = {"device_keys": {alice.user_id: []}}
            self.assertNotIn(alice.user_id, bob.post("/keys/query", query).get("user_signing_keys", {}))
            self.assertIn(alice.user_id, alice.post("/keys/query", query)["user_signing_keys"])

    def given_encrypted(self, near: Peer, far: Peer) -> tuple[User, User, Listener]:
        """Alice and Bob in one encrypted room, with what Bob hears from now on."""
        alice, bob = near.register("alice"), far.register("bob")
        self.given_shared_room(alice, bob, initial_state=[ENCRYPTION])
        listener = Listener(bob)
        devices(bob, alice)
        listener.forget_changes()
        return alice, bob, listener

    def check_told(self, listener: Listener, user: User, change: Callable[[], object]) -> None:
        listener.forget_changes()
        change()
        self.wait_for_change(listener, user)

    def wait_for_change(self, listener: Listener, user: User) -> None:
        eventually(lambda: user.user_id in listener.hear().changed, f"new devices of {user.user_id}")

    def wait_until_left(self, listener: Listener, user: User) -> None:
        eventually(lambda: user.user_id in listener.hear().left, f"no room is shared with {user.user_id}")

    def wait_for_signatures(self, seen_by: User, device: Device, signed: Mapping[str, Any]) -> None:
        eventually(
            lambda: signatures(devices(seen_by, device.user)[device.device_id]) >= signatures(signed),
            "the device is seen signed",
        )

    def wait_for_devices(self, seen_by: User, user: User, *expected: Device) -> None:
        ids = {device.device_id for device in expected}
        eventually(lambda: devices(seen_by, user).keys() == ids, f"the devices of {user.user_id}: {ids}")

    def wait_for_master_key(self, seen_by: User, user: User, keys: CrossSigning) -> None:
        def same() -> bool:
            answer = seen_by.post("/keys/query", {"device_keys": {user.user_id: []}})
            for name in ("master_key", "self_signing_key"):
                found = answer[f"{name}s"].get(user.user_id, {})
                assert found.get("keys") == keys.public(name)["keys"], answer
            return True

        eventually(same, f"{seen_by.user_id} has the keys of {user.user_id}")


def devices(seen_by: User, user: User) -> Mapping[str, Any]:
    """The keys of each device that has some, without what is not signed."""
    answer = seen_by.post("/keys/query", {"device_keys": {user.user_id: []}})
    assert not answer.get("failures"), answer
    found = answer["device_keys"].get(user.user_id, {})
    return {
        device_id: {name: item for name, item in keys.items() if name != "unsigned"}
        for device_id, keys in found.items()
    }


def claim(user: User, device: Device) -> Mapping[str, Any]:
    body = {"one_time_keys": {device.user_id: {device.device_id: ALGORITHM}}}
    answer = user.post("/keys/claim", body)
    assert not answer.get("failures"), answer
    keys: Mapping[str, Any] = answer["one_time_keys"].get(device.user_id, {}).get(device.device_id, {})
    return keys


def signatures(keys: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {item for of_user in keys["signatures"].values() for item in of_user.items()}


def delete_device(user: User, device_id: str) -> None:
    path = f"/devices/{quote(device_id)}"
    session = user.call("DELETE", path, {}).ok(401)["session"]
    identifier = {"type": "m.id.user", "user": user.user_id}
    login = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD, "session": session}
    user.call("DELETE", path, {"auth": login}).ok()


class DevicesOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, DeviceScenarios):
    pass


class DevicesOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, DeviceScenarios):
    pass


class DevicesBetweenOursTests(TwoOfOurs, DeviceScenarios):
    pass
