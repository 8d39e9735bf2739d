"""What happens in a room after everybody is in it: state, redactions, upgrades, server ACLs."""

from typing import Any

from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
)
from tests.integration.federation.peers import Peer, User, eventually, quote


class RoomScenarios(Scenarios):
    def test_names_topics_and_unknown_state_arrive(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_shared_room(alice, bob)
            alice.send_state(room_id, "m.room.name", {"name": "Ours \N{SNOWMAN}"})
            alice.send_state(room_id, "org.example.odd", {"a": [1, {"b": None}]}, "a/key with % signs")
            self.settle(room_id, alice, bob)
            self.assertEqual(bob.state_content(room_id, "m.room.name"), {"name": "Ours \N{SNOWMAN}"})
            odd = bob.state_content(room_id, "org.example.odd", "a/key with % signs")
            self.assertEqual(odd, {"a": [1, {"b": None}]})

    def test_power_is_given_and_used(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_shared_room(alice, bob)
            topic = f"/rooms/{quote(room_id)}/state/m.room.topic/"
            self.assertEqual(bob.call("PUT", topic, {"topic": "bob's"}).status, 403)
            self.give_power(alice, room_id, bob, 60)
            bob.put(topic, {"topic": "bob's"})
            self.settle(room_id, alice, bob)
            self.assertEqual(alice.state_content(room_id, "m.room.topic")["topic"], "bob's")
            levels = bob.state_content(room_id, "m.room.power_levels")
            levels["users"][bob.user_id] = 100
            path = f"/rooms/{quote(room_id)}/state/m.room.power_levels/"
            self.assertEqual(bob.call("PUT", path, levels).status, 403)

    def test_messages_are_redacted_from_either_side(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_shared_room(alice, bob)
            first, second = bob.send_text(room_id, "one"), bob.send_text(room_id, "two")
            self.wait_for_texts(alice, room_id, ["one", "two"])
            alice.put(f"/rooms/{quote(room_id)}/redact/{quote(first)}/1", {"reason": "no"})
            bob.put(f"/rooms/{quote(room_id)}/redact/{quote(second)}/2", {})
            for user in (alice, bob):
                self.wait_for_texts(user, room_id, [])
                path = f"/rooms/{quote(room_id)}/event/{quote(first)}"
                because = user.get(path)["unsigned"]["redacted_because"]
                self.assertEqual(because["sender"], alice.user_id)

    def test_a_server_that_is_denied_is_not_heard_until_it_is_allowed_again(self) -> None:
        for near, far in self.both_ways():
            self.check_denied(near, far)

    def check_denied(self, near: Peer, far: Peer) -> None:
        alice, bob = near.register("alice"), far.register("bob")
        room_id, other_room_id = self.given_shared_room(alice, bob), self.given_shared_room(alice, bob)
        acl = {"allow": ["*"], "deny": ["10.*"], "allow_ip_literals": True}
        alice.send_state(room_id, "m.room.server_acl", {**acl, "deny": [far.server_name.rpartition(":")[0]]})
        alice.send_text(other_room_id, "denied now")
        self.wait_for_texts(bob, other_room_id, ["denied now"])
        bob.send_text(room_id, "not heard")
        # They go the same way in this order.
        bob.send_text(other_room_id, "heard")
        self.wait_for_texts(alice, other_room_id, ["denied now", "heard"])
        self.assertEqual(alice.texts(room_id), [])
        stranger = far.register("stranger")
        path = f"/join/{quote(room_id)}"
        answer = stranger.call("POST", path, {}, {"server_name": near.server_name})
        # Its own server is in the room: it lets nobody in whose join others would not take, or it does.
        self.assertIn(answer.status, (200, 403), answer)
        alice.send_state(room_id, "m.room.server_acl", acl)
        alice.send_text(room_id, "speak")
        eventually(lambda: "speak" in bob.texts(room_id), "bob hears that he may speak")
        bob.send_text(room_id, "heard again")
        eventually(lambda: "heard again" in alice.texts(room_id), "he is heard")

    def test_an_upgraded_room_is_followed(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_shared_room(alice, bob, room_version="10", name="Old")
            body = {"new_version": "12"}
            new_room_id = alice.post(f"/rooms/{quote(room_id)}/upgrade", body)["replacement_room"]
            tombstone = self.wait_for_state(bob, room_id, "m.room.tombstone")
            self.assertEqual(tombstone["replacement_room"], new_room_id)
            bob.join(new_room_id, near.server_name)
            self.settle(new_room_id, alice, bob)
            self.assertEqual(bob.state_content(new_room_id, "m.room.name"), {"name": "Old"})
            predecessor = bob.state_content(new_room_id, "m.room.create")["predecessor"]
            self.assertEqual(predecessor["room_id"], room_id)
            bob.send_text(new_room_id, "moved")
            self.wait_for_texts(alice, new_room_id, ["moved"])

    def give_power(self, alice: User, room_id: str, bob: User, level: int) -> None:
        levels = alice.state_content(room_id, "m.room.power_levels")
        levels["users"][bob.user_id] = level
        alice.send_state(room_id, "m.room.power_levels", levels)
        self.settle(room_id, alice, bob)

    def wait_for_texts(self, user: User, room_id: str, texts: list[str]) -> None:
        eventually(lambda: user.texts(room_id) == texts, f"{user.user_id} reads {texts}")

    def wait_for_state(self, user: User, room_id: str, event_type: str) -> Any:
        return eventually(lambda: user.state_content(room_id, event_type), f"{event_type} at {user.user_id}")


class RoomsOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, RoomScenarios):
    pass


class RoomsOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, RoomScenarios):
    pass


class RoomsBetweenOursTests(TwoOfOurs, RoomScenarios):
    pass
