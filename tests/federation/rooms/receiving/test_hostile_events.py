"""Events that nobody honest sends: nothing is accepted that should not be, nothing crashes, other rooms go on."""

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import Event, EventTemplate, InvalidEvent, build_event, decode_pdu, parse_event
from federation.room_dag.event_format import max_depth
from federation.room_dag.identifiers import domain_of
from federation.room_dag.room_versions import EventIdFormat, UnknownRoomVersion, get_room_rules
from federation.rooms.accept_event import MissingEvents, Verdict
from federation.rooms.receiving.fetch_missing import StateUnavailable
from federation.transport.errors import FederationError
from tests.federation.room_dag.builders import ALICE, BOB, RoomBuilder, given_room, make_signer
from tests.federation.rooms.receiving.remote_case import ReceivingMixin
from tests.storage.storage_case import SqliteStorage

TWO = "two.example"
FUTURE_MS = 4_000_000_000_000_000
OLD, NEW = "5", "12"


class HostileEventsTests(ReceivingMixin):
    def given_known(self, version: str, creator: str = ALICE, name: str = "room") -> RoomBuilder:
        """A room with Bob that this server takes part in, and that the other server tells of."""
        room = given_room(version, creator) if name == "room" else _named_room(version, creator, name)
        room.join(BOB)
        self.given_taken(room)
        for event in list(room.events.by_id.values())[1:]:
            self.result(self.accept_event.accept(event))
        server = self.given_server(room)
        # It knows nothing more than it sent.
        server.lies["event_auth"] = {"auth_chain": []}
        server.lies["get_missing_events"] = {"events": []}
        server.lies["state_ids"] = {"pdu_ids": [], "auth_chain_ids": []}
        if name == "room":
            self.other = self.given_room()
        return room

    def receive(self, event: Event) -> Verdict:
        return self.result(self.receive_pdu.receive(TWO, event))

    def assert_goes_on(self, room: RoomBuilder) -> None:
        """Both servers can still write, in this room and in others."""
        room_id = str(room.room_id)
        before = dict(self.room(room_id).state.entries)
        self.send(room_id, ALICE, "still here")
        self.send(self.other, "@alice:one.example", "here too")
        self.open()
        self.assertEqual(dict(self.room(room_id).state.entries), before)

    def test_clocks_of_others_are_their_own_business(self) -> None:
        for version in (OLD, NEW):
            for timestamp in (0, FUTURE_MS):
                self.setUp()
                room = self.given_known(version)
                event = room.say(BOB, timestamp=timestamp)
                self.assertIs(self.receive(event), Verdict.ACCEPTED)
                self.assert_goes_on(room)

    def test_timestamps_that_are_no_time_are_dropped(self) -> None:
        room = given_room(NEW)
        pdu = decode_pdu(room.say(ALICE))
        for wrong in (2**53, -(2**53), 1.5, "1", None, True):
            with self.assertRaises(InvalidEvent):
                parse_event({**pdu, "origin_server_ts": wrong}, room.rules)

    def test_depth_is_only_a_number(self) -> None:
        for version in (OLD, NEW):
            self.setUp()
            room = self.given_known(version)
            limit = max_depth(room.rules)
            event = _resigned(room, room.build("m.room.message", BOB, {"body": "deep"}), depth=limit)
            self.assertIs(self.receive(event), Verdict.ACCEPTED)
            # What follows has no greater depth to take, and takes the same.
            stored = self.result(self.events.find(self.send(str(room.room_id), ALICE, "on top")))
            assert stored is not None
            self.assertEqual(stored.event.depth, limit)
            self.assertEqual(parse_event(decode_pdu(stored.event), room.rules), stored.event)
            self.assert_goes_on(room)
            low = _resigned(room, room.build("m.room.message", BOB, {"body": "low"}), depth=0)
            self.assertIs(self.receive(low), Verdict.ACCEPTED)
            self.assert_goes_on(room)

    def test_depths_out_of_range_are_dropped(self) -> None:
        for version, wrong in (OLD, (2**63, -1, 1.5, "1")), (NEW, (2**53, 2**63 - 1, -1, 1.5, "1", None)):
            room = given_room(version)
            pdu = decode_pdu(room.say(ALICE))
            for depth in wrong:
                with self.assertRaises(InvalidEvent):
                    parse_event({**pdu, "depth": depth}, room.rules)

    def test_too_many_references_are_dropped(self) -> None:
        room = given_room(NEW)
        pdu = decode_pdu(room.say(ALICE))
        for key, most in ("prev_events", 20), ("auth_events", 10):
            ids = [f"${number:043}" for number in range(most + 1)]
            parse_event({**pdu, key: ids[:most]}, room.rules)
            with self.assertRaises(InvalidEvent):
                parse_event({**pdu, key: ids}, room.rules)

    def test_prev_event_named_twice_is_one(self) -> None:
        room = self.given_known(NEW)
        event = room.build("m.room.topic", ALICE, {"topic": "t"}, "")
        twice = _resigned(room, event, prev_events=[*event.prev_events, *event.prev_events])
        self.assertIs(self.receive(twice), Verdict.ACCEPTED)
        self.assertEqual([head.event_id for head in self.room(str(room.room_id)).heads], [twice.event_id])
        self.assert_goes_on(room)

    def test_event_that_stands_on_nothing_is_rejected(self) -> None:
        for version in (OLD, NEW):
            self.setUp()
            room = self.given_known(version)
            for sender in (ALICE, BOB):
                rootless = _resigned(room, room.build("m.room.message", sender, {}), prev_events=[])
                self.assertIs(self.receive(rootless), Verdict.REJECTED)
            self.assert_goes_on(room)

    def test_room_is_created_once(self) -> None:
        for version in ("1", OLD, "11"):
            self.setUp()
            room = self.given_known(version)
            content = {"room_version": version, "creator": ALICE, "again": 1}
            template = EventTemplate(
                "m.room.create", ALICE, str(room.room_id), "", content, 1, 1, (), (), None, {}
            )
            again = build_event(template, room.rules, make_signer("one.example"), "again")
            self.assertIs(self.receive(again), Verdict.REJECTED)
            self.assertEqual(self.room(str(room.room_id)).state.find("m.room.create"), room.create.event_id)
            self.assert_goes_on(room)

    def test_second_beginning_of_the_room_is_not_believed(self) -> None:
        """The server that made a room could write any number of create events for it before version 12."""
        for version in (OLD, "11"):
            self.setUp()
            room = given_room(version, BOB)
            room.join(ALICE)
            room.set_power_levels(BOB, {ALICE: 100})
            self.given_taken(room)
            for event in list(room.events.by_id.values())[1:]:
                self.result(self.accept_event.accept(event))
            self.other = self.given_room()
            # Bob gave his power away. In another beginning he never did.
            made = (given_room(version, BOB, again=number) for number in range(100))
            again = next(each for each in made if each.create.event_id > room.create.event_id)
            self.assertEqual(again.room_id, room.room_id)
            missing = again.say(BOB)
            server = self.given_server(again)
            server.hidden.add(missing.event_id)
            self.refused(again.append("m.room.topic", BOB, {"topic": "mine"}, ""))
            # Also if what is known of the room is named as well.
            both = again.build("m.room.topic", BOB, {"topic": "mine"}, "")
            hashes = dict.fromkeys((*both.prev_events, *both.auth_events, *room.heads), "A" * 43)
            prev_events = [missing.event_id, *room.heads]
            event = _resigned(again, both, prev_events=prev_events, reference_hashes=hashes)
            again.events.by_id[event.event_id] = event
            again._state_after[event.event_id] = again.state
            server.lies["state_ids"] = {"pdu_ids": list(again.state.values()), "auth_chain_ids": []}
            self.refused(event)
            self.assertEqual(self.room(str(room.room_id)).state.find("m.room.create"), room.create.event_id)
            self.assert_goes_on(room)

    def test_nobody_without_a_server_is_a_member(self) -> None:
        for version in (OLD, NEW):
            self.setUp()
            room = self.given_known(version)
            for target in ("", "x", "@x", "@x:"):
                for membership in ("invite", "ban", "leave"):
                    event = room.build("m.room.member", ALICE, {"membership": membership}, target)
                    self.refused(event)
            self.assert_goes_on(room)

    def test_creator_without_a_server_does_not_join(self) -> None:
        room = RoomBuilder("10", BOB, {"creator": "nobody"})
        self.given_taken(room)
        self.other = self.given_room()
        self.given_server(room)
        self.refused(room.build("m.room.member", BOB, {"membership": "join"}, "nobody"))

    def test_auth_events_of_another_room_are_rejected(self) -> None:
        for version in (OLD, "11", NEW):
            self.setUp()
            # In his own room Bob may do anything.
            other = self.given_known(version, BOB, "other")
            room = self.given_known(version)
            topic = room.build("m.room.topic", BOB, {"topic": "mine"}, "")
            stolen = _resigned(room, topic, auth_events=other.build("m.room.topic", BOB, {}, "").auth_events)
            self.assertIs(self.receive(stolen), Verdict.REJECTED)
            self.assertIsNone(self.room(str(room.room_id)).state.find("m.room.topic"))
            self.assert_goes_on(room)

    def test_prev_events_of_another_room_give_nothing(self) -> None:
        other = self.given_known(NEW, BOB, "other")
        room = self.given_known(NEW)
        foreign = _resigned(
            room, room.build("m.room.topic", BOB, {"topic": "mine"}, ""), prev_events=other.heads
        )
        self.refused(foreign)
        self.assertIsNone(self.room(str(room.room_id)).state.find("m.room.topic"))
        self.assert_goes_on(room)

    def test_prev_events_of_another_room_beside_those_of_the_room_give_nothing(self) -> None:
        for version in ("1", OLD, "11", NEW):
            self.setUp()
            # In his own room Bob may do anything, and things happen there that never did in this one.
            other = self.given_known(version, BOB, "other")
            self.result(self.accept_event.accept(other.append("m.room.topic", BOB, {"topic": "theirs"}, "")))
            self.result(self.accept_event.accept(other.join("@eve:two.example")))
            room = self.given_known(version)
            message = room.build("m.room.message", BOB, {"body": "both"})
            prev_events = [*room.heads, *other.heads]
            hashes = dict.fromkeys((*prev_events, *message.auth_events), "A" * 43)
            both = _resigned(room, message, prev_events=prev_events, reference_hashes=hashes)
            self.refused(both)
            self.assert_goes_on(room)

    def test_event_that_is_its_own_auth_or_prev_event_is_not_taken(self) -> None:
        # Only with event IDs of the sender's choice is that possible at all.
        for version in ("1", "2"):
            for key in ("auth_events", "prev_events"):
                self.setUp()
                room = self.given_known(version)
                event = room.build("m.room.message", BOB, {"body": "me"})
                pdu = decode_pdu(event)
                pdu[key] = [*pdu[key], [event.event_id, {"sha256": "A" * 43}]]
                self.refused(_signed(room, pdu))
                self.assert_goes_on(room)

    def test_cycles_are_not_taken(self) -> None:
        for key in ("auth_events", "prev_events"):
            self.setUp()
            room = self.given_known("1")
            pdus = [decode_pdu(room.build("m.room.message", BOB, {"body": str(number)})) for number in (1, 2)]
            for pdu, named in zip(pdus, reversed(pdus), strict=True):
                pdu[key] = [*pdu[key], [named["event_id"], {"sha256": "A" * 43}]]
            events = [_signed(room, pdu) for pdu in pdus]
            server = self.given_server(room)
            whole = [decode_pdu(event) for event in events]
            server.lies["get_missing_events"] = {"events": whole}
            server.lies["event_auth"] = {"auth_chain": whole}
            server.lies["state_ids"] = {"pdu_ids": [event.event_id for event in events], "auth_chain_ids": []}
            for event in events:
                self.refused(event)
            self.assert_goes_on(room)

    def test_auth_events_that_do_not_exist_are_asked_for_and_then_it_is_over(self) -> None:
        room = self.given_known(NEW)
        event = room.build("m.room.topic", ALICE, {"topic": "t"}, "")
        self.refused(_resigned(room, event, auth_events=["$" + "A" * 43]))
        self.assert_goes_on(room)

    def test_same_auth_event_twice_is_rejected(self) -> None:
        room = self.given_known(NEW)
        event = room.build("m.room.topic", ALICE, {"topic": "t"}, "")
        twice = _resigned(room, event, auth_events=[*event.auth_events, event.auth_events[0]])
        self.assertIs(self.receive(twice), Verdict.REJECTED)
        self.assert_goes_on(room)

    def test_unknown_room_version_has_no_rules(self) -> None:
        for version in ("", "13", "org.example", "1 "):
            with self.assertRaises(UnknownRoomVersion):
                get_room_rules(version)

    def refused(self, event: Event) -> None:
        """What it stands on cannot be had, or the rules do not allow it: it has no place in the room."""
        room_id = event.room_id
        before = dict(self.room(room_id).state.entries)
        try:
            verdict = self.receive(event)
        except self.failureException:
            self.failure(
                self.receive_pdu.receive(TWO, event), MissingEvents, StateUnavailable, FederationError
            )
        else:
            self.assertIs(verdict, Verdict.REJECTED)
        self.assertEqual(dict(self.room(room_id).state.entries), before)
        self.assertNotIn(event.event_id, [head.event_id for head in self.room(room_id).heads])


