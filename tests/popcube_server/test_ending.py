"""The end of a server."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from popcube_server.ending import Ending
from popcube_server.organisation import Organisation
from popcube_server.rest.front_door.site import Site
from tests.popcube_server.server_case import ONE, ServerTestCase

WITHIN_S = 5.0


class Part:
    """Says when it ended, and whether that went well."""

    def __init__(self, ended: list[str], name: str) -> None:
        self._ended = ended
        self._name = name

    def start(self) -> None:
        return

    async def stop(self) -> None:
        self._ended.append(self._name)


class BadPart(Part):
    async def stop(self) -> None:
        await super().stop()
        raise ValueError(self._name)


class HangingPart(Part):
    async def stop(self) -> None:
        await super().stop()
        await Deferred()


class EndingTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ended: list[str] = []

    def test_what_ends_in_time_is_over(self) -> None:
        clock = Clock()
        ending = Ending(clock, WITHIN_S)
        work: Deferred[None] = Deferred()

        async def wait() -> None:
            await work

        waiting = Deferred.fromCoroutine(ending.end("work", wait()))
        clock.advance(WITHIN_S - 1)
        self.assertNoResult(waiting)
        work.callback(None)
        self.assertTrue(self.successResultOf(waiting))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_all_that_is_given_shares_the_time(self) -> None:
        clock = Clock()
        ending = Ending(clock, WITHIN_S)
        first = Deferred.fromCoroutine(ending.end("first", HangingPart(self.ended, "first").stop()))
        with self.assertLogs("popcube_server.ending", "ERROR"):
            clock.advance(WITHIN_S)
        self.assertFalse(self.successResultOf(first))
        second = Deferred.fromCoroutine(ending.end("second", HangingPart(self.ended, "second").stop()))
        with self.assertLogs("popcube_server.ending", "ERROR"):
            clock.advance(0)
        self.assertFalse(self.successResultOf(second))
        third = Deferred.fromCoroutine(ending.end("third", Part(self.ended, "third").stop()))
        self.assertTrue(self.successResultOf(third))
        self.assertEqual(self.ended, ["first", "second", "third"])

    def organisation(self, *parts: Part) -> Organisation:
        running = self.organisations[ONE]
        site: Site = running.site
        return Organisation(running.core, site, None, parts, running._long_polls, None, running.reload)

    def test_part_that_ends_badly_does_not_keep_the_others(self) -> None:
        parts = (Part(self.ended, "first"), BadPart(self.ended, "second"), Part(self.ended, "third"))
        with self.assertLogs("popcube_server.ending", "ERROR") as logged:
            self.successResultOf(Deferred.fromCoroutine(self.organisation(*parts).stop()))
        self.assertEqual(self.ended, ["third", "second", "first"])
        self.assertIn("BadPart", logged.output[0])

    def test_part_that_hangs_does_not_keep_the_others(self) -> None:
        parts = (Part(self.ended, "first"), HangingPart(self.ended, "second"), Part(self.ended, "third"))
        stopping = Deferred.fromCoroutine(self.organisation(*parts).stop())
        self.clock.advance(29.0)
        self.assertNoResult(stopping)
        with self.assertLogs("popcube_server.ending", "ERROR") as logged:
            self.clock.advance(1.0)
        self.successResultOf(stopping)
        self.assertEqual(self.ended, ["third", "second", "first"])
        self.assertIn("HangingPart", logged.output[0])
