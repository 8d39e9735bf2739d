"""Who sends to other servers while sites come and go, and nobody is stopped."""

from dataclasses import replace

from tests.popcube_server.server_case import TWO
from tests.popcube_server.sites.changing_case import ChangingSitesCase
from tests.popcube_server.sites.sites_case import ANNA, BERTA, CARLA, DORA
from tests.popcube_server.sites.test_sending import TERM_S, SendingCase

WITNESSED = (ANNA, BERTA, CARLA)
ALONE = (ANNA, BERTA)


class ChangingDutiesTests(ChangingSitesCase, SendingCase):
    """Two sites that are alone at first: the operator decides."""

    hosts = (ANNA, BERTA, TWO)

    def test_with_a_witness_they_vote_and_without_it_they_do_not(self) -> None:
        self.assertEqual(self.senders(), [ANNA])
        self.tell_all(*WITNESSED)
        self.wait(3 * TERM_S)
        (sender,) = self.senders()
        other = {ANNA: BERTA, BERTA: ANNA}[sender]
        self.kill(sender)
        self.given_message(replace(self.alice, server_name=other), self.room_id, "after the loss")
        self.wait(3 * TERM_S)
        self.assertEqual(self.senders(), [other])
        self.revive(sender)
        self.wait(2 * TERM_S)
        self.tell_all(*ALONE)
        self.close(self.organisations[CARLA])
        self.wait(3 * TERM_S)
        self.assertEqual(self.senders(), [ANNA])
        self.given_message(self.there, self.room_id, "alone again")
        self.wait(5)
        self.assert_bob_reads("after the loss", "alone again")
        self.assertEqual(len({txn_id for txn_id, _ in self.sent}), len(self.sent))

    def test_two_do_not_send_while_only_one_was_told(self) -> None:
        for host in (BERTA, ANNA):
            self.told[CARLA] = WITNESSED
            if CARLA not in self.organisations:
                self.open(CARLA)
            self.tell(host, *WITNESSED)
            for _ in range(round(3 * TERM_S)):
                self.wait(1)
                self.assertLessEqual(len(self.senders()), 1)
        self.assertEqual(len(self.senders()), 1)
        for host in (BERTA, ANNA):
            self.tell(host, *ALONE)
            for _ in range(round(3 * TERM_S)):
                self.wait(1)
                self.assertLessEqual(len(self.senders()), 1)
        self.assertEqual(self.senders(), [ANNA])

    def test_the_same_file_again_moves_nothing_and_another_preference_does(self) -> None:
        self.wait(TERM_S)
        self.tell_all(*ALONE)
        self.assertEqual(self.senders(), [ANNA])
        self.assertIn('popcube_site_duty_epoch{duty="federation"} 1.0', self.metrics(ANNA))
        for host in ALONE:
            self.first[host] = "  duties_preferred: berta\n"
            self.assertTrue(self.reload(host).change.prefers_another)
        self.wait(2 * TERM_S)
        # What was decided counts more than what is preferred.
        self.assertEqual(self.senders(), [ANNA])

    def test_a_new_site_has_a_vote(self) -> None:
        self.tell_all(*WITNESSED)
        self.wait(3 * TERM_S)
        self.tell_all(*WITNESSED, DORA)
        self.wait(3 * TERM_S)
        # Three of four are needed, and are there with the new one only.
        self.kill(CARLA)
        self.wait(3 * TERM_S)
        senders = [host for host in (ANNA, BERTA, DORA) if self.is_sender(host)]
        self.assertEqual(len(senders), 1)

    def test_most_are_lost_for_good_and_the_operator_says_so(self) -> None:
        self.tell_all(ANNA, BERTA, DORA)
        self.wait(3 * TERM_S)
        self.kill(ANNA)
        self.kill(DORA)
        self.wait(2 * TERM_S)
        self.assertEqual(self.senders(), [])
        self.assertEqual(self.take_over(BERTA), 403)
        self.tell(BERTA, BERTA)
        self.wait(3 * TERM_S)
        self.assertEqual(self.senders(), [])
        self.assertEqual(self.take_over(BERTA), 200)
        self.wait(2 * TERM_S)
        self.assertEqual(self.senders(), [BERTA])
        self.given_message(self.there, self.room_id, "left alone")
        self.wait(5)
        self.assert_bob_reads("left alone")
