"""Events from elsewhere: any order of delivery ends in the same room, in memory and on disk."""

import random

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import Event
from federation.room_dag.room_versions import ROOM_VERSIONS
from federation.rooms.accept_event import AcceptEvent, MissingEvents, Verdict
from federation.rooms.outcomes import NoPushOutcomes
from federation.rooms.policy.ask_policy_server import NoPolicyServers
from federation.rooms.take_room import TakeRoom
from storage.memberships import MembershipsRepository
from tests.federation.room_dag.builders import ALICE, BOB, CAROL, DAVE, RoomBuilder, given_room
from tests.federation.rooms.engine_case import EngineMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage


class AcceptEventTests(EngineMixin):
    rounds = 12

    def open(self) -> None:
        super().open()
        self.accept_event = AcceptEvent(
            self.rooms, self.events, self.database, self.committer, NoPushOutcomes(), NoPolicyServers()
        )
        self.take_room = TakeRoom(self.rooms, self.events, self.committer)

    def accept(self, event: Event) -> Verdict:
        return self.result(self.accept_event.accept(event))

    def given_taken(self, room: RoomBuilder) -> None:
        """Take part in the room from its create event on."""
        self.result(self.take_room.take(room.rules, room.create, {}, ()))

    def test_linear_room_is_taken_over(self) -> None:
        for version in ROOM_VERSIONS:
            self.setUp()
            room = given_room(version)
            room.join(BOB)
            room.say(BOB)
            self.given_taken(room)
            for event in _in_order(room)[1:]:
                self.assertIs(self.accept(event), Verdict.ACCEPTED)
            self._assert_same(room)

    def test_event_with_unknown_prev_events_waits_for_them(self) -> None:
        room = given_room("12")
        first, second = room.say(ALICE), room.say(ALICE)
        self.given_taken(room)
        events = _in_order(room)
        for event in events[1:-2]:
            self.accept(event)
        error = self.failure(self.accept_event.accept(second), MissingEvents)
        assert isinstance(error, MissingEvents)
        self.assertEqual(error.prev_events, {first.event_id})
        self.assertIs(self.accept(first), Verdict.ACCEPTED)
        self.assertIs(self.accept(second), Verdict.ACCEPTED)
        self.assertIs(self.accept(second), Verdict.KNOWN)

    def test_rejected_event_changes_nothing(self) -> None:
        room = given_room("12")
        room.join(BOB)
        topic = room.append("m.room.topic", BOB, {"topic": "mine"}, "")
        self.assertIn(topic.event_id, room.rejected)
        room.say(BOB)
        self.given_taken(room)
        verdicts = {event.event_id: self.accept(event) for event in _in_order(room)[1:]}
        self.assertIs(verdicts[topic.event_id], Verdict.REJECTED)
        self._assert_same(room)

    def test_message_on_an_old_branch_of_a_banned_user_is_soft_failed(self) -> None:
        room = given_room("12")
        joined = room.join(BOB)
        room.set_membership(ALICE, BOB, "ban")
        late = room.build("m.room.message", BOB, {"body": "late"}, prev=[joined])
        self.given_taken(room)
        for event in _in_order(room)[1:]:
            self.accept(event)
        self.assertIs(self.accept(late), Verdict.SOFT_FAILED)
        heads = [head.event_id for head in self.room(str(room.room_id)).heads]
        self.assertNotIn(late.event_id, heads)

    def test_this_server_writes_over_a_fork(self) -> None:
        room = given_room("12")
        base = room.join(BOB)
        left = room.say(BOB, prev=[base])
        right = room.append("m.room.topic", ALICE, {"topic": "t"}, "", prev=[base])
        self.given_taken(room)
        for event in _in_order(room)[1:]:
            self.accept(event)
        event_id = self.send(str(room.room_id), ALICE, "over both")
        stored = self.result(self.events.find(event_id))
        assert stored is not None
        self.assertEqual(set(stored.event.prev_events), {left.event_id, right.event_id})
        self.assertEqual(len(self.room(str(room.room_id)).heads), 1)
        self.open()
        self.assertEqual(self.room(str(room.room_id)).state.find("m.room.topic"), right.event_id)

    def test_any_order_of_delivery_ends_in_the_same_state(self) -> None:
        for seed in range(self.rounds):
            chance = random.Random(seed)
            version = chance.choice(list(ROOM_VERSIONS))
            room = _forked_room(version, chance)
            for order in range(2):
                self.setUp()
                self.given_taken(room)
                for event in _shuffled(room, random.Random(100 * seed + order)):
                    self.accept(event)
                    if chance.random() < 0.1:
                        self.open()
                self._assert_same_as_resolved(room, f"seed {seed}, version {version}, order {order}")

    def _assert_same(self, room: RoomBuilder) -> None:
        for _ in range(2):
            live = self.room(str(room.room_id))
            self.assertEqual(dict(live.state.entries), dict(room.state))
            self.assertEqual({head.event_id for head in live.heads}, set(room.heads))
            self.open()

    def _assert_same_as_resolved(self, room: RoomBuilder, case: str) -> None:
        """The state is the resolution of what this server holds for heads; tables and memory agree."""
        room_id = str(room.room_id)
        live = self.room(room_id)
        heads = {head.event_id for head in live.heads}
        self.assertEqual(dict(live.state.entries), dict(room.state_before(sorted(heads))), case)
        before = (heads, dict(live.state.entries), dict(live.state.memberships))
        for user_id, membership in live.state.memberships.items():
            member = room.events.get(live.state.entries["m.room.member", user_id])
            self.assertEqual(member.membership, membership, case)
        rows = self.read(lambda tx: MembershipsRepository().get_of_room(tx, room_id))
        by_table = {row.user_id: row.membership for row in rows}
        self.assertEqual({user: by_table.get(user) for user in live.state.memberships}, before[2], case)
        self.open()
        live = self.room(room_id)
        self.assertEqual(
            ({head.event_id for head in live.heads}, dict(live.state.entries), dict(live.state.memberships)),
            before,
        )


