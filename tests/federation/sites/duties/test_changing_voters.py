"""Sites come and go while a duty is held: each hears of it from its own operator, sooner or later."""

from itertools import combinations
from pathlib import Path

import orjson
from twisted.internet.defer import Deferred

from federation.sites.duties.voter import MIN_VOTERS
from storage.database import WriteTransaction
from tests.federation.sites.duties.test_leases import DRIFT, LeaseCase
from tests.federation.sites.duties.voters import DUTY, TERM_S, World


class ChangingVotersTests(LeaseCase):
    def begin(self, *first: str, seed: int = 1, sites: int = 4, witnesses: int = 2) -> World:
        directory = Path(self.mktemp())
        directory.mkdir()
        world = World(directory, seed, sites, witnesses, DRIFT, first)
        self.addCleanup(world.close)
        self.epochs = []
        return world

    def join(self, world: World, name: str, wanted: frozenset[str]) -> None:
        """A new site begins as a copy of one that is there; a witness begins with nothing."""
        node = world.nodes[name]
        node.wanted = wanted
        if name.startswith("site"):
            source = next(each for each in sorted(world.started) if each.startswith("site"))
            rows = world.nodes[source].stored.database.read_now(
                lambda tx: tx.all("SELECT duty, voters, epoch, is_settled FROM duty_voters")
            )

            def copy(tx: WriteTransaction) -> None:
                for table in ("duty_voters", "duty_votes", "duty_decisions"):
                    tx.run(f"DELETE FROM {table}")
                tx.many("INSERT INTO duty_voters (duty, voters, epoch, is_settled) VALUES (?, ?, ?, ?)", rows)

            node.stored.database.write_now(copy)
        node.start()
        world.started.add(name)

    def reload(self, world: World, *names: str) -> frozenset[str]:
        """Everybody who is to be a site hears of it, and who is not stops."""
        wanted = frozenset(names)
        for name in sorted(world.present - wanted):
            world.nodes[name].stop()
        for name in sorted(wanted):
            if name in world.present:
                world.nodes[name].reload(wanted)
            else:
                self.join(world, name, wanted)
        world.present = wanted
        return wanted

    def holder(self, world: World) -> str:
        (holder,) = world.holders()
        return holder

    def test_two_that_decide_become_three_that_vote_and_two_again(self) -> None:
        world = self.begin("site0", "site1")
        self.run_for(world, 3 * TERM_S)
        self.assertEqual(self.holder(world), "site0")
        self.reload(world, "site0", "site1", "witness0")
        self.run_for(world, 4 * TERM_S)
        world.nodes[self.holder(world)].crash()
        self.run_for(world, 3 * TERM_S)
        self.assertEqual(len(world.holders()), 1, "they vote")
        for name in ("site0", "site1"):
            if not world.nodes[name].is_up:
                world.nodes[name].start()
        self.run_for(world, 2 * TERM_S)
        self.reload(world, "site0", "site1")
        self.run_for(world, 4 * TERM_S)
        self.assertEqual(self.holder(world), "site0")

    def test_a_site_that_is_told_alone_leaves_the_duty_with_those_who_had_it(self) -> None:
        world = self.begin("site0", "site1")
        self.run_for(world, 3 * TERM_S)
        three = frozenset(("site0", "site1", "witness0"))
        self.join(world, "witness0", three)
        world.nodes["site1"].reload(three)
        self.assertEqual(self.run_for(world, 10 * TERM_S), 10 * TERM_S)
        self.assertEqual(self.holder(world), "site0")

    def test_two_new_sites_and_one_that_was_told_are_no_majority_for_those_who_were_not(self) -> None:
        world = self.begin("site0", "site1", "witness0")
        self.run_for(world, 4 * TERM_S)
        five = world.present | {"site2", "site3"}
        self.join(world, "site2", five)
        self.join(world, "site3", five)
        world.nodes["witness0"].reload(five)
        # Three of five here, two of three there: without what was agreed before, both would have enough.
        others = ("site2", "site3", "witness0")
        world.cut = {frozenset((old, new)) for old in ("site0", "site1") for new in others}
        self.run_for(world, 10 * TERM_S)
        self.assertIn(self.holder(world), ("site0", "site1"))
        world.cut = set()
        self.reload(world, *five)
        self.run_for(world, 4 * TERM_S)
        self.assertEqual(len(world.holders()), 1)

    def test_a_list_with_sites_that_are_not_there_does_no_harm(self) -> None:
        world = self.begin("site0", "site1", "witness0")
        self.run_for(world, 4 * TERM_S)
        wrong = world.names
        for name in world.present:
            world.nodes[name].reload(frozenset(wrong))
        self.run_for(world, 3 * TERM_S)
        self.assertEqual(len(world.holders()), 1)
        self.reload(world, "site0", "site1", "witness0")
        self.run_for(world, 3 * TERM_S)
        self.assertEqual(len(world.holders()), 1)

    def test_most_are_lost_for_good_and_the_operator_decides(self) -> None:
        world = self.begin("site0", "site1", "site2", "witness0")
        self.run_for(world, 4 * TERM_S)
        for name in ("site0", "site1"):
            world.nodes[name].crash()
        self.run_for(world, 2 * TERM_S)
        left = self.reload(world, "site2", "witness0")
        self.assertEqual(self.run_for(world, 5 * TERM_S), 0)
        voter = world.nodes["site2"].voter
        epoch = self.successResultOf(Deferred.fromCoroutine(voter.get_epoch(DUTY))) + 1
        self.successResultOf(Deferred.fromCoroutine(voter.settle(DUTY, left, epoch)))
        self.run_for(world, 3 * TERM_S)
        self.assertEqual(self.holder(world), "site2")

    def test_whatever_happens_two_never_have_it(self) -> None:
        for seed in range(12):
            first = (("site0", "site1"), ("site0", "site1", "witness0"), ("site0", "site1", "site2"))[
                seed % 3
            ]
            world = self.begin(*first, seed=seed)
            for _ in range(40):
                self.happen(world)
                self.run_for(world, world.chance.uniform(0, 2 * TERM_S))
            # When it is over, everybody is told of everybody, and somebody has it.
            world.cut = set()
            world.slowness_s = 0.05
            world.present = frozenset(world.started)
            for name in sorted(world.started):
                world.nodes[name].reload(world.present)
                if not world.nodes[name].is_up:
                    world.nodes[name].start()
            self.run_for(world, 10 * TERM_S)
            self.assertGreater(self.run_for(world, 10 * TERM_S), 8 * TERM_S, f"seed {seed}")

    def happen(self, world: World) -> None:
        chance = world.chance
        match chance.randrange(8):
            case 0:
                pairs = [frozenset(pair) for pair in combinations(sorted(world.names), 2)]
                world.cut = set(chance.sample(pairs, chance.randrange(len(pairs))))
            case 1:
                world.cut = set()
            case 2:
                world.slowness_s = chance.choice((0.01, 0.5, 3.0))
            case 3:
                node = world.nodes[chance.choice(sorted(world.started))]
                if node.is_up:
                    node.crash()
                node.start()
            case 4 | 5:
                self.change_list(world)
            case 6 | 7:
                # One of them hears of it; those that were taken out go on with what they know.
                name = chance.choice(sorted(world.present))
                if name in world.started:
                    world.nodes[name].reload(world.present)
                else:
                    self.join(world, name, world.present)

    def change_list(self, world: World) -> None:
        """What the operator means to have. Two that are alone do not become two others: nobody votes on that."""
        names = sorted(world.names)
        while True:
            wanted = frozenset(world.chance.sample(names, world.chance.randrange(2, 6)))
            has_site = any(name.startswith("site") for name in wanted)
            if has_site and (len(wanted) >= MIN_VOTERS or self.is_voted_everywhere(world)):
                world.present = wanted
                return

    def is_voted_everywhere(self, world: World) -> bool:
        known = [world.nodes[name].stored.database for name in world.started]
        rows = [
            row
            for each in known
            for row in each.read_now(lambda tx: tx.all("SELECT voters FROM duty_voters"))
        ]
        return all(len(orjson.loads(voters)) >= MIN_VOTERS for (voters,) in rows)
