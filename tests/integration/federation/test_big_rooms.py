"""A room with many members and a long history, joined by the other side, which then pages back to its beginning.

The sizes are small ones, so that every run can do it. POPCUBE_FEDERATION_BIG_ROOM=1000,5000 makes it a room of 1,000
members and 5,000 events, and prints how long joining and reading took; to make such a room takes Synapse half an hour.
"""

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
    ours_on_postgres,
    ours_on_sqlite,
    synapse,
)
from tests.integration.federation.peers import Peer, User, eventually, quote

SIZES = os.environ.get("POPCUBE_FEDERATION_BIG_ROOM")
MEMBERS, EVENTS = (int(size) for size in (SIZES or "40,250").split(","))
THREADS = 8
JOIN_DEADLINE_S = 300.0
PAGE = 100


class BigRoomScenarios(Scenarios):
    def test_big_room_of_here_is_joined_and_read_to_its_beginning(self) -> None:
        self.check_big_room(self.here, self.there)

    def test_big_room_of_there_is_joined_and_read_to_its_beginning(self) -> None:
        self.check_big_room(self.there, self.here)

    def check_big_room(self, near: Peer, far: Peer) -> None:
        alice, bob = near.register("alice"), far.register("bob")
        room_id = alice.create_room(preset="public_chat")
        members = given_members(near, room_id, MEMBERS - 1)
        texts = given_texts([alice, *members], room_id, EVENTS - MEMBERS)
        started_s = time.monotonic()
        bob.join(room_id, near.server_name)
        report(f"{far.name} joins {MEMBERS} members and {EVENTS} events of {near.name}", started_s)
        joined = eventually(
            lambda: self.same_members(alice, bob, room_id), "the same members", JOIN_DEADLINE_S
        )
        self.assertEqual(len(joined), MEMBERS + 1)
        self.settle(room_id, alice, bob)
        started_s = time.monotonic()
        history = read_history(bob, room_id)
        report(f"{far.name} pages back to the beginning", started_s)
        self.assertEqual(history[0]["type"], "m.room.create")
        ids = [event["event_id"] for event in history]
        self.assertEqual(len(set(ids)), len(ids), "events came twice")
        found = [event["content"]["body"] for event in history if event["type"] == "m.room.message"]
        self.assertEqual(sorted(found), sorted(texts))
        self.assertEqual(set(ids), {event["event_id"] for event in read_history(alice, room_id)})

    def same_members(self, alice: User, bob: User, room_id: str) -> set[str]:
        path = f"/rooms/{quote(room_id)}/joined_members"
        mine, theirs = (set(user.get(path)["joined"]) for user in (alice, bob))
        assert mine == theirs, mine ^ theirs
        return mine


def given_members(peer: Peer, room_id: str, count: int) -> Sequence[User]:
    def join(number: int) -> User:
        user = peer.register(f"member{number}")
        user.join(room_id)
        return user

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(join, range(count)))


def given_texts(users: Sequence[User], room_id: str, count: int) -> Sequence[str]:
    """Said by several users at once; returns the texts."""
    senders = users[:THREADS]
    texts = [f"text {number}" for number in range(count)]

    def send(number: int) -> None:
        for text in texts[number :: len(senders)]:
            senders[number].send_text(room_id, text)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(send, range(len(senders))))
    return texts


def read_history(user: User, room_id: str) -> list[dict]:
    """Everything by /messages, oldest first."""
    path = f"/rooms/{quote(room_id)}/messages"
    query: dict[str, object] = {"dir": "b", "limit": PAGE}
    events = []
    while True:
        page = user.get(path, query)
        events.extend(page["chunk"])
        if "end" not in page:
            return events[::-1]
        query["from"] = page["end"]


def used_cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    # The name of the program stands in parentheses and may hold blanks.
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(what: str, started_s: float) -> None:
    if SIZES:
        print(f"{what}: {time.monotonic() - started_s:.2f} s", file=sys.stderr)


class SameRoomTests(Scenarios, SynchronousTestCase):
    """One room of ours on PostgreSQL, joined by Synapse and by one of ours: side by side, in the same run."""

    def test_synapse_and_ours_join_the_same_room(self) -> None:
        near = ours_on_postgres()
        alice = near.register("alice")
        room_id = alice.create_room(preset="public_chat")
        members = given_members(near, room_id, MEMBERS - 1)
        given_texts([alice, *members], room_id, EVENTS - MEMBERS)
        everybody = {alice.user_id, *(member.user_id for member in members)}
        for peer in (synapse(), ours_on_sqlite()):
            far: Peer = peer
            bob = far.register("bob")
            used_s, started_s = used_cpu_s(far.pid), time.monotonic()
            bob.join(room_id, near.server_name)
            report(f"{far.name} joins {MEMBERS} members and {EVENTS} events", started_s)
            path = f"/rooms/{quote(room_id)}/joined_members"
            everybody.add(bob.user_id)
            eventually(lambda: everybody <= set(bob.get(path)["joined"]), "all members", JOIN_DEADLINE_S)  # noqa: B023
            report(
                f"{far.name} knows all members, {used_cpu_s(far.pid) - used_s:.2f} s of processor time",
                started_s,
            )


class BigRoomsOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, BigRoomScenarios):
    pass


class BigRoomsOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, BigRoomScenarios):
    pass


class BigRoomsBetweenOursTests(TwoOfOurs, BigRoomScenarios):
    pass
