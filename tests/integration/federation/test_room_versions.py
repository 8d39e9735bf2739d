"""Rooms in each room version that both servers have, made on either side."""

from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
)
from tests.integration.federation.peers import Peer, User, eventually, quote


class RoomVersionScenarios(Scenarios):
    def test_rooms_of_here_are_shared_in_each_version(self) -> None:
        self.check_versions(self.here, self.there)

    def test_rooms_of_there_are_shared_in_each_version(self) -> None:
        self.check_versions(self.there, self.here)

    def check_versions(self, near: Peer, far: Peer) -> None:
        alice, bob = near.register("alice"), far.register("bob")
        both = versions_of(alice) & versions_of(bob)
        self.assertLessEqual({str(number) for number in range(1, 13)}, both)
        for version in sorted(both, key=lambda name: (len(name), name)):
            try:
                self.check_version(alice, bob, version)
            except AssertionError as error:
                raise AssertionError(f"In room version {version}: {error}") from error

    def check_version(self, alice: User, bob: User, version: str) -> None:
        room_id = self.given_shared_room(alice, bob, room_version=version)
        self.assertEqual(bob.state_content(room_id, "m.room.create").get("room_version", "1"), version)
        since = bob.get("/sync", {"timeout": 0})["next_batch"]
        greeting = alice.send_text(room_id, "from the creator")
        self.assertIn(greeting, wait_for_sync(bob, room_id, since))
        since = alice.get("/sync", {"timeout": 0})["next_batch"]
        answer = bob.send_text(room_id, "from the guest")
        self.assertIn(answer, wait_for_sync(alice, room_id, since))
        # Power levels, redactions and memberships are what versions differ in.
        levels = alice.state_content(room_id, "m.room.power_levels")
        levels["users"][bob.user_id] = 50
        alice.send_state(room_id, "m.room.power_levels", levels)
        self.settle(room_id, alice, bob)
        bob.send_state(room_id, "m.room.topic", {"topic": f"rooms of version {version}"})
        bob.put(f"/rooms/{quote(room_id)}/redact/{quote(greeting)}/1", {"reason": "to see that it works"})
        alice.put(f"/rooms/{quote(room_id)}/redact/{quote(answer)}/2", {})
        eventually(lambda: alice.texts(room_id) == bob.texts(room_id) == [], "both messages are redacted")
        state = self.settle(room_id, alice, bob)
        self.assertIn(("m.room.topic", ""), state)


def versions_of(user: User) -> set[str]:
    return set(user.get("/capabilities")["capabilities"]["m.room_versions"]["available"])


def wait_for_sync(user: User, room_id: str, since: str) -> list[str]:
    """The IDs of the room's events in the syncs from then on, up to the first that has any."""

    def sync() -> list[str]:
        nonlocal since
        answer = user.get("/sync", {"timeout": 1000, "since": since})
        since = answer["next_batch"]
        room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
        return [event["event_id"] for event in room.get("timeline", {}).get("events", ())]

    return eventually(sync, f"something of {room_id} in the sync of {user.user_id}")


class RoomVersionsOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, RoomVersionScenarios):
    pass


class RoomVersionsOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, RoomVersionScenarios):
    pass


class RoomVersionsBetweenOursTests(TwoOfOurs, RoomVersionScenarios):
    pass
