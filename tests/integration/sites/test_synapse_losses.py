"""Sites that are killed, burn and are cut off from each other while a Synapse talks to them, and they to it."""

import time

from tests.integration.federation.pairs import fresh_database
from tests.integration.federation.peers import Peer, User, eventually
from tests.integration.federation.test_restarts import said
from tests.integration.sites.outside import TERM_S, at
from tests.integration.sites.outside_case import OutsideCase, Talking
from tests.integration.sites.watch import Transaction, sent_again

TAKES_OVER_WITHIN_S = 3 * TERM_S + 5.0
BEFORE = 10
AFTER = 10


class LossesTests(OutsideCase):
    """Alice writes at `anna`, Bea at `berta`, Sam on Synapse: all the time."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bea = self.given_user(self.anna, "alice"), self.given_user(self.berta, "bea")
        self.sam = self.given_user(self.synapse, "sam")
        self.room_id = self.given_room_of_all(self.alice, self.bea, self.sam)
        self.asked: list[str] = []
        self.addCleanup(self.everything_runs)

    def everything_runs(self) -> None:
        self.synapse.watch.answer_delay_s = 0.0
        self.sites.heal()

    def sender(self) -> Peer:
        """Who sends to Synapse now."""
        known = len(self.synapse.watch.transactions)
        self.asked.append(f"who sends? {len(self.asked)}")
        self.alice.send_text(self.room_id, self.asked[-1])
        eventually(lambda: len(self.synapse.watch.transactions) > known, "somebody sends")
        return self.all.peers[self.synapse.watch.transactions[-1].site]

    def test_the_other_site_goes_on_for_a_sender_that_is_killed(self) -> None:
        self.check_kill(self.sender())

    def test_a_sender_goes_on_when_the_other_site_is_killed(self) -> None:
        self.check_kill(self.other(self.sender()))

    def check_kill(self, lost: Peer) -> None:
        left = self.other(lost)
        was_sending = self.sender() is lost
        users = {self.anna: self.alice, self.berta: self.bea}
        # Synapse has it, and the site that is killed does not hear that.
        self.synapse.watch.answer_delay_s = 0.2
        self.front.prefer(lost.name)
        with (
            Talking(users[left], self.room_id, "left") as of_left,
            Talking(self.sam, self.room_id, "synapse") as of_sam,
        ):
            with Talking(users[lost], self.room_id, "lost") as of_lost:
                of_lost.wait_for(BEFORE)
                lost.kill9()
                killed_s = time.monotonic()
                try:
                    of_left.wait_for(AFTER)
                    of_sam.wait_for(AFTER)
                    moved = at(left, users[lost])
                    moved.send_text(self.room_id, "moved")
                    took_s = self.wait_for_transaction(left, killed_s)
                    # Both ways, while it is down.
                    both = ["moved", of_left.texts[-1], of_sam.texts[-1]]
                    self.wait_for_texts(self.sam, both)
                    self.wait_for_texts(users[left], both)
                finally:
                    lost.start()
                of_lost.wait_for(3)
            of_left.wait_for(3)
            of_sam.wait_for(3)
        self.synapse.watch.answer_delay_s = 0.0
        if was_sending:
            again = sent_again(self.transactions())
            print(f"taken over after {took_s:.1f} s; sent again: {len(again)} of {len(self.transactions())}")
            self.assertLess(took_s, TAKES_OVER_WITHIN_S)
        else:
            self.assertEqual(sent_again(self.transactions()), [])
        self.check_everything([*of_lost.texts, *of_left.texts, *of_sam.texts, "moved"])

    def test_a_site_that_burned_is_built_again_with_what_synapse_said_meanwhile(self) -> None:
        self.front.prefer("berta")
        with Talking(self.sam, self.room_id, "synapse") as talking:
            talking.wait_for(3)
            self.wait_for_texts(self.bea, talking.texts[:3])
            self.sites.lose("berta")
            talking.wait_for(5)
            self.all.rebuild("berta", "anna", fresh_database())
            talking.wait_for(5)
            at(self.berta, self.alice).send_text(self.room_id, "as good as new")
        self.check_everything([*talking.texts, "as good as new"])

    def wait_for_transaction(self, site: Peer, after_s: float) -> float:
        """How long it took from then on until the first one of a site began."""

        def find() -> Transaction | None:
            found = [
                each for each in self.transactions() if each.site == site.name and each.began_s > after_s
            ]
            return min(found, key=lambda each: each.began_s, default=None)

        return eventually(find, f"{site.name} sends").began_s - after_s

    def wait_for_texts(self, user: User, texts: list[str]) -> None:
        """Among others."""
        eventually(
            lambda: set(said(user, self.room_id)) >= set(texts), f"{texts} are read on {user.peer.name}"
        )

    def check_everything(self, texts: list[str]) -> None:
        """Each once at all three, and the same state."""
        everywhere = (self.alice, at(self.berta, self.alice), self.sam)
        self.check_texts(everywhere, self.room_id, [*texts, *self.asked])
        self.settle(self.room_id, *everywhere)
