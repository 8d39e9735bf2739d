"""History from before a join, fetched from others."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.base64 import encode_base64
from federation.room_dag.event import Event, EventTemplate, build_event, decode_pdu, parse_event
from federation.room_dag.hashes import content_hash, signed_bytes
from federation.room_dag.room_versions import ROOM_VERSIONS
from federation.rooms.accept_event import Verdict
from federation.rooms.history.backfill import Filled
from federation.rooms.history.place_history import free_places
from federation.transport.errors import Unreachable
from storage.events import ORDERING_STEP, REJECTED
from tests.federation.room_dag.builders import RoomBuilder, given_room, make_signer
from tests.federation.rooms.history.history_case import HistoryMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage

DAVE = "@dave:one.example"


def given_busy_room(version: str, messages: int = 3) -> RoomBuilder:
    room = given_room(version, creator="@alice:two.example")
    alice, bob, carol = "@alice:two.example", "@bob:two.example", "@carol:three.example"
    room.join(bob)
    for number in range(messages):
        room.say(bob, f"first {number}")
    room.append("m.room.topic", alice, {"topic": "one"}, "")
    fork = room.events.get(room.heads[0])
    left = room.append("m.room.topic", alice, {"topic": "left"}, "", prev=[fork])
    room.say(bob, "left", prev=[left])
    room.join(carol, prev=[fork])
    room.say(bob, "merged")
    room.set_membership(alice, bob, "ban")
    for number in range(messages):
        room.say(carol, f"second {number}")
    room.append("m.room.topic", carol, {"topic": "not allowed"}, "")
    room.say(alice, "end")
    return room


class BackfillTests(HistoryMixin):
    def test_history_is_whole_and_has_its_states_in_all_versions(self) -> None:
        for version in ROOM_VERSIONS:
            self.setUp()
            room = given_busy_room(version)
            self.given_server(room)
            self.given_joined_late(room, DAVE)
            self.fill_all(room)
            self.assert_is_history_of(room)
            self.open()
            self.assert_is_history_of(room)

    def test_history_comes_in_pages(self) -> None:
        room = given_busy_room("12", messages=150)
        self.given_server(room)
        self.given_joined_late(room, DAVE)
        self.assertGreater(self.fill_all(room), 3)
        self.assert_is_history_of(room)

    def test_messages_need_no_question_about_state(self) -> None:
        room = given_busy_room("12", messages=120)
        server = self.given_server(room)
        self.given_joined_late(room, DAVE)
        self.fill(room)
        server.asked.clear()
        self.fill(room)
        self.assertEqual(server.asked, ["backfill", "state_ids"])
        self.setUp()
        chain = given_room("12", creator="@alice:two.example")
        for _ in range(150):
            chain.say("@alice:two.example")
        server = self.given_server(chain)
        self.given_joined_late(chain, DAVE)
        self.fill_all(chain)
        self.assertEqual(server.asked, ["backfill", "backfill"])
        self.assert_is_history_of(chain)

    def test_rejected_events_are_hidden_and_history_goes_on_behind_them(self) -> None:
        room = given_busy_room("12")
        wrong = room.append("m.room.topic", "@bob:two.example", {"topic": "banned"}, "")
        self.assertIn(wrong.event_id, room.rejected)
        room.say("@alice:two.example", prev=[wrong])
        self.given_server(room)
        self.given_joined_late(room, DAVE)
        self.fill_all(room)
        self.assert_is_history_of(room)
        stored = self.result(self.events.find(wrong.event_id))
        assert stored is not None
        self.assertEqual(stored.flags, REJECTED)

    def test_lies_are_not_believed_and_not_asked_for_again_at_once(self) -> None:
        room = given_busy_room("12")
        other = given_busy_room("12", messages=4)
        server = self.given_server(room)
        joined = self.given_joined_late(room, DAVE)
        before = self.timeline(room)
        prev = room.events.get(joined.prev_events[0])
        forged = decode_pdu(prev)
        forged["signatures"] = {"two.example": {"ed25519:test": "A" * 86}}
        unconnected = decode_pdu(room.create)
        lies: list[Any] = [
            {"pdus": []},
            {"pdus": [forged]},
            {"pdus": [unconnected]},
            {"pdus": [decode_pdu(event) for event in other.events.by_id.values()]},
            {"pdus": [None, 3, "x", {}, {"type": []}]},
            {"pdus": None},
            {},
        ]
        for lie in lies:
            server.lies["backfill"] = lie
            server.asked.clear()
            self.assertIs(self.fill(room), Filled.NOTHING)
            # Each of the two servers is asked once, and then nobody, however often somebody looks.
            self.assertEqual(server.asked, ["backfill", "backfill"])
            for _ in range(1000):
                self.assertIs(self.fill(room), Filled.NOTHING)
            self.assertEqual(len(server.asked), 2)
            self.assertEqual(self.timeline(room), before)
            self.clock.advance(3601)
        server.lies.clear()
        self.fill_all(room)
        self.assert_is_history_of(room)

    def test_history_that_stands_on_another_room_is_rejected(self) -> None:
        # In his own room, which is here as well, Bob may do anything.
        alice, bob = "@alice:two.example", "@bob:two.example"
        other = given_room("12", bob, another=True)
        self.given_taken(other)
        other.join("@carol:three.example")
        for event in list(other.events.by_id.values())[1:]:
            self.result(self.accept_event.accept(event))
        room = given_room("12", alice)
        room.join(bob)
        message = room.build("m.room.message", bob, {"body": "both"})
        template = EventTemplate(
            "m.room.message",
            bob,
            room.room_id,
            None,
            {},
            message.origin_server_ts,
            message.depth,
            (*room.heads, *other.heads),
            message.auth_events,
        )
        both = build_event(template, room.rules, make_signer("two.example"))
        room.events.by_id[both.event_id] = both
        room._state_after[both.event_id] = room.state
        room.rejected.add(both.event_id)
        room.heads = (both.event_id,)
        room.say(alice)
        self.given_server(room).hidden.update(other.events.by_id)
        self.given_joined_late(room, DAVE)
        self.fill_all(room)
        self.assert_is_history_of(room)

    def test_state_of_lies_is_not_believed(self) -> None:
        room = given_busy_room("12", messages=120)
        other = given_busy_room("12", messages=4)
        server = self.given_server(room)
        self.given_joined_late(room, DAVE)
        before = self.timeline(room)
        lies: list[Any] = [
            {"pdu_ids": list(other.state.values()), "auth_chain_ids": []},
            {"pdu_ids": [], "auth_chain_ids": []},
            {"pdu_ids": ["$nothing"], "auth_chain_ids": []},
            {"pdu_ids": 3},
        ]
        self.fill(room)
        between = len(self.timeline(room))
        self.assertGreater(between, len(before))
        for lie in lies:
            server.lies["state_ids"] = lie
            self.assertIs(self.fill(room), Filled.NOTHING)
            self.assertEqual(len(self.timeline(room)), between)
            self.clock.advance(3601)
        server.lies.clear()
        self.fill_all(room)
        self.assert_is_history_of(room)

    def test_server_that_is_away_is_told_from_one_that_has_nothing(self) -> None:
        room = given_busy_room("12")
        server = self.given_server(room)
        self.given_joined_late(room, DAVE)

        def away(*_: object) -> Any:
            raise Unreachable("two.example", "is away")

        server.lies["backfill"] = away
        self.assertIs(self.fill(room), Filled.UNREACHABLE)
        self.clock.advance(31)
        server.lies.clear()
        self.fill_all(room)
        self.assert_is_history_of(room)

    def test_silent_server_is_given_up(self) -> None:
        room = given_busy_room("12")
        server = self.given_server(room)
        self.given_joined_late(room, DAVE)
        place = self.room_holes(room)[0].place
        self.ears.is_silent = True
        filling = Deferred.fromCoroutine(self.backfill.fill(str(room.room_id), place))
        also = Deferred.fromCoroutine(self.backfill.fill(str(room.room_id), place))
        self.assertNoResult(filling)  # type: ignore[attr-defined]
        self.assertEqual(server.asked, ["backfill"])
        self.clock.advance(16)
        self.clock.advance(16)
        self.assertIs(self.successResultOf(filling), Filled.UNREACHABLE)  # type: ignore[attr-defined]
        self.assertIs(self.successResultOf(also), Filled.UNREACHABLE)  # type: ignore[attr-defined]
        self.assertEqual(server.asked, ["backfill", "backfill"])

    def test_cycle_is_cut(self) -> None:
        room = given_room("1", creator="@alice:two.example")
        server = self.given_server(room)
        first = room.build("m.room.message", "@alice:two.example", {"body": "1"})
        second = room.build("m.room.message", "@alice:two.example", {"body": "2"})
        reference = {"sha256": "A" * 43}
        cycle = [
            self.signed(room, first, [[second.event_id, reference]]),
            self.signed(room, second, [[first.event_id, reference]]),
        ]
        for event in cycle:
            room.events.by_id[event.event_id] = event
            room._state_after[event.event_id] = room.state
        room.heads = (cycle[1].event_id,)
        self.given_joined_late(room, DAVE)
        server.lies["backfill"] = {"pdus": [decode_pdu(event) for event in cycle]}
        server.lies["state_ids"] = {
            "pdu_ids": list(room.state_before([room.create.event_id]).values()),
            "auth_chain_ids": [],
        }
        for _ in range(5):
            if self.room_holes(room):
                self.fill(room)
                self.clock.advance(3601)
        ids = [stored.event.event_id for stored in self.timeline(room)]
        self.assertEqual(len(ids), len(set(ids)))

    def signed(self, room: RoomBuilder, event: Event, prev_events: list[Any]) -> Event:
        pdu = {**decode_pdu(event), "prev_events": prev_events}
        del pdu["signatures"], pdu["hashes"]
        pdu["hashes"] = {"sha256": encode_base64(content_hash(pdu, room.rules))}
        signer = make_signer("two.example")
        signature = signer.sign_bytes(signed_bytes(pdu, room.rules))
        pdu["signatures"] = {"two.example": {signer.key_id: signature}}
        return parse_event(pdu, room.rules)

    def test_holes_that_lead_into_one_another_have_each_event_once(self) -> None:
        room = given_busy_room("12", messages=120)
        old = room.events.get(list(room.events.by_id)[60])
        server = self.given_server(room)
        self.given_joined_late(room, DAVE)
        alice = "@alice:two.example"
        hidden = [room.say(alice) for _ in range(5)]
        server.hidden.update(event.event_id for event in hidden)
        self.assertIs(self.result(self.receive_pdu.receive("two.example", room.say(alice))), Verdict.ACCEPTED)
        # What comes out of a partition stands on what was before the join.
        late = room.say(alice, prev=[old])
        room.say(alice, prev=[room.events.get(room.heads[0]), late])
        server.hidden.add(late.event_id)
        self.result(self.receive_pdu.receive("two.example", room.events.get(room.heads[0])))
        server.hidden.clear()
        self.assertEqual(len(self.room_holes(room)), 3)
        self.fill_all(room)
        self.assert_is_history_of(room)
        self.open()
        self.assert_is_history_of(room)

    def test_gap_whose_events_come_by_themselves_is_closed(self) -> None:
        room = given_busy_room("12")
        server = self.given_server(room)
        self.given_joined_late(room, DAVE)
        self.fill_all(room)
        alice = "@alice:two.example"
        hidden = room.say(alice)
        server.hidden.add(hidden.event_id)
        self.result(self.receive_pdu.receive("two.example", room.say(alice)))
        self.assertEqual(len(self.room_holes(room)), 1)
        self.result(self.receive_pdu.receive("two.example", hidden))
        server.asked.clear()
        self.assertEqual(self.fill_all(room), 1)
        self.assertEqual(server.asked, [])

    def test_hole_has_no_end_that_others_could_use(self) -> None:
        self.assertEqual(free_places(3 * ORDERING_STEP, 3 * ORDERING_STEP - 4, 2), [3145726, 3145725])
        self.assertIsNone(free_places(3 * ORDERING_STEP, 3 * ORDERING_STEP - 4, 3))
        self.assertEqual(free_places(2 * ORDERING_STEP + 2, None, 1), [2 * ORDERING_STEP - 1])


class SqliteBackfillTests(SqliteStorage, BackfillTests, SynchronousTestCase):
    pass


class PostgresBackfillTests(PostgresStorage, BackfillTests, SynchronousTestCase):
    pass
