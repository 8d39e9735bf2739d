"""Server names of every form: what is in them is quoted in paths, signed, looked up and written into certificates.

The other scenarios have `localhost:PORT` and addresses of version 4 with a port; here it is one of version 6.
"""

from tests.integration.federation.key_material import Device
from tests.integration.federation.pairs import OursOnIpv6WithOurs, OursOnIpv6WithSynapse, Scenarios
from tests.integration.federation.peers import User, eventually, quote


class NameScenarios(Scenarios):
    def test_a_room_is_joined_by_alias_and_messages_go_both_ways(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            name = alice.user_id[1:].partition(":")[0]
            room_id = alice.create_room(preset="public_chat", room_alias_name=name)
            self.assertEqual(bob.join(f"#{name}:{near.server_name}"), room_id)
            self.settle(room_id, alice, bob)
            self.check_messages(alice, bob, room_id)

    def test_an_invite_is_accepted_in_every_room_version(self) -> None:
        for near, far in self.both_ways():
            for version in ("1", "6", "11", "12"):
                alice, bob = near.register("alice"), far.register("bob")
                room_id = alice.create_room(preset="private_chat", room_version=version, invite=[bob.user_id])
                self.wait_for_invite(bob, room_id)
                bob.join(room_id)
                self.settle(room_id, alice, bob)
                self.check_messages(alice, bob, room_id)

    def test_profiles_and_devices_are_asked_for(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            alice.put(f"/profile/{quote(alice.user_id)}/displayname", {"displayname": "Alice"})
            self.assertEqual(bob.get(f"/profile/{quote(alice.user_id)}")["displayname"], "Alice")
            device = Device(alice).upload()
            answer = bob.post("/keys/query", {"device_keys": {alice.user_id: []}})
            self.assertEqual(answer["device_keys"][alice.user_id].keys(), {device.device_id}, answer)

    def check_messages(self, alice: User, bob: User, room_id: str) -> None:
        alice.send_text(room_id, "question")
        self.wait_for_texts(bob, room_id, ["question"])
        bob.send_text(room_id, "answer")
        self.wait_for_texts(alice, room_id, ["question", "answer"])

    def wait_for_texts(self, user: User, room_id: str, texts: list[str]) -> None:
        eventually(lambda: user.texts(room_id) == texts, f"{user.user_id} reads {texts}")

    def wait_for_invite(self, user: User, room_id: str) -> None:
        eventually(lambda: room_id in user.rooms("invite"), f"{user.user_id} is invited")


class NamesWithSynapseTests(OursOnIpv6WithSynapse, NameScenarios):
    pass


class NamesBetweenOursTests(OursOnIpv6WithOurs, NameScenarios):
    pass