def _named_room(version: str, creator: str, name: str) -> RoomBuilder:
    room = RoomBuilder(version, creator, {"name": name}, name)
    room.join(creator)
    room.append("m.room.join_rules", creator, {"join_rule": "public"}, "")
    return room


def _resigned(room: RoomBuilder, event: Event, **changes: Any) -> Event:
    """The event as its server would have signed it with something else in it."""
    template = EventTemplate(
        event.type,
        event.sender,
        None if event.type == "m.room.create" and room.rules.room_id_is_create_hash else event.room_id,
        event.state_key,
        event.content,
        event.origin_server_ts,
        event.depth,
        event.prev_events,
        event.auth_events,
        None,
        dict.fromkeys((*event.prev_events, *event.auth_events), "A" * 43),
    )
    return build_event(replace(template, **changes), room.rules, make_signer(domain_of(event.sender)), "x")


def _signed(room: RoomBuilder, pdu: dict[str, Any]) -> Event:
    """A PDU of room versions 1 and 2 that was changed, as an event; its signature is not looked at here."""
    assert room.rules.event_id_format is EventIdFormat.LOCALPART_AND_DOMAIN
    return parse_event(pdu, room.rules)


class SqliteHostileEventsTests(SqliteStorage, HostileEventsTests, SynchronousTestCase):
    pass
