"""What one server may ask at a time, and what strangers may make this one do."""

from typing import Any
from unittest.mock import patch

from nacl.signing import SigningKey
from twisted.internet.defer import Deferred

from federation.keys import key_ring
from federation.room_dag.signing import EventSigner
from federation.transport.errors import TransportError
from federation.transport.https import HttpRequest, HttpResponse
from federation.transport.route import Route
from federation.transport.x_matrix import build_x_matrix
from federation.turns import BoundedTurns, Busy, FairTurns, TurnLimits
from popcube_server.services.federation import origin_turns
from popcube_server.services.federation.fair_shares import ShareLimits
from tests.popcube_server.federation_receiving.far_server import V1, FarServer, ReceivingCase, silence
from tests.popcube_server.server_case import ONE

MISSING = f"{V1}get_missing_events"
PROFILE = f"{V1}query/profile?user_id=%40alice%3Aone.example"


class RateTests(ReceivingCase):
    limits = """
rc_registration: {per_second: 10000, burst_count: 10000}
rc_room_creation: {per_second: 10000, burst_count: 10000}
rc_federation: {window_size: 2000, sleep_limit: 4, sleep_delay: 700, reject_limit: 3, concurrent: 2}
"""

    def test_many_requests_of_one_server_wait_and_more_are_refused(self) -> None:
        other = self.given_far("other.example")
        for _ in range(4):
            self.ok(self.ask(self.far, "GET", PROFILE))
        slow = [self.begin_ask(self.far, "GET", PROFILE) for _ in range(3)]
        for one in slow:
            self.assert_waiting(one)
        status, body = self.ask(self.far, "GET", PROFILE)
        self.assertEqual((status, body["errcode"], body["retry_after_ms"]), (429, "M_LIMIT_EXCEEDED", 2000))
        # Nobody else notices.
        self.ok(self.ask(other, "GET", PROFILE))
        self.clock.advance(0.6)
        self.assert_waiting(slow[0])
        self.clock.advance(0.2)
        for one in slow:
            self.ok(self.finish(one))
        self.clock.advance(2)
        self.ok(self.ask(self.far, "GET", PROFILE))

    def test_few_requests_of_one_server_are_worked_on_at_a_time(self) -> None:
        room = self.given_far_room()
        other = self.given_far("other.example")
        self.far.answers[MISSING] = silence
        self.clock.advance(10)
        slow = []
        for number in range(2):
            late = room.build(prev=[room.build()])
            slow.append(self.begin_send(self.far, str(number), [late]))
        third = self.begin_ask(self.far, "GET", PROFILE)
        self.assert_waiting(third)
        self.ok(self.ask(other, "GET", PROFILE))
        self.clock.advance(5)
        for one in (*slow, third):
            self.ok(self.finish(one))

    def test_who_goes_away_gives_the_place_back(self) -> None:
        for _ in range(4):
            self.ok(self.ask(self.far, "GET", PROFILE))
        for _ in range(5):
            pending = self.begin_ask(self.far, "GET", PROFILE)
            pending.cancel()
            self.failureResultOf(pending)
            self._agent.flush()
        pending = self.begin_ask(self.far, "GET", PROFILE)
        self.clock.advance(1)
        self.ok(self.finish(pending))


class BytesTests(ReceivingCase):
    def test_bodies_of_one_server_have_a_share_of_memory(self) -> None:
        other = self.given_far("other.example")
        with patch.object(origin_turns, "BODIES", ShareLimits(total=10_000, most=5_000, least=3_000)):
            self.restart()
        room = self.given_far_room()
        self.far.answers[MISSING] = silence
        late = room.build(content={"body": "x" * 4_000}, prev=[room.build()])
        pending = self.begin_send(self.far, "1", [late])
        status, body = self.send(self.far, "2", [{"x": "x" * 2_000}])
        self.assertEqual((status, body["errcode"]), (429, "M_LIMIT_EXCEEDED"))
        self.ok(self.send(other, "1", [{"x": "x" * 2_000}]))
        self.clock.advance(5)
        self.ok(self.finish(pending))
        self.ok(self.send(self.far, "3", [{"x": "x" * 2_000}]))


