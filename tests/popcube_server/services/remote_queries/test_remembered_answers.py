"""What is asked of other servers is asked once in a while, within bounds, and kept within bounds."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from federation.transport.errors import HttpRefusal, Unreachable
from popcube_server.services.errors import LimitExceeded
from popcube_server.services.remote_queries.question_limits import (
    UNDER_WAY,
    UNDER_WAY_PER_ASKER,
    UNDER_WAY_PER_SERVER,
    Question,
    QuestionLimits,
)
from popcube_server.services.remote_queries.remembered_answers import Memory, RememberedAnswers


class RememberedAnswersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        limits = QuestionLimits(self.clock.seconds)
        memory = Memory(lifetime_ms=60_000, max_bytes=10_000)
        self.answers: RememberedAnswers[Any, str] = RememberedAnswers(
            memory, len, limits, lambda: int(self.clock.seconds() * 1000)
        )
        self.waiting: list[Deferred[str]] = []

    async def ask(self) -> str:
        waiting: Deferred[str] = Deferred()
        self.waiting.append(waiting)
        return await waiting

    def get(self, key: Any, asker: str = "@a:x", server: str = "far.example") -> "Deferred[str]":
        return Deferred.fromCoroutine(self.answers.get(Question(asker, server), key, self.ask))

    def test_million_questions_about_the_same_are_one(self) -> None:
        first = self.get("k")
        others = [self.get("k") for _ in range(1_000)]
        self.assertEqual(len(self.waiting), 1)
        self.waiting[0].callback("answer")
        for pending in (first, *others, self.get("k")):
            self.assertEqual(self.successResultOf(pending), "answer")
        self.clock.advance(59)
        self.successResultOf(self.get("k"))
        self.assertEqual(len(self.waiting), 1)
        self.clock.advance(1)
        self.assertNoResult(self.get("k"))
        self.assertEqual(len(self.waiting), 2)

    def test_failure_is_remembered_for_a_shorter_while(self) -> None:
        for error in (
            Unreachable("far.example", "gone"),
            HttpRefusal("far.example", 404, {"error": "x" * 999}),
        ):
            pending = self.get("k")
            self.waiting.pop().errback(error)
            self.failureResultOf(pending, type(error))
            again = self.failureResultOf(self.get("k"), type(error))
            self.assertLess(len(str(again.value)), 100)
            self.assertEqual(self.waiting, [])
            self.clock.advance(10)

    def test_one_who_gives_up_does_not_stop_the_others(self) -> None:
        impatient, patient = self.get("k"), self.get("k")
        impatient.cancel()
        self.failureResultOf(impatient)
        self.waiting[0].callback("answer")
        self.assertEqual(self.successResultOf(patient), "answer")

    def test_answers_are_kept_within_bounds(self) -> None:
        for number in range(100):
            self.get(number)
            self.waiting[number].callback("x" * 1_500)
            self.clock.advance(1)
        self.assertEqual(len(self.answers), 5)
        self.successResultOf(self.get(99))
        huge = self.get("huge")
        self.waiting[-1].callback("x" * 20_000)
        self.assertEqual(len(self.successResultOf(huge)), 20_000)
        self.assertEqual(len(self.answers), 0)

    def test_questions_under_way_are_bounded_by_asker_by_server_and_in_all(self) -> None:
        for number in range(UNDER_WAY_PER_ASKER):
            self.get(("a", number), server=f"{number}.example")
        self.failureResultOf(self.get("more"), LimitExceeded)
        for number in range(UNDER_WAY_PER_SERVER):
            self.get(("s", number), asker=f"@{number}:x")
        self.failureResultOf(self.get("more", asker="@new:x"), LimitExceeded)
        for number in range(UNDER_WAY - UNDER_WAY_PER_ASKER - UNDER_WAY_PER_SERVER):
            self.get(("t", number), asker=f"@t{number}:x", server=f"t{number}.example")
        self.assertEqual(len(self.waiting), UNDER_WAY)
        self.failureResultOf(self.get("more", "@new:x", "new.example"), LimitExceeded)
        self.waiting[0].callback("answer")
        self.assertNoResult(self.get("more", "@new:x", "new.example"))

    def test_asker_who_asks_all_the_time_is_held_to_a_pace(self) -> None:
        asked = 0
        for number in range(10_000):
            pending = self.get(number)
            if self.waiting:
                self.waiting.pop().callback("answer")
                asked += 1
            else:
                self.failureResultOf(pending, LimitExceeded)
            self.clock.advance(0.01)
        # 200 at once, and 5 for each of the 100 seconds.
        self.assertLess(asked, 705)
        self.assertGreater(asked, 600)
