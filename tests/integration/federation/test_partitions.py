"""Servers that cannot see each other go on, and agree afterwards."""

from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
)
from tests.integration.federation.peers import Peer, User, eventually, quote

VERSIONS = ("6", "10", "11", "12")


class PartitionScenarios(Scenarios):
    def test_messages_of_both_sides_arrive_after_a_cut(self) -> None:
        alice, bob = self.here.register("alice"), self.there.register("bob")
        room_id = self.given_shared_room(alice, bob)
        with self.partition():
            for number in range(5):
                alice.send_text(room_id, f"here {number}")
                bob.send_text(room_id, f"there {number}")
        expected = {f"{side} {number}" for side in ("here", "there") for number in range(5)}
        for user in (alice, bob):
            self.wait_for_texts(user, room_id, sorted(expected))
        self.settle(room_id, alice, bob)

    def test_conflicting_state_is_the_same_after_a_cut(self) -> None:
        for near, far in self.both_ways():
            for version in VERSIONS:
                self.check_conflict(near, far, version)

    def check_conflict(self, near: Peer, far: Peer, version: str) -> None:
        """A moderator goes on moderating after the creator has taken his power, which he cannot know."""
        alice, bob = near.register("alice"), far.register("bob")
        carol, dave = near.register("carol"), far.register("dave")
        room_id = self.given_shared_room(alice, bob, carol, dave, room_version=version)
        levels = alice.state_content(room_id, "m.room.power_levels")
        levels["users"] |= {bob.user_id: 50}
        alice.send_state(room_id, "m.room.power_levels", levels)
        self.settle(room_id, alice, bob)
        with self.partition():
            alice.send_state(room_id, "m.room.topic", {"topic": "before"})
            users = {**levels["users"], bob.user_id: 0, carol.user_id: 50}
            alice.send_state(room_id, "m.room.power_levels", {**levels, "users": users})
            carol.send_state(room_id, "m.room.name", {"name": "carol's"})
            alice.change_membership(room_id, "kick", dave).ok()
            bob.send_state(room_id, "m.room.topic", {"topic": "bob's"})
            bob.send_state(room_id, "m.room.name", {"name": "bob's"})
            bob.change_membership(room_id, "ban", carol).ok()
            dave.send_text(room_id, "am I here?")
            bob.send_text(room_id, "I am the law")
            alice.send_text(room_id, "no longer")
        for user in (alice, bob):
            user.send_text(room_id, "healed")
        self.settle(room_id, alice, bob)
        for user in (alice, bob):
            self.assertEqual(user.state_content(room_id, "m.room.power_levels")["users"][bob.user_id], 0)
            self.assertEqual(user.state_content(room_id, "m.room.topic"), {"topic": "before"})
            self.assertEqual(user.membership(room_id, carol), "join")

    def test_two_who_ban_each_other_agree_afterwards(self) -> None:
        for version in VERSIONS:
            alice, bob = self.here.register("alice"), self.there.register("bob")
            carol = self.here.register("carol")
            room_id = self.given_shared_room(alice, bob, carol, room_version=version)
            levels = alice.state_content(room_id, "m.room.power_levels")
            levels["users"] |= {bob.user_id: 50, carol.user_id: 60}
            levels |= {"ban": 50, "kick": 50}
            alice.send_state(room_id, "m.room.power_levels", levels)
            self.settle(room_id, alice, bob)
            with self.partition():
                carol.change_membership(room_id, "ban", bob).ok()
                bob.send_state(room_id, "m.room.name", {"name": "still mine"})
                bob.send_text(room_id, "still here")
            alice.send_text(room_id, "healed")
            self.wait_for_ban(alice, room_id, bob)
            self.assertIsNone(alice.state_content(room_id, "m.room.name"))

    def test_a_server_that_was_killed_catches_up(self) -> None:
        alice, bob = self.here.register("alice"), self.there.register("bob")
        room_id = self.given_shared_room(alice, bob)
        alice.send_text(room_id, "before")
        self.here.kill9()
        try:
            for number in range(30):
                bob.send_text(room_id, f"meanwhile {number}")
            bob.send_state(room_id, "m.room.member", {"membership": "join", "displayname": "B"}, bob.user_id)
        finally:
            self.here.start()
        eventually(lambda: "meanwhile 29" in alice.texts(room_id), "the last of what was missed")
        bob.send_text(room_id, "after")
        eventually(lambda: "after" in alice.texts(room_id), "what comes after")
        expected = ["before", *(f"meanwhile {number}" for number in range(30)), "after"]
        eventually(lambda: alice.texts(room_id) == expected, "everything in order")
        self.settle(room_id, alice, bob)

    def test_after_a_long_cut_many_events_are_fetched(self) -> None:
        alice, bob = self.here.register("alice"), self.there.register("bob")
        room_id = self.given_shared_room(alice, bob)
        with self.partition():
            for number in range(60):
                bob.send_text(room_id, f"there {number}")
            alice.send_text(room_id, "here")
        bob.send_text(room_id, "healed")
        eventually(lambda: "healed" in alice.texts(room_id), "the newest")
        # What lies between is fetched, or paged back to.
        eventually(lambda: len(alice.texts(room_id)) == 62, "all of it")
        path = f"/rooms/{quote(room_id)}/joined_members"
        self.assertEqual(alice.get(path)["joined"].keys(), bob.get(path)["joined"].keys())

    def wait_for_texts(self, user: User, room_id: str, texts: list[str]) -> None:
        """In any order, each once."""
        eventually(lambda: sorted(user.texts(room_id)) == texts, f"all texts at {user.user_id}")

    def wait_for_ban(self, moderator: User, room_id: str, user: User) -> None:
        eventually(lambda: room_id in user.rooms("leave"), "who is banned knows it")
        eventually(lambda: moderator.membership(room_id, user) == "ban", "he stays banned")


class PartitionsOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, PartitionScenarios):
    pass


class PartitionsOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, PartitionScenarios):
    pass


class PartitionsBetweenOursTests(TwoOfOurs, PartitionScenarios):
    pass
