"""Report an event, a room or a user to the administrators. Source: client-server API, "Reporting content"."""

from collections.abc import Callable

from federation.room_dag.identifiers import domain_of, is_user_id
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from popcube_server.services.errors import InvalidParam, NotFound, TooLarge
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.user_rooms import UserRooms
from popcube_server.services.rooms.visibility import Visibility
from storage.accounts import AccountsRepository
from storage.committer import Committer
from storage.database import Database
from storage.reports import MakeReport, ReportKind
from synapse_like_config.lazy_dataclasses import dataclass

MAX_REASON_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class Complaint:
    """What the reporter says."""

    reason: str | None
    score: int | None = None


class ReportContent:
    """Stores reports about what exists. Of rooms and users nobody learns from the answer whether they do."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        rooms: LiveRooms,
        events: EventStore,
        user_rooms: UserRooms,
        visibility: Visibility,
        limiter: RateLimiter,
        now_ms: Callable[[], int],
        server_name: str,
    ) -> None:
        self._database = database
        self._committer = committer
        self._rooms = rooms
        self._events = events
        self._user_rooms = user_rooms
        self._visibility = visibility
        self._limiter = limiter
        self._now_ms = now_ms
        self._server_name = server_name
        self._accounts = AccountsRepository()

    async def event(self, requester: Requester, room_id: str, event_id: str, complaint: Complaint) -> None:
        """Raises `NotFound`, the same for rooms where the reporter is not, unknown events and hidden ones."""
        self._admit(requester, complaint)
        row = (await self._user_rooms.of_user(requester.user_id)).get(room_id)
        # "The caller must be joined to the room to report it."
        is_joined = row is not None and row.membership == "join"
        stored = await self._events.find(event_id) if is_joined and "\x00" not in event_id else None
        if (
            stored is None
            or stored.flags
            or stored.event.room_id != room_id
            or not await self._visibility.is_visible(requester.user_id, stored)
        ):
            raise NotFound("The event was not found, or you are not in the room.")
        sender = stored.event.sender
        await self._store(requester, ReportKind.EVENT, room_id, event_id, sender, complaint)

    async def room(self, requester: Requester, room_id: str, complaint: Complaint) -> None:
        """The same answer whether there is such a room or not."""
        self._admit(requester, complaint)
        try:
            await self._rooms.get(room_id)
        except UnknownRoom:
            return
        await self._store(requester, ReportKind.ROOM, room_id, None, None, complaint)

    async def user(self, requester: Requester, user_id: str, complaint: Complaint) -> None:
        """The same answer whether there is such a user or not."""
        self._admit(requester, complaint)
        if not is_user_id(user_id):
            raise InvalidParam("That is no user ID.")
        if await self._is_known(user_id):
            await self._store(requester, ReportKind.USER, None, None, user_id, complaint)

    async def _is_known(self, user_id: str) -> bool:
        if domain_of(user_id) != self._server_name:
            return bool(await self._user_rooms.of_user(user_id))
        # No account's name holds U+0000, and not every database can be asked for one.
        return "\x00" not in user_id and await self._database.read(
            lambda tx: self._accounts.exists(tx, user_id)
        )

    def _admit(self, requester: Requester, complaint: Complaint) -> None:
        if complaint.reason is not None and len(complaint.reason.encode()) > MAX_REASON_BYTES:
            raise TooLarge(f"A reason may have at most {MAX_REASON_BYTES} bytes.")
        self._limiter.spend(requester.user_id)

    async def _store(
        self,
        requester: Requester,
        about: ReportKind,
        room_id: str | None,
        event_id: str | None,
        user_id: str | None,
        complaint: Complaint,
    ) -> None:
        await self._committer.commit(
            MakeReport(
                about,
                self._now_ms(),
                requester.user_id,
                room_id,
                event_id,
                user_id,
                complaint.reason,
                complaint.score,
            )
        )
