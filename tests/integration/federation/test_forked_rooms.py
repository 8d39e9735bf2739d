"""Generated rooms with forks, given to a real Synapse and to ours event by event, in another order to each.

A user of each joins a room while it is young. Then servers of the test's own (`resident.py`) send both of them what
happened on all the branches, with gaps that have to be asked for. In the end both must have the state that
`federation/room_dag` computes for the whole graph, and neither may show what the rules reject.

POPCUBE_SYNAPSE_FORKED_ROOMS says how many rooms are made (one of each room version otherwise), POPCUBE_FIRST_FORKED_ROOM
with which seed the first. Rooms that end differently are written to `forked-rooms/` in trial's directory, as event IDs
are not the same in each run: the users' joins are in them.
"""

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import Event, decode_pdu
from federation.room_dag.room_versions import ROOM_VERSIONS
from tests.federation.room_dag.builders import RoomBuilder
from tests.integration.federation.pairs import ours_on_sqlite, synapse, test_authority
from tests.integration.federation.peers import User, eventually, quote
from tests.integration.federation.resident import Resident
from tests.support.forked_rooms import ForkedRoom, ForkedRoomOptions, make_forked_room

VERSIONS = sorted(ROOM_VERSIONS, key=int)
ROOMS = int(os.environ.get("POPCUBE_SYNAPSE_FORKED_ROOMS", str(len(VERSIONS))))
FIRST = int(os.environ.get("POPCUBE_FIRST_FORKED_ROOM", "0"))
HOSTS = ("127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6")
MOST_IN_A_TRANSACTION = 10
WITHHELD = 0.2
"""How many of the events nobody sends: who needs them asks for them."""
ARRIVAL_S = 60.0

State = dict[tuple[str, str], str]


@dataclass(frozen=True)
class Delivery:
    """What one of the servers is sent: transactions of one origin each, in this order."""

    transactions: Sequence[Sequence[Event]]


class ForkedRoomsOnSynapseTests(SynchronousTestCase):
    def test_all_servers_end_with_the_state_that_the_rules_give(self) -> None:
        users = (ours_on_sqlite().register("watching"), synapse().register("watching"))
        begun_s = time.monotonic()
        different, events = [], 0
        with Resident(HOSTS, test_authority()) as resident, ThreadPoolExecutor(len(users)) as threads:
            for seed in range(FIRST, FIRST + ROOMS):
                made = make_visited_room(seed, resident, users)
                checks = [threads.submit(check, resident, made, user, seed) for user in users]
                problems = [problem for each in checks for problem in each.result()]
                events += len(made.events)
                resident.forget(made.builder)
                if problems:
                    keep(made, seed, problems)
                    different.append(f"Seed {seed}, room version {made.version}: {'; '.join(problems)}")
            asked = dict(resident.asked)
        took_s = time.monotonic() - begun_s
        self.assertGreater(asked.get("get_missing_events", 0), 0)
        print(f"{ROOMS} rooms, {events} events, {took_s:.0f} s; asked for: {asked}")
        self.assertEqual(different, [])


def make_visited_room(seed: int, resident: Resident, users: Sequence[User]) -> ForkedRoom:
    """The room of a seed, with all of these users in it."""

    def visit(room: RoomBuilder) -> None:
        resident.hold(room)
        for user in users if seed % 2 else reversed(users):
            user.join(room.create.room_id, resident.names[0])

    version = VERSIONS[seed % len(VERSIONS)]
    return make_forked_room(seed, ForkedRoomOptions(version=version, servers=resident.names, visit=visit))


def check(resident: Resident, made: ForkedRoom, user: User, seed: int) -> list[str]:
    """Deliver a room to the server of a user; what differs there in the end."""
    chance = random.Random(f"{seed} {user.peer.name}")
    destination = user.peer.server_name
    problems = []
    for transaction in make_delivery(made, destination, chance).transactions:
        refused = resident.send(made.origin_of(transaction[0]), destination, transaction)
        problems += [
            f"{user.peer.name} refuses {event_id}: {error}"
            for event_id, error in refused.items()
            if event_id not in made.rejected
        ]
    room = f"/rooms/{quote(made.room_id)}"
    last = f"{room}/event/{quote(made.events[-1].event_id)}"
    try:
        eventually(lambda: user.call("GET", last).status == 200, "the last event", ARRIVAL_S)
    except AssertionError as error:
        return [*problems, f"{user.peer.name}: {error}"]
    state = user.state(made.room_id)
    problems += [
        f"{user.peer.name} has {state.get(pair)} for {pair}, not {made.state.get(pair)}"
        for pair in sorted(state.keys() | dict(made.state).keys())
        if state.get(pair) != made.state.get(pair)
    ]
    problems += [
        f"{user.peer.name} shows {event_id}, which is to be rejected"
        for event_id in sorted(made.rejected)
        if user.call("GET", f"{room}/event/{quote(event_id)}").status != 404
    ]
    return problems


def make_delivery(made: ForkedRoom, destination: str, chance: random.Random) -> Delivery:
    """Half of the rooms come in an order without gaps, half as each server happens to send what it made."""
    begun = made.events.index(max(_visits(made), key=lambda event: event.depth))
    base = {event.event_id for event in made.events[: begun + 1]}
    own = {event.event_id for event in made.events if made.origin_of(event) == destination}
    new = [event for event in made.shuffled(chance) if event.event_id not in base | own]
    visits = [event for event in _visits(made) if event.event_id not in own]
    return Delivery([])
