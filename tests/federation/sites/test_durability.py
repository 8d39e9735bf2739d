"""With `durability: site` a write is answered once a peer has it, or once it is clear that no peer answers."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from federation.sites.durability import DurabilityState, SiteDurability


class Counts:
    def __init__(self) -> None:
        self.falls = 0
        self.recoveries = 0

    def fell_back(self) -> None:
        self.falls += 1

    def recovered(self) -> None:
        self.recoveries += 1


class SiteDurabilityTests(SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.counts = Counts()
        self.log_position = 10
        self.durability = SiteDurability(self.clock, 5.0, lambda: self.log_position, self.counts)
        self.answered: list[int] = []

    def write(self, position: int) -> None:
        self.log_position = position
        self.durability.when_safe(position, lambda: self.answered.append(position))

    def test_until_a_peer_has_caught_up_this_disk_is_enough(self) -> None:
        self.write(11)
        self.durability.confirmed("berta", 9)
        self.write(12)
        self.assertEqual(self.answered, [11, 12])

    def test_a_write_waits_for_a_peer(self) -> None:
        self.durability.confirmed("berta", 10)
        self.write(11)
        self.write(12)
        self.assertEqual(self.answered, [])
        self.durability.confirmed("berta", 11)
        self.assertEqual(self.answered, [11])
        self.durability.stop()

    def test_any_peer_will_do(self) -> None:
        self.durability.confirmed("berta", 10)
        self.write(11)
        self.durability.confirmed("carla", 11)
        self.assertEqual(self.answered, [11])

    def test_without_an_answer_it_falls_back_and_says_so(self) -> None:
        self.durability.confirmed("berta", 10)
        self.write(11)
        self.clock.advance(5)
        self.assertEqual(self.answered, [11])
        self.assertEqual(self.counts.falls, 1)
        self.write(12)
        self.assertEqual(self.answered, [11, 12])

    def test_a_peer_that_is_slow_and_moving_is_waited_for(self) -> None:
        self.durability.confirmed("berta", 10)
        self.write(11)
        self.write(12)
        self.clock.advance(4)
        self.durability.confirmed("berta", 11)
        self.clock.advance(4)
        self.assertIs(self.durability.state, DurabilityState.SAFE)
        self.durability.confirmed("berta", 12)
        self.assertEqual(self.answered, [11, 12])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_peer_that_is_still_behind_is_not_waited_for_while_the_others_are_silent(self) -> None:
        self.durability.confirmed("berta", 10)
        self.write(11)
        for _ in range(5):
            self.clock.advance(1)
            self.durability.confirmed("carla", 4)
        self.assertEqual(self.answered, [11])
        self.assertEqual(self.counts.falls, 1)

    def test_it_recovers_once_a_peer_has_everything(self) -> None:
        self.durability.confirmed("berta", 10)
        self.write(11)
        self.clock.advance(5)
        self.write(12)
        self.durability.confirmed("berta", 11)
        self.assertIs(self.durability.state, DurabilityState.FALLEN_BACK)
        self.durability.confirmed("berta", 12)
        self.assertIs(self.durability.state, DurabilityState.SAFE)
        self.assertEqual(self.counts.recoveries, 2)

    def test_it_recovers_under_a_load_that_a_peer_keeps_up_with(self) -> None:
        self.fall_back()
        for position in range(101, 120, 10):
            # Something is always on its way: what was written last is never confirmed before there is more.
            self.write(position + 10)
            self.clock.advance(0.5)
            self.durability.confirmed("berta", position)
        self.assertIs(self.durability.state, DurabilityState.SAFE)
        self.write(130)
        self.assertNotIn(130, self.answered)
        self.durability.stop()

    def test_it_does_not_recover_under_a_load_that_no_peer_keeps_up_with(self) -> None:
        self.fall_back()
        for position in range(101, 120, 10):
            self.write(position + 10)
            self.clock.advance(6)
            self.durability.confirmed("berta", position)
            self.durability.confirmed("carla", 10)
        self.assertIs(self.durability.state, DurabilityState.FALLEN_BACK)

    def fall_back(self) -> None:
        self.durability.confirmed("berta", 10)
        self.write(11)
        self.clock.advance(5)
        self.assertIs(self.durability.state, DurabilityState.FALLEN_BACK)

    def test_the_end_answers_what_waits(self) -> None:
        self.durability.confirmed("berta", 10)
        self.write(11)
        self.durability.stop()
        self.assertEqual(self.answered, [11])
        self.assertEqual(self.clock.getDelayedCalls(), [])
