"""Events in the order of their auth events."""

import random

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.room_versions import ROOM_VERSIONS
from federation.rooms.receiving.auth_order import in_auth_order, judge_by_auth_events
from tests.federation.room_dag.builders import ALICE, BOB, given_room


class AuthOrderTests(SynchronousTestCase):
    def test_any_order_of_arrival_is_judged_the_same(self) -> None:
        for version in ROOM_VERSIONS:
            room = given_room(version)
            room.join(BOB)
            bad = room.append("m.room.topic", BOB, {"topic": "mine"}, "")
            room.set_power_levels(
                ALICE, {BOB: 50} if room.rules.privileged_creators else {ALICE: 100, BOB: 50}
            )
            events = list(room.events.by_id.values())
            for seed in range(20):
                random.Random(seed).shuffle(events)
                judged = judge_by_auth_events({event.event_id: event for event in events}, {})
                self.assertEqual(set(judged.rejected), {bad.event_id}, version)
                self.assertEqual(len(judged.accepted), len(events) - 1, version)

    def test_events_without_their_auth_events_are_not_judged(self) -> None:
        for version in ROOM_VERSIONS:
            room = given_room(version)
            joined = room.join(BOB)
            judged = judge_by_auth_events({joined.event_id: joined}, {})
            self.assertEqual(judged.decided, {}, version)

    def test_order_has_auth_events_first(self) -> None:
        room = given_room("12")
        room.join(BOB)
        order = in_auth_order(dict(reversed(room.events.by_id.items())))
        seen: set[str] = set()
        for event in order:
            self.assertTrue(seen.issuperset(event.auth_events))
            seen.add(event.event_id)
        self.assertEqual(order[0], room.create)
