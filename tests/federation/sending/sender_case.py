"""A sender over an engine, and other servers that take what it sends, or do not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from federation.sending.batch import Batches
from federation.sending.deliveries import Deliveries
from federation.sending.destination_queue import QueueLimits
from federation.sending.device_changes import DeviceChanges
from federation.sending.ephemeral import EphemeralEdus, SharingServers
from federation.sending.missed import Missed
from federation.sending.newcomer_heads import NewcomerHeads
from federation.sending.own_devices import OwnDevices
from federation.sending.place import OwnPlace, SharedPlace
from federation.sending.presence_newcomers import PresenceNewcomers
from federation.sending.presence_renewal import PresenceRenewal
from federation.sending.receipt_pace import ReceiptPace
from federation.sending.refusals import Refusals
from federation.sending.room_servers import RoomServers
from federation.sending.sender import Position, Sender, SenderSources
from federation.sending.sending_duty import ALONE
from federation.sending.sending_tools import SendingTools
from federation.transport.errors import Unreachable
from storage.destinations import (
    DestinationBack,
    DestinationFailed,
    DestinationsRepository,
    FailingDestination,
)
from storage.log import LogRepository
from storage.memberships import MembershipsRepository
from storage.presence import SetPresence
from storage.receipts import PUBLIC, StoreReceipt
from synapse_like_config.federation import FederationRetries
from tests.federation.rooms.engine_case import ALICE, EngineMixin

OWN = "one.example"
X = "x.example"
Y = "y.example"
PAUSE_S = 600
RECEIPTS_PER_S = 50


class EveryEvent(dict[str, Any]):
    """The part of an answer that speaks of all events."""

    def __contains__(self, key: object) -> bool:
        return True


class FakeServers:
    """Other servers, of which some do not answer."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, dict[str, Any]]] = []
        self.errors: dict[str, Exception] = {}
        self.held: dict[str, list[Deferred[None]]] = {}
        self.judges: dict[str, Callable[[dict[str, Any]], Exception | None]] = {}
        """By destination: what is wrong with a transaction."""
        self.passing_over: set[str] = set()
        """Destinations that do not know the room, and say nothing of its events."""
        self.tries = 0

    async def send(self, destination: str, txn_id: str, body: bytes) -> Mapping[str, Any]:
        self.tries += 1
        if destination in self.held:
            waiting: Deferred[None] = Deferred()
            self.held[destination].append(waiting)
            await waiting
        if destination in self.errors:
            raise self.errors[destination]
        error = self.judges[destination](orjson.loads(body)) if destination in self.judges else None
        if error is not None:
            raise error
        self.taken.append((destination, txn_id, orjson.loads(body)))
        return {"pdus": {} if destination in self.passing_over else EveryEvent()}

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
    limits = QueueLimits(one=200)
    duty = ALONE

    def setUp(self) -> None:
        self.others = FakeServers()
        self.clock = Clock()
        self.clock.advance(1000)
        super().setUp()

    def open(self) -> None:
        super().open()
        servers = RoomServers(self.rooms, 100)
        sharing = SharingServers(FakeJoinedRooms(self), servers)
        own_devices = OwnDevices(self.database, are_names_shown=True)
        batches = Batches(OWN, self.database, self.events, servers, own_devices)
        position = Position()
        self.deliveries = Deliveries(
            OWN,
            SendingTools(
                self.others,
                FakePauses(self),
                self.database,
                self.committer,
                self.clock,
                servers,
                Missed(OWN, self.database, servers, sharing),
                batches,
                Refusals(FederationRetries(), lambda: 0.5),
                self.limits,
            ),
            position,
            self.duty,
        )
        sources = SenderSources(
            self.log,
            self.database,
            self.committer,
            self.clock,
            self.events,
            servers,
            sharing,
            EphemeralEdus(OWN, servers, sharing),
            ReceiptPace(self.clock, RECEIPTS_PER_S, self.deliveries.send_now),
            PresenceRenewal(OWN, self.database, self.clock, sharing, self.deliveries),
            NewcomerHeads(OWN, self.database, self.events, servers),
            PresenceNewcomers(OWN, self.database, servers),
            DeviceChanges(OWN, self.database, are_names_shown=True),
            LogRepository(),
            SharedPlace(self.database, self.duty) if self.duty.log else OwnPlace(self.database),
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

    def restart_with(self, limits: QueueLimits) -> None:
        self.limits = limits
        self.restart()

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

    def told(self, destination: str, edu_type: str) -> list[dict[str, Any]]:
        return [edu["content"] for edu in self.others.edus(destination) if edu["edu_type"] == edu_type]

    def pass_time(self, duration_s: float) -> None:
        self.clock.advance(duration_s)
        self.turn()

    def read_receipt(self, room_id: str, user_id: str, event_id: str, ordering: int) -> None:
        self.result(
            self.committer.commit(StoreReceipt(room_id, user_id, PUBLIC, None, event_id, ordering, 4_000))
        )
        self.turn()

    def be_online(self, user_id: str, status: str | None = None) -> None:
        self.result(self.committer.commit(SetPresence(user_id, "online", status, 900_000, True)))
        self.turn()

    def recover(self, destination: str) -> None:
        del self.others.errors[destination]
        self.result(self.committer.commit(DestinationBack(destination)))
        self.turn()
