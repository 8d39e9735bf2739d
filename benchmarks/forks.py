"""A room with a large state and many forks: CPU of taking its events in, of merging them, and of writing into it.

    python -m benchmarks.forks [--state 10000] [--forks 300] [--version 12] [--rooms 0]

The engine runs in this process, on SQLite, without a network. `--rooms` delivers so many generated rooms with forks to
two servers in different orders as well, and compares what they have (see tests/support/forked_rooms.py).
"""

import argparse
import random
import tempfile
import time
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nacl.signing import SigningKey
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from federation.room_dag.event import Event
from federation.room_dag.signing import EventSigner
from federation.rooms.accept_event import AcceptEvent, Verdict
from federation.rooms.draft import Draft
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms, RoomRepositories
from federation.rooms.outcomes import NoPushOutcomes
from federation.rooms.policy.ask_policy_server import NoPolicyServers
from federation.rooms.send_event import Author, SendEvent, Sent
from federation.rooms.take_room import TakeRoom
from storage.committer import Committer
from storage.database import Database
from storage.engines.sqlite import SqliteEngine
from storage.event_rows import EventsRepository
from storage.log import Log
from storage.memberships import MembershipsRepository
from storage.migrate import migrate
from storage.names import Names
from storage.rooms import RoomsRepository
from storage.snapshots import SnapshotsRepository
from tests.federation.room_dag.builders import ALICE, RoomBuilder, given_room
from tests.storage.storage_case import SilentObserver, synchronous
from tests.support.forked_rooms import ForkedRoom, make_forked_room

T = TypeVar("T")


class Engine:
    """The engine of the server `one.example`, everything on this thread."""

    def __init__(self, path: Path) -> None:
        engine = SqliteEngine(path, readers=1)
        self.database = Database(engine, synchronous, synchronous, Names(100_000))
        migrate(engine, self.database, lambda number: None)
        log = Log(1_000)
        committer = Committer(
            self.database, log, SilentObserver(), lambda: int(time.time() * 1_000), time.perf_counter
        )
        repositories = RoomRepositories(
            RoomsRepository(), EventsRepository(), SnapshotsRepository(), MembershipsRepository()
        )
        self.events = EventStore(self.database, repositories.events, log, 20_000)
        self.rooms = LiveRooms(self.database, repositories, self.events, log, 100)
        outcomes = NoPushOutcomes()
        self.accept_event = AcceptEvent(
            self.rooms, self.events, self.database, committer, outcomes, NoPolicyServers()
        )
        self.take_room = TakeRoom(self.rooms, self.events, committer)
        chance = random.Random(1)  # noqa: S311
        signer = EventSigner("one.example", "ed25519:test", SigningKey(b"1" * 32))
        author = Author(
            signer, lambda: int(time.time() * 1_000), lambda length: f"{chance.getrandbits(64):0{length}x}"
        )
        self.send_event = SendEvent(self.rooms, self.events, committer, outcomes, author)

    def accept(self, event: Event) -> Verdict:
        return run(self.accept_event.accept(event))

    def send(self, room_id: str, text: str) -> Sent:
        return run(self.send_event.send(Draft(room_id, "m.room.message", ALICE, None, {"body": text})))

    def heads(self, room_id: str) -> int:
        return len(run(self.rooms.get(room_id)).heads)


