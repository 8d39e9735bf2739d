"""Token buckets."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.errors import LimitExceeded
from popcube_server.services.rate_limits import NEVER_MS, RateLimiter
from synapse_like_config.ratelimits import RateLimit


class RateLimiterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def limiter(self, per_second: float, burst_count: float, max_keys: int = 10) -> RateLimiter:
        return RateLimiter(RateLimit(per_second, burst_count), self.clock.seconds, max_keys)

    def test_burst_passes_and_then_one_at_a_time(self) -> None:
        limiter = self.limiter(0.1, 3)
        for _ in range(3):
            limiter.spend("a")
        error = self.assertRaises(LimitExceeded, limiter.spend, "a")
        self.clock.advance(error.retry_after_ms / 1000)
        limiter.spend("a")
        self.assertRaises(LimitExceeded, limiter.spend, "a")

    def test_keys_are_apart(self) -> None:
        limiter = self.limiter(1, 1)
        limiter.spend("a")
        limiter.spend("b")
        self.assertRaises(LimitExceeded, limiter.spend, "a")

    def test_refused_request_costs_nothing(self) -> None:
        limiter = self.limiter(1, 1)
        limiter.spend("a")
        for _ in range(100):
            self.assertRaises(LimitExceeded, limiter.spend, "a")
        self.clock.advance(1)
        limiter.spend("a")

    def test_check_takes_nothing(self) -> None:
        limiter = self.limiter(1, 1)
        for _ in range(5):
            limiter.check("a")
        limiter.spend("a")
        self.assertRaises(LimitExceeded, limiter.check, "a")

    def test_what_is_given_back_can_be_spent_again(self) -> None:
        limiter = self.limiter(0, 1)
        limiter.spend("a")
        limiter.give_back("a")
        limiter.give_back("a")
        limiter.spend("a")
        self.assertRaises(LimitExceeded, limiter.spend, "a")

    def test_bucket_that_never_fills_says_to_wait_long(self) -> None:
        limiter = self.limiter(0, 1)
        limiter.spend("a")
        error = self.assertRaises(LimitExceeded, limiter.spend, "a")
        self.assertEqual(error.retry_after_ms, NEVER_MS)

    def test_memory_is_bounded(self) -> None:
        limiter = self.limiter(0, 1, max_keys=2)
        for key in ("a", "b", "c"):
            limiter.spend(key)
        self.assertRaises(LimitExceeded, limiter.spend, "b")
        limiter.spend("a")
