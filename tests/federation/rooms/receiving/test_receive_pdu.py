"""Events that arrive without what they stand on."""

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import Event, InvalidEvent, decode_pdu, parse_event, sign_event
from federation.room_dag.room_versions import ROOM_VERSIONS
from federation.room_dag.signing import InvalidSignature
from federation.rooms.accept_event import MissingEvents, Verdict
from federation.rooms.receiving.fetch_missing import StateUnavailable
from federation.transport.errors import FederationError, HttpRefusal
from storage.events import OUTLIER
from tests.federation.room_dag.builders import ALICE, BOB, CAROL, RoomBuilder, given_room, make_signer
from tests.federation.rooms.receiving.remote_case import ReceivingMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage
from tests.support.forked_rooms import ForkedRoomOptions, make_forked_room

TWO = "two.example"
# Rooms in which states that are resolved twice come out otherwise, and some of the other versions.
GAPS_ON_BRANCHES = (
    (25, "2"),
    (72, "1"),
    (75, "4"),
    (89, "6"),
    (101, "6"),
    (120, "1"),
    (6, "8"),
    (8, "10"),
    (11, "12"),
)


class ReceivePduTests(ReceivingMixin):
    def given_known(self, room: RoomBuilder) -> None:
        """Take part in the room up to where it is now."""
        self.given_taken(room)
        for event in list(room.events.by_id.values())[1:]:
            self.result(self.accept_event.accept(event))

    def receive(self, event: Event) -> Verdict:
        return self.result(self.receive_pdu.receive(TWO, event))

    def test_missing_events_are_fetched_in_all_versions(self) -> None:
        for version in ROOM_VERSIONS:
            self.setUp()
            room = given_room(version)
            server = self.given_server(room)
            self.given_known(room)
            room.join(BOB)
            for _ in range(10):
                room.say(BOB)
            self.assertIs(self.receive(room.say(BOB)), Verdict.ACCEPTED)
            self.assertEqual(server.asked, ["get_missing_events"])
            self.assert_same(room)

    def test_gap_is_bridged_by_the_state_there(self) -> None:
        for version in ROOM_VERSIONS:
            self.setUp()
            room = given_room(version)
            server = self.given_server(room)
            self.given_known(room)
            room.join(BOB)
            room.join(CAROL)
            room.append("m.room.topic", ALICE, {"topic": "t"}, "")
            hidden = room.say(BOB)
            server.hidden.add(hidden.event_id)
            last = room.say(BOB)
            self.assertIs(self.receive(last), Verdict.ACCEPTED)
            self.assertIn("state_ids", server.asked)
            live = self.room(str(room.room_id))
            self.assertEqual(dict(live.state.entries), dict(room.state), version)
            self.assertTrue(live.state.is_joined(BOB))
            self.open()
            self.assertEqual(dict(self.room(str(room.room_id)).state.entries), dict(room.state))

    def test_short_branch_of_who_was_away_for_long_is_news(self) -> None:
        room = given_room("12")
        server = self.given_server(room)
        room.join(BOB)
        self.given_known(room)
        fork = room.events.get(room.heads[0])
        for _ in range(10):
            self.result(self.accept_event.accept(room.say(ALICE)))
        unheard = room.say(BOB, prev=[fork])
        self.assertIs(self.receive(room.say(BOB, prev=[unheard])), Verdict.ACCEPTED)
        self.assertEqual(server.asked, ["get_missing_events"])
        stored = self.result(self.events.find(unheard.event_id))
        assert stored is not None
        self.assertEqual(stored.flags, 0)

    def test_gaps_on_branches_lead_to_the_state_that_all_have(self) -> None:
        for seed, version in GAPS_ON_BRANCHES:
            self.setUp()
            made = make_forked_room(seed, ForkedRoomOptions(version=version))
            server = self.given_server(made.builder)
            server.lies["get_missing_events"] = {"events": []}
            self.given_taken(made.builder)
            chance, last = Random(seed), made.events[-1]
            for event in made.shuffled(chance):
                if event == last or chance.random() < 0.8:
                    self.receive(event)
            heads = {head.event_id: head.branch for head in self.room(made.room_id).heads}
            case = f"seed {seed}, version {version}"
            self.assertEqual(dict(heads[last.event_id].entries), dict(made.state), case)

    def test_large_state_is_fetched_at_once(self) -> None:
        room = given_room("10")
        server = self.given_server(room)
        self.given_known(room)
        for number in range(60):
            room.append("m.room.thing", ALICE, {"n": number}, str(number))
        server.hidden.update(room.heads)
        self.assertIs(self.receive(room.say(ALICE)), Verdict.ACCEPTED)
        self.assertIn("state", server.asked)
        self.assertNotIn("event", server.asked)
        self.assertEqual(dict(self.room(str(room.room_id)).state.entries), dict(room.state))

    def test_outliers_take_their_place_later(self) -> None:
        room = given_room("12")
        server = self.given_server(room)
        self.given_known(room)
        joined = room.join(BOB)
        server.hidden.update(room.heads)
        self.receive(room.say(BOB))
        stored = self.result(self.events.find(joined.event_id))
        assert stored is not None
        self.assertTrue(stored.flags)
        self.assertIs(self.result(self.accept_event.accept(joined)), Verdict.ACCEPTED)
        placed = self.result(self.events.find(joined.event_id))
        assert placed is not None
        self.assertEqual((placed.flags, placed.position), (0, stored.position))
        self.assertGreater(placed.ordering, stored.ordering)
        self.assertIs(self.result(self.accept_event.accept(joined)), Verdict.KNOWN)
        entries = dict(self.room(str(room.room_id)).state.entries)
        self.open()
        self.assertEqual(dict(self.room(str(room.room_id)).state.entries), entries)
        self.send(str(room.room_id), ALICE, "on top")

    def test_what_is_known_as_state_is_no_news_when_it_comes_late(self) -> None:
        room = given_room("12")
        server = self.given_server(room)
        self.given_known(room)
        server.hidden.add(room.say(ALICE).event_id)
        joined = room.join(BOB)
        server.hidden.update(room.heads)
        self.receive(room.say(BOB))
        heads = {head.event_id for head in self.room(str(room.room_id)).heads}
        server.asked.clear()
        self.assertIs(self.receive(joined), Verdict.KNOWN)
        self.assertEqual(server.asked, [])
        self.assertEqual({head.event_id for head in self.room(str(room.room_id)).heads}, heads)

    def given_joined(self, room: RoomBuilder) -> Event:
        """Alice joins a room of another server, of which this one knows nothing else. What the join stands on."""
        last = room.events.get(room.heads[0])
        state = {pair: room.events.get(event_id) for pair, event_id in room.state.items()}
        join = room.join(ALICE)
        self.result(self.take_room.take(room.rules, join, state, ()))
        return last

    def test_branch_that_leaves_the_room_before_the_join_is_taken_in_all_versions(self) -> None:
        for version in ROOM_VERSIONS:
            self.setUp()
            room = given_room(version, creator=BOB)
            self.given_server(room)
            last = self.given_joined(room)
            # Its prev event is state here, and nothing before it is known, down to the create event.
            room.join(CAROL, prev=[last])
            self.assertIs(self.receive(room.say(BOB)), Verdict.ACCEPTED)
            self.assert_same(room)
            self.assertIs(self.receive(room.say(CAROL)), Verdict.ACCEPTED)
            self.assert_same(room)

    def test_create_event_that_comes_again_is_no_news(self) -> None:
        room = given_room("10", creator=BOB)
        self.given_server(room)
        self.given_joined(room)
        self.assertIs(self.receive(room.create), Verdict.KNOWN)
        stored = self.result(self.events.find(room.create.event_id))
        assert stored is not None
        self.assertEqual(stored.flags, OUTLIER)
        self.assertIs(self.receive(room.say(BOB)), Verdict.ACCEPTED)
        self.assert_same(room)

    def test_forged_ancestors_are_not_believed(self) -> None:
        room = given_room("12")
        server = self.given_server(room)
        self.given_known(room)
        room.join(BOB)
        joined = decode_pdu(room.events.get(room.heads[0]))
        last = room.say(BOB)
        joined["signatures"] = {"two.example": {"ed25519:test": "A" * 86}}
        server.lies["get_missing_events"] = {"events": [joined]}
        server.lies["event"] = {"pdus": [joined]}
        server.lies["event_auth"] = {"auth_chain": [joined]}
        before = dict(self.room(str(room.room_id)).state.entries)
        self.failure(self.receive_pdu.receive(TWO, last), MissingEvents)
        self.assertEqual(dict(self.room(str(room.room_id)).state.entries), before)
        self.assertIsNone(self.result(self.events.find(last.event_id)))

    def test_state_of_another_room_is_refused(self) -> None:
        other, room = given_room("12", creator=BOB), given_room("12")
        server = self.given_server(room)
        self.given_known(other)
        self.given_known(room)
        hidden = room.say(ALICE)
        server.hidden.add(hidden.event_id)
        state = list(other.state.values())
        server.lies["state_ids"] = {"pdu_ids": state, "auth_chain_ids": []}
        self.failure(self.receive_pdu.receive(TWO, room.say(ALICE)), StateUnavailable)

    def test_unusable_answers_change_nothing(self) -> None:
        room = given_room("12")
        server = self.given_server(room)
        self.given_known(room)
        room.say(ALICE)
        last = room.say(ALICE)
        lies: list[dict[str, Any]] = [{}, {"events": 3}, {"events": [None, 3, {"type": []}, "x"]}]
        for lie in lies:
            server.lies["get_missing_events"] = lie
            server.lies["state_ids"] = lie
            self.failure(self.receive_pdu.receive(TWO, last), FederationError)
        self.assertIsNone(self.result(self.events.find(last.event_id)))

    def test_endless_answers_end(self) -> None:
        room = given_room("12")
        server = self.given_server(room)
        self.given_known(room)
        chain = [room.say(ALICE) for _ in range(400)]
        last = room.say(ALICE)

        def endless(arguments: Any, query: Any, body: Any) -> dict[str, Any]:
            return {"events": server.pdus(event.event_id for event in chain)}

        server.lies["get_missing_events"] = endless
        server.lies["state_ids"] = lambda *_: (_ for _ in ()).throw(HttpRefusal(TWO, 404, {}))
        self.failure(self.receive_pdu.receive(TWO, last), FederationError)
        self.assertLess(len(server.asked), 10)

    def test_cycle_of_prev_events_is_cut(self) -> None:
        room = given_room("1")
        server = self.given_server(room)
        self.given_known(room)
        first = room.build("m.room.message", ALICE, {"body": "1"})
        second = room.build("m.room.message", ALICE, {"body": "2"})
        reference = {"sha256": "A" * 43}
        cycle = [
            {**decode_pdu(first), "prev_events": [[second.event_id, reference]]},
            {**decode_pdu(second), "prev_events": [[first.event_id, reference]]},
        ]
        server.lies["get_missing_events"] = {"events": cycle}
        last = room.build("m.room.message", ALICE, {"body": "3"}, prev=[])
        pdu = {**decode_pdu(last), "prev_events": [[first.event_id, reference]]}
        self.failure(self.result_of_check(pdu, room), InvalidSignature)

    async def result_of_check(self, pdu: Any, room: RoomBuilder) -> Event:
        return await self.check.check(pdu, room.rules, str(room.room_id))

    def test_changed_content_is_redacted(self) -> None:
        room = given_room("12")
        self.given_server(room)
        pdu = decode_pdu(room.say(ALICE))
        pdu["content"] = {"body": "something else"}
        event = self.result(self.result_of_check(pdu, room))
        self.assertEqual(event.content, {})

    def test_invite_that_redaction_makes_an_ordinary_one_must_be_signed(self) -> None:
        for version in ("1", "5", "10", "11", "12"):
            room = given_room(version)
            self.given_server(room)
            # Nobody needs to sign the invite of a third-party identifier, and what says that it is one is not protected
            # by the hash that gives the event its name.
            invite = decode_pdu(room.build("m.room.member", ALICE, {"membership": "invite"}, CAROL))
            invite["content"] |= {"third_party_invite": {}}
            invite["signatures"] = {}
            if "event_id" in invite:
                invite["event_id"] = "$mine:two.example"
                signed = sign_event(parse_event(invite, room.rules), make_signer("two.example"))
                invite = decode_pdu(signed)
            self.failure(self.result_of_check(invite, room), InvalidSignature)
            checked = self.result(self.check.check_many([invite], room.rules, str(room.room_id)))
            self.assertEqual(checked, {})

    def test_wrong_format_is_dropped(self) -> None:
        room = given_room("12")
        pdu = decode_pdu(room.say(ALICE))
        deep: Any = []
        for _ in range(3000):
            deep = [deep]
        for wrong in (
            None,
            {**pdu, "content": {"deep": deep}},
            {**pdu, "content": {"body": "x" * 70_000}},
            {**pdu, "depth": 2**53},
            {**pdu, "depth": -1},
            {**pdu, "room_id": "!other"},
            {**pdu, "prev_events": [f"${number}" for number in range(21)]},
            {**pdu, "auth_events": [f"${number}" for number in range(11)]},
        ):
            self.failure(self.result_of_check(wrong, room), InvalidEvent)
        self.result(self.result_of_check(pdu, room))

    def assert_same(self, room: RoomBuilder) -> None:
        for _ in range(2):
            live = self.room(str(room.room_id))
            self.assertEqual(dict(live.state.entries), dict(room.state))
            self.assertEqual({head.event_id for head in live.heads}, set(room.heads))
            self.open()


class SqliteReceivePduTests(SqliteStorage, ReceivePduTests, SynchronousTestCase):
    pass


class PostgresReceivePduTests(PostgresStorage, ReceivePduTests, SynchronousTestCase):
    pass
