"""Leases: never two sites with one duty at the same time, whatever happens; and one, while most voters are there."""

from itertools import combinations
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.federation.sites.duties.voters import TERM_S, World

STEP_S = 0.25
DRIFT = 0.1


class LeaseCase(SynchronousTestCase):
    epochs: list[int]

    def world(self, seed: int = 1, sites: int = 2, witnesses: int = 1, drift: float = DRIFT) -> World:
        directory = Path(self.mktemp())
        directory.mkdir()
        world = World(directory, seed, sites, witnesses, drift)
        self.addCleanup(world.close)
        self.epochs = []
        return world

    def run_for(self, world: World, duration_s: float) -> float:
        """Check at each moment that no two hold it; for how long somebody did."""
        held_s = 0.0
        for _ in range(round(duration_s / STEP_S)):
            world.clock.advance(STEP_S)
            holders = world.holders()
            self.assertLessEqual(len(holders), 1, f"at {world.clock.seconds()}")
            if holders:
                held_s += STEP_S
                hold = world.nodes[holders[0]].worker.hold
                assert hold is not None
                if not self.epochs or self.epochs[-1] != hold.epoch:
                    self.epochs.append(hold.epoch)
        self.assertEqual(self.epochs, sorted(set(self.epochs)), "an epoch came twice, or went back")
        return held_s

    def settled(self, world: World) -> str:
        self.run_for(world, 4 * TERM_S)
        (holder,) = world.holders()
        return holder


class LeaseTests(LeaseCase):
    def test_after_a_while_one_of_them_has_it_and_keeps_it(self) -> None:
        world = self.world()
        holder = self.settled(world)
        self.assertEqual(self.run_for(world, 100 * TERM_S), 100 * TERM_S)
        self.assertEqual(world.holders(), [holder])

    def test_another_one_takes_over_when_the_holder_dies(self) -> None:
        world = self.world()
        holder = self.settled(world)
        world.nodes[holder].crash()
        self.run_for(world, 3 * TERM_S)
        self.assertEqual(len(world.holders()), 1)
        self.assertNotEqual(world.holders(), [holder])

    def test_who_stops_in_peace_is_followed_at_once(self) -> None:
        world = self.world()
        holder = self.settled(world)
        world.nodes[holder].stop()
        self.run_for(world, TERM_S)
        self.assertEqual(len(world.holders()), 1)

    def test_the_smaller_part_of_a_partition_has_nothing(self) -> None:
        world = self.world()
        holder = self.settled(world)
        others = world.names - {holder}
        world.cut = {frozenset((holder, other)) for other in others}
        self.run_for(world, 3 * TERM_S)
        (successor,) = world.holders()
        self.assertIn(successor, others)
        world.cut = set()
        self.run_for(world, 3 * TERM_S)
        self.assertEqual(world.holders(), [successor])

    def test_nobody_has_it_without_most_voters(self) -> None:
        world = self.world()
        self.settled(world)
        world.cut = {frozenset(pair) for pair in combinations(world.names, 2)}
        self.run_for(world, TERM_S)
        self.assertEqual(self.run_for(world, 10 * TERM_S), 0)
        world.cut = set()
        self.settled(world)

    def test_a_voter_that_lost_its_disk_promises_nothing_for_a_term(self) -> None:
        world = self.world()
        holder = self.settled(world)
        witness = world.nodes["witness0"]
        witness.crash()
        witness.stored.database.write_now(lambda tx: tx.run("DELETE FROM duty_votes"))
        world.nodes[holder].crash()
        witness.start()
        # The dead one's promises were for a term at most.
        self.assertEqual(self.run_for(world, 0.8 * TERM_S), 0)
        self.run_for(world, 3 * TERM_S)
        self.assertEqual(len(world.holders()), 1)

    def test_a_site_built_anew_takes_over_although_it_asked_in_vain_a_hundred_times_before(self) -> None:
        world = self.world()
        holder = self.settled(world)
        (other,) = world.names - {holder, "witness0"}
        # Only the witness knows how high the numbers are for which it asked.
        world.cut = {frozenset((holder, other))}
        self.run_for(world, 40 * TERM_S)
        self.assertEqual(world.holders(), [holder])
        world.nodes[other].crash()
        world.nodes[other].stored.database.write_now(lambda tx: tx.run("DELETE FROM duty_votes"))
        world.cut = set()
        world.nodes[other].start()
        self.run_for(world, 2 * TERM_S)
        world.nodes[holder].crash()
        self.run_for(world, 3 * TERM_S)
        self.assertEqual(world.holders(), [other])

    def test_whatever_happens_two_never_have_it(self) -> None:
        for seed in range(8):
            sites, witnesses = ((2, 1), (3, 0), (3, 2), (4, 1))[seed % 4]
            world = self.world(seed, sites, witnesses)
            for _ in range(40):
                self.happen(world)
                self.run_for(world, world.chance.uniform(0, 2 * TERM_S))
            # When it is over, somebody has it.
            world.cut = set()
            world.slowness_s = 0.05
            for node in world.nodes.values():
                if not node.is_up:
                    node.start()
            self.assertGreater(self.run_for(world, 20 * TERM_S), 14 * TERM_S, f"seed {seed}")
            self.assertGreater(len(self.epochs), 1)

    def happen(self, world: World) -> None:
        chance = world.chance
        node = world.nodes[chance.choice(sorted(world.names))]
        match chance.randrange(6):
            case 0 | 1:
                pairs = [frozenset(pair) for pair in combinations(sorted(world.names), 2)]
                world.cut = set(chance.sample(pairs, chance.randrange(len(pairs))))
            case 2:
                world.cut = set()
            case 3:
                world.slowness_s = chance.choice((0.01, 0.5, 3.0, TERM_S))
            case 4 if node.is_up:
                node.crash()
            case 4 | 5:
                if node.is_up:
                    node.crash()
                node.start()
