"""Guesses that are sent all at once count like guesses one after the other."""

from collections import deque
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.auth.check_password import CheckPassword
from popcube_server.services.auth.login_bans import LoginBans
from popcube_server.services.auth.passwords import Passwords
from popcube_server.services.errors import LimitExceeded, NotAllowed
from popcube_server.services.platform import Platform
from popcube_server.services.rate_limits import RateLimiter
from storage.accounts import AccountRow, CreateAccount
from synapse_like_config.popcube import Argon2Config
from synapse_like_config.ratelimits import RateLimit
from tests.storage.storage_case import SqliteStorage, StorageMixin

ALICE = "@alice:one.example"
ADDRESS = "192.0.2.1"


class CheckPasswordTests(SqliteStorage, StorageMixin, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        # Hashes are computed when the test says so.
        self.hashing: deque[Callable[[], object]] = deque()
        self.clock = Clock()
        self.platform = Platform(self.clock, lambda size: b"x" * size, self.run_later)
        self.passwords = Passwords(self.platform, Argon2Config(1, 8192, 1), None)
        self.bans = LoginBans(self.database, self.committer, self.log, self.platform.now_ms)
        pending = Deferred.fromCoroutine(self.passwords.hash("right"))
        self.compute()
        hashed = self.successResultOf(pending)
        self.result(self.committer.commit(CreateAccount(ALICE, hashed, 0, False, False, None)))

    def run_later(self, function: Callable[[], Any]) -> "Deferred[Any]":
        done: Deferred[Any] = Deferred()
        self.hashing.append(lambda: maybeDeferred(function).chainDeferred(done))
        return done

    def compute(self) -> None:
        while self.hashing:
            self.hashing.popleft()()

    def make_check(self, limiter: RateLimiter) -> CheckPassword:
        return CheckPassword(
            "one.example", self.platform, self.database, self.committer, self.passwords, self.bans, limiter
        )

    def check(self, limit: RateLimit, *passwords: str) -> "list[Deferred[AccountRow]]":
        limiter = RateLimiter(limit, lambda: 0.0)
        check = self.make_check(limiter)
        tries = [Deferred.fromCoroutine(check.check("alice", password, ADDRESS)) for password in passwords]
        self.compute()
        return tries

    def test_right_guess_after_the_tenth_wrong_one_is_banned(self) -> None:
        tries = self.check(RateLimit(1, 100), *["wrong"] * 10, "right")
        for wrong in tries[:-1]:
            self.failureResultOf(wrong, NotAllowed)
        self.failureResultOf(tries[-1], LimitExceeded)

    def test_right_guess_before_is_taken(self) -> None:
        tries = self.check(RateLimit(1, 100), *["wrong"] * 9, "right")
        self.assertEqual(self.successResultOf(tries[-1]).user_id, ALICE)
        for wrong in tries[:-1]:
            self.failureResultOf(wrong, NotAllowed)

    def test_limit_of_the_account_holds_for_guesses_at_once(self) -> None:
        tries = self.check(RateLimit(0.1, 2), "wrong", "wrong", "right")
        self.failureResultOf(tries[0], NotAllowed)
        self.failureResultOf(tries[1], NotAllowed)
        self.failureResultOf(tries[2], LimitExceeded)

    def test_successes_use_nothing_up(self) -> None:
        limiter = RateLimiter(RateLimit(0.1, 1), lambda: 0.0)
        check = self.make_check(limiter)
        for _ in range(5):
            trial = Deferred.fromCoroutine(check.check("alice", "right", ADDRESS))
            self.compute()
            self.successResultOf(trial)

    def test_right_password_takes_one_read_of_its_own_if_somebody_failed_meanwhile(self) -> None:
        reads: list[object] = []
        run_read = self.database._run_read

        def counted(function: Callable[[], Any]) -> "Deferred[Any]":
            reads.append(function)
            return run_read(function)

        self.database._run_read = counted
        (trial,) = self.check(RateLimit(1, 100), "right")
        self.successResultOf(trial)
        self.assertEqual(len(reads), 0)
        wrong, right = self.check(RateLimit(1, 100), "wrong", "right")
        self.failureResultOf(wrong, NotAllowed)
        self.successResultOf(right)
        self.assertEqual(len(reads), 1)
        left = self.read(lambda tx: tx.value("SELECT COUNT(*) FROM login_failures"))
        self.assertEqual(left, 0)

    def test_guesses_of_a_banned_address_are_not_looked_at_and_use_nothing_up(self) -> None:
        limiter = RateLimiter(RateLimit(0.1, 1), lambda: 0.0)
        check = self.make_check(limiter)
        for n in range(10):
            self.result(self.bans.record_failure(ADDRESS, f"@somebody{n}:one.example"))
        with patch.object(self.passwords, "is_right") as is_right:
            for password in ("wrong", "right", "right"):
                trial = Deferred.fromCoroutine(check.check("alice", password, ADDRESS))
                self.compute()
                self.failureResultOf(trial, LimitExceeded)
            is_right.assert_not_called()
        elsewhere = Deferred.fromCoroutine(check.check("alice", "right", "192.0.2.2"))
        self.compute()
        self.assertEqual(self.successResultOf(elsewhere).user_id, ALICE)

    def test_guesses_of_an_address_known_to_be_banned_keep_nobody_out_and_wait_for_no_thread(self) -> None:
        check = self.make_check(RateLimiter(RateLimit(0.1, 1), lambda: 0.0))
        for n in range(10):
            self.result(self.bans.record_failure(ADDRESS, f"@somebody{n}:one.example"))
        seen = Deferred.fromCoroutine(check.check("alice", "wrong", ADDRESS))
        self.compute()
        self.failureResultOf(seen, LimitExceeded)
        under_way = Deferred.fromCoroutine(check.check("alice", "wrong", ADDRESS))
        elsewhere = Deferred.fromCoroutine(check.check("alice", "right", "192.0.2.2"))
        self.failureResultOf(under_way, LimitExceeded)
        self.compute()
        self.assertEqual(self.successResultOf(elsewhere).user_id, ALICE)
        self.clock.advance(300)
        again = Deferred.fromCoroutine(check.check("alice", "right", ADDRESS))
        self.compute()
        self.assertEqual(self.successResultOf(again).user_id, ALICE)

    def test_endless_password_is_wrong(self) -> None:
        (trial,) = self.check(RateLimit(1, 100), "right" * 1000)
        self.failureResultOf(trial, NotAllowed)
