"""Three servers that cannot see each other do what comes to their users' minds; then all of them must agree.

One of them is Synapse, so its state resolution is compared with ours, event for event. A failure names the seed.
"""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.federation.pairs import (
    Scenarios,
    ours_on_postgres,
    ours_on_sqlite,
    shown_log,
    synapse,
)
from tests.integration.federation.peers import Peer, User, eventually, quote

SEEDS = range(int(os.environ.get("POPCUBE_FEDERATION_FORK_SEEDS", "1")))
VERSIONS = ("3", "6", "8", "10", "11", "12")
ROUNDS = 2
ACTIONS_OF_EACH_SERVER = 6
ACTORS_OF_EACH_SERVER = 2
LEVELS = (0, 0, 25, 50, 50, 75, 100)
JOIN_RULES = ("public", "public", "invite", "knock")


@dataclass(frozen=True)
class Cast:
    """Who is in the room, by server. The witnesses, one of each server, do nothing but look and say what they saw.

    Without them servers might rightly differ: what one of them soft failed, because the sender was put out meanwhile,
    counts for the others until somebody who is heard everywhere speaks after it.
    """

    creator: User
    actors: tuple[tuple[User, ...], ...]
    witnesses: tuple[User, ...]

    @property
    def all_actors(self) -> list[User]:
        return [user for users in self.actors for user in users]


class ForkTests(Scenarios, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.peers: list[Peer] = [ours_on_postgres(), ours_on_sqlite(), synapse()]

    def test_three_servers_agree_after_random_forks(self) -> None:
        for seed in SEEDS:
            for version in VERSIONS:
                chance = random.Random(f"{seed} {version}")
                try:
                    self.check_forks(chance, version)
                except AssertionError as error:
                    logs = "".join(shown_log(peer) for peer in self.peers)
                    raise AssertionError(f"Seed {seed}, room version {version}: {error}{logs}") from error

    def check_forks(self, chance: random.Random, version: str) -> None:
        cast = self.given_cast(chance)
        room_id = self.given_shared_room(cast.creator, *cast.witnesses, room_version=version)
        for user in cast.all_actors:
            if user is not cast.creator:
                user.join(room_id, cast.creator.peer.server_name)
        levels = cast.creator.state_content(room_id, "m.room.power_levels")
        for user in cast.all_actors:
            if user is not cast.creator:
                levels["users"][user.user_id] = chance.choice(LEVELS)
        cast.creator.send_state(room_id, "m.room.power_levels", levels)
        self.agree(room_id, cast)
        for _ in range(ROUNDS):
            with self.all_apart():
                for users in cast.actors:
                    for _ in range(ACTIONS_OF_EACH_SERVER):
                        act(chance, room_id, users, cast.all_actors)
            self.agree(room_id, cast)

    def given_cast(self, chance: random.Random) -> Cast:
        actors = tuple(
            tuple(peer.register(f"actor{number}") for number in range(ACTORS_OF_EACH_SERVER))
            for peer in self.peers
        )
        witnesses = tuple(peer.register("witness") for peer in self.peers)
        return Cast(chance.choice(actors)[0], actors, witnesses)

    def agree(self, room_id: str, cast: Cast) -> None:
        """All witnesses hear each other, and then see the same state."""
        sent = {witness.send_text(room_id, witness.user_id) for witness in cast.witnesses}
        for witness in cast.witnesses:
            self.wait_for_events(witness, room_id, sent)
        self.settle(room_id, *cast.witnesses)

    def wait_for_events(self, user: User, room_id: str, event_ids: set[str]) -> None:
        def found() -> bool:
            missing = event_ids - {event["event_id"] for event in user.timeline(room_id)}
            assert not missing, missing
            return True

        eventually(found, f"what the others said, at {user.user_id}")

    @contextmanager
    def all_apart(self) -> Iterator[None]:
        with ExitStack() as stack:
            for peer in self.peers:
                peer.cut()
                stack.callback(peer.heal)
            yield


def act(chance: random.Random, room_id: str, users: tuple[User, ...], others: list[User]) -> None:
    """One thing that one of the users tries; it may well be forbidden."""
    user, other = chance.choice(users), chance.choice(others)
    kind = chance.choice(
        ("levels", "levels", "ban", "kick", "unban", "topic", "name", "rules", "leave", "join")
    )
    room = f"/rooms/{quote(room_id)}"
    match kind:
        case "levels":
            content = user.state_content(room_id, "m.room.power_levels")
            if content is not None:
                levels = {**content.get("users", {}), other.user_id: chance.choice(LEVELS)}
                user.call("PUT", f"{room}/state/m.room.power_levels/", {**content, "users": levels})
        case "ban" | "kick" | "unban":
            user.call("POST", f"{room}/{kind}", {"user_id": other.user_id})
        case "topic" | "name":
            user.call("PUT", f"{room}/state/m.room.{kind}/", {kind: f"{chance.random()}"})
        case "rules":
            rule = {"join_rule": chance.choice(JOIN_RULES)}
            user.call("PUT", f"{room}/state/m.room.join_rules/", rule)
        case "leave" if user is not users[0]:
            user.call("POST", f"{room}/leave", {})
        case "join":
            user.call("POST", f"{room}/join", {})