class StrangersTests(ReceivingCase):
    """Anybody can name any server in a header."""

    def begin_as(self, name: str) -> "Deferred[Any]":
        far = FarServer(name)
        header = build_x_matrix(far.signer, ONE, "GET", PROFILE, None)
        return self.begin("GET", PROFILE, None, headers={"Authorization": header})

    def fetches_of(self, *names: str) -> int:
        return sum(
            uri == "/_matrix/key/v2/server" and host.split(":")[0] in names
            for host, _, uri in self.network.requests
        )

    def test_server_that_does_not_exist_is_looked_for_once(self) -> None:
        for _ in range(5):
            self.assert_refused(self.finish(self.begin_as("nobody.example")), 401, "M_UNAUTHORIZED")
        self.assertEqual(self.fetches_of("nobody.example"), 1)

    def test_body_of_a_server_without_keys_is_not_even_parsed(self) -> None:
        nobody = FarServer("nobody.example")
        url = f"{V1}send/1"
        self.assert_refused(self.ask(nobody, "PUT", url, b"{not json"), 401, "M_UNAUTHORIZED")
        self.assert_refused(self.ask(self.far, "PUT", url, b"{not json"), 400, "M_NOT_JSON")

    def test_few_unknown_servers_are_asked_at_a_time(self) -> None:
        with patch.object(key_ring, "STRANGERS", TurnLimits(at_once=3, waiting=2, per_minute=100)):
            self.restart()
        room = self.given_far_room()
        names = [f"s{number}.example" for number in range(9)]
        waiting: list[Deferred[HttpResponse]] = []

        def answer(route: Route, request: HttpRequest) -> "Deferred[HttpResponse]":
            waiting.append(Deferred())
            return waiting[-1]

        self.network.far_servers.update(dict.fromkeys(names, answer))
        pending = [self.begin_as(name) for name in names]
        self.assertEqual(len(waiting), 3)
        for one in pending[5:]:
            self.assert_refused(self.finish(one), 429, "M_LIMIT_EXCEEDED")
        # Whom we know is not held up by that: neither its requests, nor its events, nor its new keys.
        self.assertEqual(list(self.results(self.far, "1", [room.build()]).values()), [{}])
        self.clock.advance(3 * 24 * 3600)
        asked = self.far.asked("/_matrix/key")
        self.assertEqual(self.ask(self.far, "GET", PROFILE)[0], 401)
        self.assertEqual(self.far.asked("/_matrix/key"), asked + 1)
        while waiting:
            waiting.pop().errback(TransportError("is gone"))
        for one in pending[:5]:
            self.assert_refused(self.finish(one), 401, "M_UNAUTHORIZED")

    def test_unknown_servers_are_asked_so_often_a_minute(self) -> None:
        with patch.object(key_ring, "STRANGERS", TurnLimits(at_once=3, waiting=2, per_minute=4)):
            self.restart()
        answers = [self.finish(self.begin_as(f"s{number}.example"))[0] for number in range(8)]
        self.assertEqual(answers, [401] * 4 + [429] * 4)
        self.clock.advance(61)
        self.assertEqual(self.finish(self.begin_as("s9.example"))[0], 401)

    def test_known_servers_are_asked_so_often_too(self) -> None:
        with patch.object(key_ring, "CALLERS", TurnLimits(at_once=3, waiting=2, per_minute=2)):
            self.restart()
        known = [self.given_far(f"k{number}.example") for number in range(4)]
        for far in known:
            self.ok(self.ask(far, "GET", PROFILE))
        # Keys that are known need no asking; those that are made up are asked for a few times.
        self.clock.advance(120)
        answers = []
        for far in known:
            impostor = FarServer(far.name)
            impostor.signer = EventSigner(far.name, "ed25519:made_up", SigningKey(b"m" * 32))
            answers.append(self.ask(impostor, "GET", PROFILE)[0])
        self.assertEqual(answers, [401, 401, 429, 429])

    def test_notary_asks_few_unknown_servers_however_many_are_wanted(self) -> None:
        with patch.object(key_ring, "STRANGERS", TurnLimits(at_once=3, waiting=2, per_minute=10)):
            self.restart()
        names = [f"s{number}.example" for number in range(100)]
        for _ in range(10):
            query: dict[str, Any] = {"server_keys": {name: {} for name in [*names, "far.example"]}}
            self.assert_refused(self.post("/_matrix/key/v2/query", query), 400, "M_INVALID_PARAM")
            query = {"server_keys": {name: {} for name in names}}
            self.assertEqual(self.ok(self.post("/_matrix/key/v2/query", query))["server_keys"], [])
        self.assertLessEqual(self.fetches_of(*names), 10)
        self.assertGreater(self.fetches_of(*names), 0)


class TurnsTests(ReceivingCase):
    def test_turns_are_handed_on_and_given_up(self) -> None:
        turns = BoundedTurns(TurnLimits(at_once=1, waiting=1, per_minute=10), lambda: 0)
        gates: list[Deferred[None]] = [Deferred(), Deferred(), Deferred()]

        async def work(number: int) -> int:
            await gates[number]
            return number

        def begin(number: int) -> "Deferred[int]":
            return Deferred.fromCoroutine(turns.run(lambda: work(number)))

        first, second = begin(0), begin(1)
        self.failureResultOf(begin(2), Busy)
        second.cancel()
        self.failureResultOf(second)
        third = begin(2)
        gates[2].callback(None)
        self.assertNoResult(third)
        gates[0].callback(None)
        self.assertEqual((self.successResultOf(first), self.successResultOf(third)), (0, 2))

    def test_holders_are_served_in_turn(self) -> None:
        turns = FairTurns(total=2, each=1)
        order: list[str] = []
        gates: list[Deferred[None]] = []

        async def work(name: str) -> None:
            order.append(name)
            gates.append(Deferred())
            await gates[-1]

        def begin(holder: str, name: str) -> "Deferred[None]":
            return Deferred.fromCoroutine(turns.run(holder, lambda: work(name)))

        done = [begin("a", "a1"), begin("a", "a2"), begin("a", "a3"), begin("b", "b1"), begin("b", "b2")]
        self.assertEqual(order, ["a1", "b1"])
        done.append(begin("c", "c1"))
        for number in range(6):
            gates[number].callback(None)
        self.assertEqual(order, ["a1", "b1", "c1", "a2", "b2", "a3"])
        for one in done:
            self.successResultOf(one)
