"""What is decided without the database is decided as with it; and what a hostile sender writes is looked at closely."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import Event, EventTemplate, build_event, reference_hash_base64
from federation.room_dag.identifiers import domain_of
from federation.rooms.accept_event import AcceptEvent, Verdict
from federation.rooms.live_room import Placement
from federation.rooms.outcomes import NoPushOutcomes
from federation.rooms.place_in_memory import place_in_memory
from federation.rooms.policy.ask_policy_server import NoPolicyServers
from federation.rooms.take_room import TakeRoom
from storage.events import REJECTED
from tests.federation.room_dag.builders import ALICE, BOB, CAROL, RoomBuilder, make_signer
from tests.federation.rooms.engine_case import EngineMixin
from tests.storage.storage_case import SqliteStorage
from tests.support.forked_rooms import ForkedRoomOptions, make_forked_room

ROOMS = 4


class PlaceInMemoryTests(SqliteStorage, EngineMixin, SynchronousTestCase):
    def open(self) -> None:
        super().open()
        self.accept_event = AcceptEvent(
            self.rooms, self.events, self.database, self.committer, NoPushOutcomes(), NoPolicyServers()
        )
        self.take_room = TakeRoom(self.rooms, self.events, self.committer)

    def place(self, event: Event) -> Placement | None:
        return place_in_memory(self.room(event.room_id), event, self.find_accepted)

    def find_accepted(self, event_id: str) -> Event | None:
        stored = self.events.find_cached(event_id)
        return None if stored is None or stored.flags & REJECTED else stored.event

    def deliver(self, *events: Event) -> None:
        for event in events:
            self.result(self.accept_event.accept(event))

    def given_built(self, version: str) -> RoomBuilder:
        """A public room of Alice's, with Bob in it, here and in the builder; Carol is banned."""
        room = RoomBuilder(version, name=f"room{version}")
        create = room.create
        self.result(self.take_room.take(room.rules, create, {}, ()))
        room.join(ALICE)
        users = {} if room.rules.privileged_creators else {ALICE: 100}
        room.set_power_levels(ALICE, users, events={"m.special": 50})
        room.append("m.room.join_rules", ALICE, {"join_rule": "public"}, "")
        room.join(BOB)
        room.join(CAROL)
        room.set_membership(ALICE, CAROL, "ban")
        room.say(BOB, "the last one")
        self.deliver(*(event for event in room.events.by_id.values() if event is not create))
        return room

    def test_what_is_placed_at_once_is_accepted_by_a_close_look_too(self) -> None:
        placed = 0
        for seed in range(ROOMS):
            made = make_forked_room(seed, ForkedRoomOptions(steps=25, misbehavior=0.2))
            self.result(self.take_room.take(made.builder.rules, made.create, {}, ()))
            for event in made.events:
                if event.event_id == made.create.event_id:
                    continue
                at_once = self.place(event)
                verdict = self.result(self.accept_event.accept(event))
                if at_once is not None:
                    placed += 1
                    self.assertIs(verdict, Verdict.ACCEPTED, event.event_id)
                    self.assertEqual(
                        dict(at_once.before.entries), dict(made.builder.state_before(event.prev_events))
                    )
        self.assertGreater(placed, 0)

    def test_an_ordinary_message_is_placed_at_once_in_every_format(self) -> None:
        for version in ("1", "3", "6", "11", "12"):
            room = self.given_built(version)
            self.assertIsNotNone(self.place(room.build("m.room.message", BOB, {"body": "hello"})), version)

    def test_what_is_not_allowed_is_not_placed_at_once(self) -> None:
        for version in ("6", "11", "12"):
            room = self.given_built(version)
            for event in (
                room.build("m.room.message", CAROL, {"body": "I was banned"}),
                room.build("m.room.message", "@eve:two.example", {"body": "I never came"}),
                room.build("m.special", BOB, {"body": "more than I may"}),
                room.build("m.room.topic", BOB, {"topic": "mine"}, ""),
                room.build(
                    "m.room.message", BOB, {"m.relates_to": {"rel_type": "m.thread", "event_id": "$x"}}
                ),
            ):
                self.assertIsNone(self.place(event), (version, event.type, event.sender))

    def test_auth_events_that_do_not_belong_are_not_believed(self) -> None:
        for version in ("6", "11", "12"):
            room = self.given_built(version)
            # Bob raises himself, which is rejected; then he refers to it.
            raised = room.append("m.room.power_levels", BOB, {"users": {BOB: 100}}, "")
            self.assertIn(raised.event_id, room.rejected)
            self.deliver(raised)
            special = room.build("m.special", BOB, {})
            message = room.build("m.room.message", BOB, {})
            levels = room.find("m.room.power_levels")
            ban = room.find("m.room.member", CAROL)
            assert levels is not None and ban is not None
            with_raised = [
                raised.event_id if each == levels.event_id else each for each in special.auth_events
            ]
            for event, auth_events in (
                (special, with_raised),
                (message, [*message.auth_events, raised.event_id]),
                (message, [*message.auth_events, ban.event_id]),
                (message, [*message.auth_events, "$" + "A" * 43]),
                (message, []),
                (message, list(message.auth_events[:1])),
                (message, [*message.auth_events, message.prev_events[0]]),
            ):
                changed = self.rebuilt(room, event, auth_events)
                self.assertIsNone(self.place(changed), (version, auth_events))

    def test_who_was_banned_does_not_speak_by_a_membership_of_before(self) -> None:
        for version in ("6", "11", "12"):
            room = self.given_built(version)
            ban = room.find("m.room.member", CAROL)
            assert ban is not None
            (join,) = (
                event.event_id
                for event in room.events.by_id.values()
                if event.state_key == CAROL and event.content.get("membership") == "join"
            )
            message = room.build("m.room.message", CAROL, {"body": "I was here"})
            auth_events = [join if each == ban.event_id else each for each in message.auth_events]
            self.assertIsNone(self.place(self.rebuilt(room, message, auth_events)), version)

    def rebuilt(self, room: RoomBuilder, event: Event, auth_events: Sequence[str]) -> Event:
        """The same event with other auth events, properly signed by its server."""
        known = [each for each in (*event.prev_events, *auth_events) if each in room.events.by_id]
        hashes: dict[str, Any] = {each: reference_hash_base64(room.events.get(each)) for each in known}
        template = EventTemplate(
            type=event.type,
            sender=event.sender,
            room_id=room.room_id,
            state_key=None,
            content=event.content,
            origin_server_ts=event.origin_server_ts,
            depth=event.depth,
            prev_events=event.prev_events,
            auth_events=auth_events,
            redacts=None,
            reference_hashes=hashes,
        )
        return build_event(template, room.rules, make_signer(domain_of(event.sender)), "rebuilt")

    def test_what_stands_elsewhere_is_not_placed_at_once(self) -> None:
        room = self.given_built("11")
        first = room.find("m.room.member", BOB)
        assert first is not None
        self.assertIsNone(self.place(room.build("m.room.message", BOB, {"body": "late"}, prev=[first])))
        message = room.build("m.room.message", BOB, {"body": "hello"})
        self.assertIsNotNone(self.place(message))
        self.assertIsNone(self.place(replace(message, prev_events=())))
        self.assertIsNone(self.place(replace(message, prev_events=(*message.prev_events, first.event_id))))
        self.assertIsNone(self.place(replace(message, prev_events=("$" + "A" * 43,))))
