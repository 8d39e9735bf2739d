"""Find the event nearest to a time where others may know one that is nearer.

Source: server-server API, `timestamp_to_event`.
"""

import logging

from twisted.internet.defer import CancelledError

from federation.rooms.history.backfill import Backfill
from federation.rooms.history.choose_servers import choose_servers
from federation.rooms.history.patience import Patience
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.receiving.remote import AskServers
from federation.transport.errors import FederationError

logger = logging.getLogger(__name__)

MAX_SERVERS = 3
SERVER_TIMEOUT_S = 10.0


class JumpToTime:
    """Asks others for an event, and makes it part of the room here, so that its surroundings can be read."""

    def __init__(
        self, rooms: LiveRooms, ask: AskServers, backfill: Backfill, patience: Patience, server_name: str
    ) -> None:
        self._rooms = rooms
        self._ask = ask
        self._backfill = backfill
        self._patience = patience
        self._server_name = server_name

    async def find(self, room_id: str, at_ms: int, is_backward: bool, known_ms: int | None) -> str | None:
        """The ID of an event that is nearer to the time than `known_ms`, and is here now. Raises `CommitFailed`."""
        try:
            members = (await self._rooms.get(room_id)).committed.servers
        except UnknownRoom:
            return None
        for server in choose_servers(room_id, members, (), None, (), self._server_name)[:MAX_SERVERS]:
            try:
                event_id, event_ms = await self._patience.wait(
                    self._ask.event_at(server, room_id, at_ms, is_backward), SERVER_TIMEOUT_S
                )
            except (FederationError, CancelledError) as error:
                logger.info("No event of %s at that time: %s", room_id, error)
                continue
            if _is_nearer(event_ms, at_ms, is_backward, known_ms):
                # "To fetch the event, the server can use /event or /backfill": what is around it is wanted next.
                if await self._backfill.reach(server, room_id, event_id):
                    return event_id
            else:
                return None
        return None


def _is_nearer(event_ms: int, at_ms: int, is_backward: bool, known_ms: int | None) -> bool:
    if is_backward:
        return event_ms <= at_ms and (known_ms is None or event_ms > known_ms)
    return event_ms >= at_ms and (known_ms is None or event_ms < known_ms)