def _in_order(room: RoomBuilder) -> list[Event]:
    return list(room.events.by_id.values())


def _shuffled(room: RoomBuilder, chance: random.Random) -> list[Event]:
    """All events but the create event, each after those that it stands on, otherwise in any order."""
    waiting = {event.event_id: event for event in _in_order(room)[1:]}
    delivered = {room.create.event_id}
    order = []
    while waiting:
        ready = [
            event
            for event in waiting.values()
            if delivered.issuperset((*event.prev_events, *event.auth_events))
        ]
        event = chance.choice(sorted(ready, key=lambda each: each.event_id))
        order.append(event)
        delivered.add(event.event_id)
        del waiting[event.event_id]
    return order


def _forked_room(version: str, chance: random.Random) -> RoomBuilder:
    """A room in which four users of three servers act without seeing each other."""
    users = (ALICE, BOB, CAROL, DAVE)
    room = given_room(version)
    for user in users[1:]:
        room.join(user)
    recent = [room.events.get(room.heads[0])]
    for number in range(18):
        prev = chance.sample(recent, min(len(recent), chance.choice((1, 1, 2))))
        sender, target = chance.choice(users), chance.choice(users)
        match chance.randrange(7):
            case 0:
                event = room.append("m.room.topic", sender, {"topic": str(number)}, "", prev=prev)
            case 1:
                levels = {user: chance.choice((0, 50, 100)) for user in users[1:]}
                if not room.rules.privileged_creators:
                    levels[ALICE] = 100
                event = room.set_power_levels(sender, levels, prev=prev)
            case 2:
                event = room.set_membership(sender, target, "ban", prev=prev)
            case 3:
                event = room.set_membership(sender, target, "leave", prev=prev)
            case 4:
                event = room.join(sender, prev=prev)
            case 5:
                event = room.append(
                    "m.room.join_rules",
                    sender,
                    {"join_rule": chance.choice(("public", "invite"))},
                    "",
                    prev=prev,
                )
            case _:
                event = room.say(sender, prev=prev)
        if event.event_id not in room.rejected:
            recent = [*recent[-3:], event]
    return room


class SqliteAcceptEventTests(SqliteStorage, AcceptEventTests, SynchronousTestCase):
    pass


class PostgresAcceptEventTests(PostgresStorage, AcceptEventTests, SynchronousTestCase):
    rounds = 3


class SmallCacheAcceptEventTests(SqliteStorage, AcceptEventTests, SynchronousTestCase):
    """Nothing stays in memory: everything is read again each time."""

    rounds = 5
    live_rooms = 1
    cached_events = 1
