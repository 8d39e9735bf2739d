"""An engine that joined a room late, and everything that fetches what was before."""

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from federation.room_dag.event import Event
from federation.rooms.history.backfill import Backfill, Filled
from federation.rooms.history.judge_history import JudgeHistory
from federation.rooms.history.patience import Patience
from federation.rooms.history.place_history import PlaceHistory
from federation.rooms.history.room_holes import RoomHoles
from federation.rooms.receiving.remote import AskServers
from federation.rooms.stored_event import StoredEvent
from storage.event_rows import EventsRepository
from storage.gaps import AddGap, GapsRepository, Hole
from tests.federation.room_dag.builders import RoomBuilder
from tests.federation.rooms.receiving.remote_case import BuilderServer, ReceivingMixin

BEGINNING = -(2**62)
END = 2**62


class MaybeSilent:
    """A RemoteServers that hears questions and, if told so, says nothing."""

    def __init__(self, server: BuilderServer) -> None:
        self._server = server
        self.is_silent = False

    async def get(
        self, destination: str, path: str, query: Mapping[str, str | Sequence[str]] | None = None
    ) -> dict[str, Any]:
        answer = await self._server.get(destination, path, query)
        if self.is_silent:
            await Deferred()
        return answer

    async def put(
        self, destination: str, path: str, body: Any, query: Mapping[str, str | Sequence[str]] | None = None
    ) -> dict[str, Any]:
        return await self._server.put(destination, path, body, query)

    async def post(
        self, destination: str, path: str, body: Any, query: Mapping[str, str | Sequence[str]] | None = None
    ) -> dict[str, Any]:
        return await self._server.post(destination, path, body, query)


class HistoryMixin(ReceivingMixin):
    """The engine of `one.example`."""

    def open(self) -> None:
        super().open()
        self.clock = Clock()
        self.holes = RoomHoles(self.database, GapsRepository(), self.log)

    def given_server(self, room: RoomBuilder) -> BuilderServer:
        server = super().given_server(room)
        self.ears = MaybeSilent(server)
        self.connect(self.ears)
        return server

    def connect(self, server: MaybeSilent) -> None:
        patience = Patience(self.clock)
        place = PlaceHistory(
            self.rooms,
            self.events,
            self.holes,
            self.fetch,
            self.keep,
            JudgeHistory(self.rooms),
            patience,
            self.database,
            self.committer,
        )
        self.backfill = Backfill(
            self.rooms,
            self.events,
            self.holes,
            AskServers(server),
            self.check,
            place,
            patience,
            self.committer,
            self.clock,
            "one.example",
        )

    def given_joined_late(self, room: RoomBuilder, user_id: str) -> Event:
        """A user of this server joins by the help of another one."""
        before = {pair: room.events.get(event_id) for pair, event_id in room.state.items()}
        joined = room.join(user_id)
        chain = {auth for event in before.values() for auth in event.auth_events}
        events = [room.events.get(event_id) for event_id in chain]
        gap = AddGap(joined.room_id, joined.event_id)
        self.result(self.take_room.take(room.rules, joined, before, events, gap))
        return joined

    def room_holes(self, room: RoomBuilder) -> tuple[Hole, ...]:
        return self.result(self.holes.of(str(room.room_id)))

    def fill(self, room: RoomBuilder, at: int = 0) -> Filled:
        """Fill one of the room's holes a little, the latest first."""
        return self.result(self.backfill.fill(str(room.room_id), self.room_holes(room)[at].place))

    def fill_all(self, room: RoomBuilder) -> int:
        """Until there is no hole; how many times that took."""
        for times in range(200):
            if not self.room_holes(room):
                return times
            self.assertIs(self.fill(room), Filled.MORE)  # type: ignore[attr-defined]
        raise AssertionError("there is no end to it")

    def timeline(self, room: RoomBuilder) -> list[StoredEvent]:
        rows = self.read(
            lambda tx: EventsRepository().get_forward(tx, str(room.room_id), BEGINNING, END, 10_000)
        )
        return self.events.keep(rows)

    def assert_is_history_of(self, room: RoomBuilder) -> None:
        """Everything that was not rejected is there once, behind what it stands on, with the right state after it."""
        timeline = self.timeline(room)
        ids = [stored.event.event_id for stored in timeline]
        self.assertEqual(set(ids), set(room.events.by_id) - room.rejected)  # type: ignore[attr-defined]
        self.assertEqual(len(ids), len(set(ids)))  # type: ignore[attr-defined]
        self.assertEqual(len({stored.ordering for stored in timeline}), len(ids))  # type: ignore[attr-defined]
        places = {event_id: place for place, event_id in enumerate(ids)}
        for stored in timeline:
            for prev in stored.event.prev_events:
                if prev in places:
                    self.assertLess(places[prev], places[stored.event.event_id])  # type: ignore[attr-defined]
        states = self.read(
            lambda tx: self.rooms.resolving.states.read(
                tx, {stored.snapshot_nid for stored in timeline if stored.snapshot_nid is not None}
            )
        )
        for stored in timeline:
            assert stored.snapshot_nid is not None
            self.assertEqual(  # type: ignore[attr-defined]
                dict(states[stored.snapshot_nid].entries),
                dict(room.state_after(room.events.get(stored.event.event_id))),
            )
        live = self.room(str(room.room_id))
        # A head from before a gap stays one until the next event names it.
        self.assertLessEqual(set(room.heads), {head.event_id for head in live.heads})  # type: ignore[attr-defined]
        self.assertEqual(dict(live.state.entries), dict(room.state))  # type: ignore[attr-defined]
