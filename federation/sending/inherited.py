"""What another site knew to be behind when it sent: the one that sends now makes up for it."""

from collections.abc import Sequence

from federation.sending.room_servers import RoomServers
from federation.sending.sending_duty import SendingDuty
from storage.change import Change
from storage.database import Database, Transaction
from storage.destinations_behind import FallBehind, RoomBehind
from storage.lags import KnownLag, LagsRepository, NoteLag, RoomOfOurs
from storage.site_links import SiteLinksRepository


class Inherited:
    def __init__(self, server_name: str, database: Database, servers: RoomServers, duty: SendingDuty) -> None:
        self._server_name = server_name
        self._database = database
        self._servers = servers
        self._duty = duty
        self._lags = LagsRepository()
        self._links = SiteLinksRepository()

    async def find(self, position: int) -> Sequence[Change]:
        """What to write down so that they are sent the latest of their rooms, `position` being where this site is."""
        if not self._duty.log:
            return ()
        found = await self._database.read(self._read)
        changes: list[Change] = []
        for lag, since, rooms in found:
            behind = [
                RoomBehind(room.room_id, room.oldest, None, position)
                for room in rooms
                if lag.destination in await self._servers.get(room.room_id)
            ]
            changes.append(FallBehind(lag.destination, since, tuple(behind)))
            changes.append(self.note(lag.destination, since))
        return changes

    def note(self, destination: str, since: int | None) -> NoteLag:
        """What the other sites are to know; `since` None: it has everything."""
        return NoteLag(KnownLag(destination, self._duty.hold.epoch, self._duty.log, since))

    def _read(self, tx: Transaction) -> list[tuple[KnownLag, int, Sequence[RoomOfOurs]]]:
        rooms: dict[int, Sequence[RoomOfOurs]] = {}
        found = []
        for lag in self._lags.get_of_others(tx, self._duty.log):
            since = self._own_position(tx, lag)
            if since not in rooms:
                rooms[since] = self._lags.get_rooms_after(tx, since, self._server_name)
            found.append((lag, since, rooms[since]))
        return found

    def _own_position(self, tx: Transaction, lag: KnownLag) -> int:
        assert lag.since is not None
        floor = self._links.find_floor(tx, lag.log, lag.since)
        return self._links.find_shared(tx, lag.log) if floor is None else floor
