"""What goes to which server, and what happens to it when a server does not answer."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from federation.sending.batch import Batches
from federation.sending.deliveries import Deliveries, SendingTools
from federation.sending.destination_queue import MAX_EVENTS, State
from federation.sending.device_changes import DeviceChanges
from federation.sending.ephemeral import EphemeralEdus, SharingServers
from federation.sending.own_devices import OwnDevices
from federation.sending.room_servers import RoomServers
from federation.sending.sender import Position, Sender, SenderSources
from federation.transport.errors import HttpRefusal, NotFederated, Unreachable
from storage.destinations import (
    DestinationBack,
    DestinationFailed,
    DestinationsRepository,
    FailingDestination,
)
from storage.followers import FollowersRepository
from storage.log import LogRepository
from storage.memberships import MembershipsRepository
from storage.receipts import PRIVATE, PUBLIC, StoreReceipt
from storage.sending import (
    ForwardEvent,
    HoldDuty,
    SenderReplaced,
    SendingRepository,
    SendToRemoteDevices,
    TakeOver,
)
from storage.typing_notices import TypingChanged
from tests.federation.rooms.engine_case import ALICE, BOB, EngineMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage

OWN = "one.example"
X = "x.example"
Y = "y.example"
PAUSE_S = 600


class FakeServers:
    """Other servers, of which some do not answer."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, dict[str, Any]]] = []
        self.errors: dict[str, Exception] = {}
        self.held: dict[str, list[Deferred[None]]] = {}

    async def send(self, destination: str, txn_id: str, body: bytes) -> Mapping[str, Any]:
        if destination in self.held:
            waiting: Deferred[None] = Deferred()
            self.held[destination].append(waiting)
            await waiting
        if destination in self.errors:
            raise self.errors[destination]
        self.taken.append((destination, txn_id, orjson.loads(body)))
        return {"pdus": {}}

    def pdus(self, destination: str) -> list[dict[str, Any]]:
        return [pdu for name, _, body in self.taken if name == destination for pdu in body["pdus"]]

    def edus(self, destination: str) -> list[dict[str, Any]]:
        return [edu for name, _, body in self.taken if name == destination for edu in body["edus"]]

    def bodies(self, destination: str) -> list[str]:
        return [pdu["content"]["body"] for pdu in self.pdus(destination) if pdu["type"] == "m.room.message"]


class FakeJoinedRooms:
    """Reads memberships without a cache."""

    def __init__(self, case: EngineMixin) -> None:
        self._case = case

    async def joined_rooms(self, user_id: str) -> Sequence[str]:
        rows = await self._case.database.read(lambda tx: MembershipsRepository().get_of_user(tx, user_id))
        return [row.room_id for row in rows if row.membership == "join"]


class FakePauses:
    def __init__(self, case: EngineMixin) -> None:
        self._case = case

    async def find(self, destination: str) -> FailingDestination | None:
        return await self._case.database.read(lambda tx: DestinationsRepository().find(tx, destination))


class SenderMixin(EngineMixin):
    def setUp(self) -> None:
        self.others = FakeServers()
        self.clock = Clock()
        self.clock.advance(1000)
        super().setUp()

    def open(self) -> None:
        super().open()
        repository = SendingRepository()
        servers = RoomServers(self.rooms, 100)
        sharing = SharingServers(FakeJoinedRooms(self), servers)
        own_devices = OwnDevices(self.database, are_names_shown=True)
        batches = Batches(OWN, self.database, self.events, repository, servers, own_devices)
        position = Position()
        self.deliveries = Deliveries(
            OWN,
            SendingTools(
                self.others,
                FakePauses(self),
                self.database,
                self.committer,
                self.clock,
                repository,
                servers,
                sharing,
                batches,
            ),
            position,
        )
        sources = SenderSources(
            self.log,
            self.database,
            self.committer,
            self.clock,
            self.events,
            servers,
            sharing,
            EphemeralEdus(OWN, servers, sharing, lambda: 5_000),
            DeviceChanges(OWN, self.database, are_names_shown=True),
            LogRepository(),
            FollowersRepository(),
        )
        self.sender = Sender(OWN, sources, self.deliveries, position)
        self.sender.start()
        self.turn()
        self.addCleanup(self.close_sender, self.sender)  # type: ignore[attr-defined]

    def turn(self) -> None:
        """Let the sender see what was committed."""
        for _ in range(3):
            self.clock.advance(0)

    def close_sender(self, sender: Sender) -> None:
        if sender is self.sender:
            self.result(sender.stop())

    def restart(self) -> None:
        self.result(self.sender.stop())
        self.open()

    def crash(self) -> None:
        """As `restart`, without a chance to write anything down."""
        self.log.unfollow(self.sender._hear)
        calls: Sequence[Any] = self.clock.getDelayedCalls()
        for call in calls:
            call.cancel()
        self.open()

    def given_shared_room(self, *servers: str) -> str:
        room_id = self.given_room()
        for server in servers:
            self.given_remote_member(room_id, f"@remote:{server}")
        self.turn()
        return room_id

    def given_remote_member(self, room_id: str, user_id: str) -> None:
        """The engine signs for its own server whoever the sender is: enough for this."""
        self.join(room_id, user_id)

    def say(self, room_id: str, text: str) -> str:
        event_id = self.send(room_id, ALICE, text)
        self.turn()
        return event_id

    def given_down(self, destination: str) -> None:
        self.others.errors[destination] = Unreachable(destination, "no route")
        row = FailingDestination(destination, 0, int((self.clock.seconds() + PAUSE_S) * 1000), PAUSE_S * 1000)
        self.result(self.committer.commit(DestinationFailed(row)))

    def recover(self, destination: str) -> None:
        del self.others.errors[destination]
        self.result(self.committer.commit(DestinationBack(destination)))
        self.turn()