def run(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, which waits for nothing."""
    results: list[T] = []
    failures: list[Failure] = []
    Deferred.fromCoroutine(work).addCallbacks(results.append, failures.append)
    for failure in failures:
        failure.raiseException()
    return results[0]


def measure(what: str, work: Iterable[object]) -> None:
    """Do it all, and print the CPU of one step: on average, the first and the longest."""
    times = []
    begun_s = time.process_time()
    for _ in work:
        now_s = time.process_time()
        times.append(now_s - begun_s)
        begun_s = now_s
    each_ms = [1_000 * each for each in times]
    print(
        f"{what:55} {len(each_ms):6} times  {sum(each_ms) / len(each_ms):8.2f} ms each"
        f"  first {each_ms[0]:8.2f}  longest {max(each_ms):8.2f}",
        flush=True,
    )


def make_base(version: str, size: int) -> RoomBuilder:
    room = given_room(version)
    number = 0
    while len(room.state) < size:
        server = ("one", "two", "three", "four", "five")[number % 5]
        room.join(f"@member{number}:{server}.example")
        number += 1
    return room


def make_forks(room: RoomBuilder, forks: int) -> list[Event]:
    """Each is of another server's member, who changes something and says something, and sees none of the others."""
    base = room.events.get(room.heads[0])
    made = []
    for number in range(forks):
        user = f"@member{number}:{('one', 'two', 'three', 'four', 'five')[number % 5]}.example"
        content = {"membership": "join", "displayname": f"name {number}"}
        one = room.append("m.room.member", user, content, user, prev=[base])
        if number % 10 == 0:
            # Some are in conflict about what all can see.
            two = room.append("m.room.topic", ALICE, {"topic": str(number)}, "", prev=[one])
        else:
            two = room.append(
                "m.room.member",
                f"@new{number}:six.example",
                {"membership": "join"},
                f"@new{number}:six.example",
                prev=[one],
            )
        made += [one, two, room.say(user, prev=[two])]
    return made


def measure_room(version: str, size: int, forks: int) -> None:
    room = make_base(version, size)
    linear = list(room.events.by_id.values())
    made = make_forks(room, forks)
    room_id = str(room.room_id)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "forks.db"
        engine = Engine(path)
        run(engine.take_room.take(room.rules, room.create, {}, ()))
        measure(f"linear history, up to {size} entries of state", map(engine.accept, linear[1:]))
        tenth = len(made) // 10
        measure("events on forks, the first tenth", map(engine.accept, made[:tenth]))
        measure("events on forks, up to the last tenth", map(engine.accept, made[tenth:-tenth]))
        measure("events on forks, the last tenth", map(engine.accept, made[-tenth:]))
        print(f"heads: {engine.heads(room_id)}")
        engine = Engine(path)
        measure("after a restart: the room", (engine.heads(room_id) for _ in range(1)))
        sent = 0
        for number in range(forks):
            if engine.heads(room_id) == 1 and number > 2:
                break
            measure(
                f"message of this server over {engine.heads(room_id)} heads",
                (engine.send(room_id, "x") for _ in range(1)),
            )
            sent += 1
        print(f"one head after {sent} messages")


def compare_rooms(count: int) -> None:
    """Two servers, all rooms, different orders."""
    begun_s = time.process_time()
    events = 0
    rooms: Sequence[ForkedRoom] = [make_forked_room(seed) for seed in range(count)]
    print(f"{count} rooms generated in {time.process_time() - begun_s:.1f} s of CPU", flush=True)
    begun_s = time.process_time()
    for order in range(2):
        with tempfile.TemporaryDirectory() as directory:
            engine = Engine(Path(directory) / "rooms.db")
            for seed, room in enumerate(rooms):
                run(engine.take_room.take(room.builder.rules, room.create, {}, ()))
                for event in room.shuffled(random.Random(1_000 * seed + order)):  # noqa: S311
                    engine.accept(event)
                    events += 1
                state = run(engine.rooms.get(room.room_id)).state
                if dict(state.entries) != dict(room.state) or dict(state.memberships) != room.memberships:
                    raise SystemExit(f"seed {seed}: another state in order {order}")
    used_s = time.process_time() - begun_s
    print(f"{count} rooms, 2 orders, {events} events: the same states; {1_000 * used_s / events:.2f} ms each")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=int, default=10_000)
    parser.add_argument("--forks", type=int, default=300)
    parser.add_argument("--version", default="12")
    parser.add_argument("--rooms", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.forks:
        measure_room(arguments.version, arguments.state, arguments.forks)
    if arguments.rooms:
        compare_rooms(arguments.rooms)


if __name__ == "__main__":
    main()
