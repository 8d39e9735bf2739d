"""History of a room of the other side: as far back as the one who came later may see, each event once."""

from collections.abc import Sequence
from typing import Any

from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
)
from tests.integration.federation.peers import Peer, User, eventually, quote

BEFORE = [f"before {number}" for number in range(12)]
INVITED = ["while he is invited"]
AFTER = ["after he came"]
PAGE = 5


class HistoryScenarios(Scenarios):
    def test_shared_history_is_read_to_the_creation_of_the_room(self) -> None:
        for near, far in self.both_ways():
            self.check_history(near, far, "shared", BEFORE + INVITED + AFTER)

    def test_history_for_everybody_is_read_to_the_creation_of_the_room(self) -> None:
        for near, far in self.both_ways():
            self.check_history(near, far, "world_readable", BEFORE + INVITED + AFTER)

    def test_history_from_the_invitation_on_is_read_to_it(self) -> None:
        for near, far in self.both_ways():
            self.check_history(near, far, "invited", INVITED + AFTER)

    def test_history_from_the_join_on_is_read_to_it(self) -> None:
        for near, far in self.both_ways():
            self.check_history(near, far, "joined", AFTER)

    def test_history_that_was_opened_later_is_closed_before(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = given_room(alice, "joined")
            say(alice, room_id, ["hidden"])
            alice.send_state(room_id, "m.room.history_visibility", {"history_visibility": "shared"})
            say(alice, room_id, ["shown"])
            bob.join(room_id, near.server_name)
            self.settle(room_id, alice, bob)
            self.wait_for_history(bob, room_id, ["shown"])

    def test_who_was_away_reads_what_was_shared_meanwhile(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = given_room(alice, "shared")
            bob.join(room_id, near.server_name)
            say(alice, room_id, ["he is here"])
            self.settle(room_id, alice, bob)
            bob.leave(room_id)
            self.wait_until_gone(alice, room_id, bob)
            say(alice, room_id, ["he is not"])
            bob.join(room_id, near.server_name)
            self.settle(room_id, alice, bob)
            say(alice, room_id, ["he is back"])
            self.wait_for_history(bob, room_id, ["he is here", "he is not", "he is back"])

    def test_a_message_of_before_the_join_is_seen_among_its_neighbours(self) -> None:
        # Only here: Synapse leaves out the one before a message that it fetched later.
        alice, bob = self.there.register("alice"), self.here.register("bob")
        room_id = given_room(alice, "shared")
        ids = [alice.send_text(room_id, text) for text in BEFORE]
        bob.join(room_id, alice.peer.server_name)
        self.settle(room_id, alice, bob)
        self.wait_for_history(bob, room_id, BEFORE)
        context = bob.get(f"/rooms/{quote(room_id)}/context/{quote(ids[5])}", {"limit": 4})
        around = [*context["events_before"][::-1], context["event"], *context["events_after"]]
        self.assertEqual([event["event_id"] for event in around], ids[3:8])

    def check_history(self, near: Peer, far: Peer, visibility: str, expected: Sequence[str]) -> None:
        alice, bob = near.register("alice"), far.register("bob")
        room_id = given_room(alice, visibility)
        say(alice, room_id, BEFORE)
        alice.change_membership(room_id, "invite", bob).ok()
        self.wait_for_invite(bob, room_id)
        say(alice, room_id, INVITED)
        bob.join(room_id)
        self.settle(room_id, alice, bob)
        say(alice, room_id, AFTER)
        self.wait_for_history(bob, room_id, expected)
        everything = read_history(alice, room_id)
        seen = read_history(bob, room_id)
        self.assertEqual(bodies(everything), BEFORE + INVITED + AFTER)
        if visibility in ("shared", "world_readable"):
            self.assertEqual(seen[0]["type"], "m.room.create")
            self.assertEqual(
                {event["event_id"] for event in seen}, {event["event_id"] for event in everything}
            )

    def wait_for_history(self, user: User, room_id: str, expected: Sequence[str]) -> None:
        def same() -> bool:
            events = read_history(user, room_id)
            ids = [event["event_id"] for event in events]
            assert len(set(ids)) == len(ids), "events came twice"
            found = bodies(events)
            assert found == expected, found
            return True

        eventually(same, f"what {user.user_id} may see")

    def wait_for_invite(self, user: User, room_id: str) -> None:
        eventually(lambda: room_id in user.rooms("invite"), f"{user.user_id} is invited")

    def wait_until_gone(self, seen_by: User, room_id: str, user: User) -> None:
        eventually(lambda: seen_by.membership(room_id, user) == "leave", f"{user.user_id} left")


def given_room(user: User, visibility: str) -> str:
    state = {
        "type": "m.room.history_visibility",
        "state_key": "",
        "content": {"history_visibility": visibility},
    }
    return user.create_room(preset="public_chat", initial_state=[state])


def say(user: User, room_id: str, said: Sequence[str]) -> None:
    for text in said:
        user.send_text(room_id, text)


def read_history(user: User, room_id: str) -> list[Any]:
    """Everything by /messages, oldest first."""
    path = f"/rooms/{quote(room_id)}/messages"
    query: dict[str, Any] = {"dir": "b", "limit": PAGE}
    events: list[Any] = []
    while True:
        page = user.get(path, query)
        events.extend(page["chunk"])
        if "end" not in page:
            return events[::-1]
        query["from"] = page["end"]


def bodies(events: Sequence[Any]) -> Sequence[str]:
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


class HistoryOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, HistoryScenarios):
    pass


class HistoryOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, HistoryScenarios):
    pass


class HistoryBetweenOursTests(TwoOfOurs, HistoryScenarios):
    pass