class SenderTests(SenderMixin):
    def test_message_goes_to_each_server_in_the_room_once(self) -> None:
        room_id = self.given_shared_room(X, Y)
        self.given_remote_member(room_id, f"@other:{X}")
        self.say(room_id, "hello")
        self.assertEqual((self.others.bodies(X), self.others.bodies(Y)), (["hello"], ["hello"]))
        self.assertEqual({name for name, _, _ in self.others.taken}, {X, Y})

    def test_event_of_another_server_is_not_sent(self) -> None:
        room_id = self.given_shared_room(X, Y)
        self.send(room_id, f"@remote:{X}", "from x")
        self.turn()
        self.assertEqual(self.others.bodies(Y), [])

    def test_event_that_is_forwarded_goes_to_others_than_its_origin(self) -> None:
        room_id = self.given_shared_room(X, Y)
        event_id = self.send(room_id, f"@remote:{X}", "from x")
        self.result(self.committer.commit(ForwardEvent(room_id, event_id)))
        self.turn()
        self.assertEqual((self.others.bodies(X), self.others.bodies(Y)), ([], ["from x"]))

    def test_kick_is_told_to_the_server_that_leaves_and_later_messages_are_not(self) -> None:
        room_id = self.given_shared_room(X)
        self.say(room_id, "before")
        self.set_state(room_id, ALICE, "m.room.member", f"@remote:{X}", {"membership": "leave"})
        self.turn()
        self.say(room_id, "after")
        self.assertEqual(self.others.bodies(X), ["before"])
        self.assertEqual(self.others.pdus(X)[-1]["content"]["membership"], "leave")

    def test_server_that_joins_gets_nothing_of_before(self) -> None:
        room_id = self.given_room()
        self.send(room_id, ALICE, "before")
        self.given_remote_member(room_id, f"@remote:{X}")
        self.turn()
        self.say(room_id, "after")
        self.assertEqual(self.others.bodies(X), ["after"])

    def test_invite_is_told_to_the_server_of_the_invited(self) -> None:
        room_id = self.given_shared_room()
        self.set_state(room_id, ALICE, "m.room.member", f"@guest:{Y}", {"membership": "invite"})
        self.turn()
        self.assertEqual([pdu["state_key"] for pdu in self.others.pdus(Y)], [f"@guest:{Y}"])

    def test_one_transaction_is_under_way_and_the_rest_follows_in_order(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.held[X] = []
        for number in range(60):
            self.say(room_id, str(number))
        (first,) = self.others.held[X]
        del self.others.held[X]
        first.callback(None)
        self.assertEqual(self.others.bodies(X), [str(number) for number in range(60)])
        sizes = [len(body["pdus"]) for name, _, body in self.others.taken if name == X]
        self.assertEqual(sizes[-3:], [1, 50, 9])

    def test_idle_destinations_take_no_memory(self) -> None:
        room_id = self.given_shared_room(X, Y)
        self.say(room_id, "hello")
        self.assertEqual(len(self.deliveries), 0)

    def test_transaction_ids_are_never_repeated(self) -> None:
        room_id = self.given_shared_room(X)
        for text in ("a", "b"):
            self.say(room_id, text)
            self.restart()
            self.say(room_id, text)
        ids = [txn_id for _, txn_id, _ in self.others.taken]
        self.assertEqual(len(ids), len(set(ids)))

    def test_server_that_is_back_gets_the_latest_of_each_room(self) -> None:
        one, other = self.given_shared_room(X), self.given_shared_room(X)
        self.say(one, "delivered")
        self.given_down(X)
        for number in range(10):
            self.say(one, f"one {number}")
            self.say(other, f"other {number}")
        self.assertEqual(self.deliveries.state_of(X), State.BACKING_OFF)
        self.recover(X)
        self.assertEqual(self.others.bodies(X), ["delivered", "one 9", "other 9"])
        self.assertEqual(self.deliveries.state_of(X), State.IDLE)
        self.say(one, "live again")
        self.assertEqual(self.others.bodies(X)[-1], "live again")

    def test_pause_ends_by_itself(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        self.say(room_id, "missed")
        del self.others.errors[X]
        self.clock.advance(PAUSE_S - 1)
        self.assertEqual(self.others.bodies(X), [])
        self.clock.advance(1)
        self.assertEqual(self.others.bodies(X), ["missed"])

    def test_dead_server_has_one_timer_and_an_empty_queue(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        for number in range(20):
            self.say(room_id, str(number))
        self.assertIsNone(self.deliveries.find_oldest())
        calls = [call for call in self.clock.getDelayedCalls() if call.args]
        self.assertEqual(len(calls), 1)

    def test_dead_server_does_not_hold_up_others(self) -> None:
        room_id = self.given_shared_room(X, Y)
        self.others.held[X] = []
        self.say(room_id, "hello")
        self.assertEqual(self.others.bodies(Y), ["hello"])

    def test_outage_survives_a_restart(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        self.say(room_id, "missed")
        self.restart()
        self.say(room_id, "missed too")
        self.assertEqual(self.deliveries.state_of(X), State.BACKING_OFF)
        self.recover(X)
        self.assertEqual(self.others.bodies(X), ["missed too"])

    def test_server_that_left_during_its_outage_learns_nothing_later(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        self.say(room_id, "missed")
        self.set_state(room_id, ALICE, "m.room.member", f"@remote:{X}", {"membership": "leave"})
        self.turn()
        self.say(room_id, "secret")
        self.recover(X)
        self.assertEqual([pdu["type"] for pdu in self.others.pdus(X)], ["m.room.member"])

    def test_crash_with_a_transaction_under_way_loses_nothing(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.held[X] = []
        self.say(room_id, "cut off")
        self.clock.advance(20)
        self.others.held.clear()
        self.crash()
        self.assertEqual(self.others.bodies(X), ["cut off"])

    def test_slow_server_is_caught_up_instead_of_filling_memory(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.held[X] = []
        for number in range(MAX_EVENTS + 20):
            self.say(room_id, str(number))
        (first,) = self.others.held.pop(X)
        first.callback(None)
        self.turn()
        bodies = self.others.bodies(X)
        self.assertEqual(bodies[-1], str(MAX_EVENTS + 19))
        self.assertLess(len(bodies), 60)
        self.assertEqual(len(self.deliveries), 0)

    def test_server_that_refuses_is_asked_again_later(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.errors[X] = HttpRefusal(X, 403, {"errcode": "M_FORBIDDEN"})
        self.say(room_id, "refused")
        del self.others.errors[X]
        self.clock.advance(60)
        self.assertEqual(self.others.bodies(X), ["refused"])

    def test_server_that_is_not_talked_to_is_forgotten(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.errors[X] = NotFederated(X, "not whitelisted")
        self.say(room_id, "hello")
        self.assertEqual(len(self.deliveries), 0)
        self.assertEqual(self.read(SendingRepository().get_lagging), [])

    def test_older_sender_may_write_nothing_any_more(self) -> None:
        self.result(self.committer.commit(TakeOver()))
        self.failure(self.committer.commit(HoldDuty(1)), SenderReplaced)

    def test_replaced_sender_stops(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        self.result(self.committer.commit(TakeOver()))
        self.say(room_id, "hello")
        self.others.errors.clear()
        self.clock.advance(PAUSE_S * 10)
        self.assertEqual(self.others.bodies(X), [])


class MessagesToDevicesTests(SenderMixin):
    def message(self, destination: str, text: str) -> None:
        content = {"sender": ALICE, "type": "m.test", "messages": {f"@r:{destination}": {"D": {"t": text}}}}
        self.result(self.committer.commit(SendToRemoteDevices(((destination, orjson.dumps(content)),))))
        self.turn()

    def texts(self, destination: str) -> list[str]:
        return [
            edu["content"]["messages"][f"@r:{destination}"]["D"]["t"] for edu in self.others.edus(destination)
        ]

    def test_message_is_sent_once(self) -> None:
        self.message(X, "hello")
        self.restart()
        self.assertEqual(self.texts(X), ["hello"])
        self.assertEqual(self.others.edus(X)[0]["edu_type"], "m.direct_to_device")

    def test_messages_wait_for_a_server_and_keep_their_ids(self) -> None:
        self.given_down(X)
        for number in range(120):
            self.message(X, str(number))
        self.restart()
        self.recover(X)
        self.assertEqual(self.texts(X), [str(number) for number in range(120)])
        ids = {edu["content"]["message_id"] for edu in self.others.edus(X)}
        self.assertEqual(len(ids), 120)
        self.assertLessEqual(max(map(len, ids)), 32)

    def test_messages_go_beside_events_and_are_not_starved_while_catching_up(self) -> None:
        rooms = [self.given_shared_room(X) for _ in range(60)]
        self.given_down(X)
        for room_id in rooms:
            self.say(room_id, "missed")
        self.message(X, "hello")
        self.recover(X)
        first = next(body for name, _, body in self.others.taken if name == X and body["edus"])
        self.assertEqual(len(first["pdus"]), 50)
        self.assertEqual(self.texts(X), ["hello"])
        self.assertEqual(len(self.others.bodies(X)), 60)


class EphemeralTests(SenderMixin):
    def told(self, destination: str, edu_type: str) -> list[dict[str, Any]]:
        return [edu["content"] for edu in self.others.edus(destination) if edu["edu_type"] == edu_type]

    def test_typing_of_own_users_is_told(self) -> None:
        room_id = self.given_shared_room(X)
        for users in ((ALICE, f"@remote:{X}"), (f"@remote:{X}",)):
            self.result(self.committer.commit(TypingChanged(room_id, users)))
            self.turn()
        self.assertEqual(
            self.told(X, "m.typing"),
            [{"room_id": room_id, "user_id": ALICE, "typing": typing} for typing in (True, False)],
        )

    def test_public_receipt_is_told_and_a_private_one_is_not(self) -> None:
        room_id = self.given_shared_room(X)
        event_id = self.say(room_id, "hello")
        for kind in (PRIVATE, PUBLIC):
            self.result(self.committer.commit(StoreReceipt(room_id, ALICE, kind, "main", event_id, 1, 4_000)))
            self.turn()
        read = {ALICE: {"data": {"ts": 4_000, "thread_id": "main"}, "event_ids": [event_id]}}
        self.assertEqual(self.told(X, "m.receipt"), [{room_id: {"m.read": read}}])

    def test_only_the_newest_of_what_waits_is_told(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.held[X] = []
        self.say(room_id, "hello")
        for users in ((ALICE,), (), (ALICE,), (ALICE, BOB)):
            self.result(self.committer.commit(TypingChanged(room_id, users)))
            self.turn()
        (first,) = self.others.held.pop(X)
        first.callback(None)
        told = self.told(X, "m.typing")
        self.assertEqual([(one["user_id"], one["typing"]) for one in told], [(ALICE, True), (BOB, True)])

    def test_what_passes_is_not_kept_for_a_dead_server(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        self.say(room_id, "missed")
        self.result(self.committer.commit(TypingChanged(room_id, (ALICE,))))
        self.turn()
        self.recover(X)
        self.assertEqual(self.told(X, "m.typing"), [])


class SqliteSenderTests(SqliteStorage, SenderTests, SynchronousTestCase): ...


class PostgresSenderTests(PostgresStorage, SenderTests, SynchronousTestCase): ...


class SqliteMessagesToDevicesTests(SqliteStorage, MessagesToDevicesTests, SynchronousTestCase): ...


class PostgresMessagesToDevicesTests(PostgresStorage, MessagesToDevicesTests, SynchronousTestCase): ...


class SqliteEphemeralTests(SqliteStorage, EphemeralTests, SynchronousTestCase): ...
