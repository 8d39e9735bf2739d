"""Lag is the age of what a peer does not have, whatever is written and confirmed meanwhile."""

from twisted.trial.unittest import SynchronousTestCase

from federation.sites.lag import MAX_MARKS, SPACING_MS, Lag


class LagTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.lag = Lag()

    def test_a_peer_that_has_everything_has_none(self) -> None:
        self.assertEqual(self.lag.get_ms(5_000), 0)
        self.lag.wrote(1, 1_000)
        self.lag.confirmed(1, 1)
        self.assertEqual(self.lag.get_ms(5_000), 0)

    def test_it_is_the_age_of_the_oldest_entry_that_is_missing(self) -> None:
        for position, now_ms in ((1, 1_000), (2, 2_000), (3, 3_000)):
            self.lag.wrote(position, now_ms)
        for confirmed, lag_ms in ((0, 4_000), (1, 3_000), (2, 2_000)):
            self.lag.confirmed(confirmed, 3)
            self.assertEqual(self.lag.get_ms(5_000), lag_ms)

    def test_of_what_was_there_before_only_the_time_since_then_is_known(self) -> None:
        self.lag.found(0, 2_000)
        self.lag.wrote(9, 3_000)
        self.lag.found(0, 4_000)
        self.assertEqual(self.lag.get_ms(5_000), 3_000)

    def test_what_is_written_close_together_counts_from_the_first(self) -> None:
        self.lag.wrote(1, 1_000)
        self.lag.wrote(2, 1_000 + SPACING_MS - 1)
        self.lag.confirmed(1, 2)
        self.assertEqual(self.lag.get_ms(5_000), 4_000)

    def test_a_long_cut_costs_no_more_memory_and_is_not_understated(self) -> None:
        last = 20 * MAX_MARKS
        for position in range(1, last + 1):
            self.lag.wrote(position, 1_000 * position)
        self.assertLessEqual(len(self.lag._marks), MAX_MARKS)
        self.assertEqual(self.lag.get_ms(1_000 * last), 1_000 * (last - 1))
        self.lag.confirmed(last // 2, last)
        age_ms = 1_000 * (last - last // 2 - 1)
        self.assertGreaterEqual(self.lag.get_ms(1_000 * last), age_ms)
        self.assertLess(self.lag.get_ms(1_000 * last), age_ms + 1_000 * last // 100)
