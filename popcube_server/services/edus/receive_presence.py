"""m.presence: who is online on another server. Source: server-server API, "Presence"."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from federation.rooms.joining.joins_under_way import JoinsUnderWay
from popcube_server.services.edus.edu_content import (
    MAX_STREAM_ID,
    BadEdu,
    check_user_of,
    get_string,
)
from popcube_server.services.edus.expire_presence import ExpirePresence
from popcube_server.services.edus.shared_rooms import SharedRooms
from popcube_server.services.platform import Platform
from popcube_server.services.presence.devices_presence import STATES
from popcube_server.services.presence.presence import MAX_STATUS_BYTES
from storage.committer import Committer
from storage.database import Database
from storage.presence import PresenceRepository, PresenceRow, SetPresence

MAX_USERS: Final = 100
"""In one EDU: those behind are dropped."""
NO_NEWS_MS: Final = 60_000
"""An activity that is this much later than the one before is no news by itself."""


class ReceivePresence:
    def __init__(
        self,
        shared: SharedRooms,
        joins: JoinsUnderWay,
        expiry: ExpirePresence,
        database: Database,
        repository: PresenceRepository,
        committer: Committer,
        platform: Platform,
    ) -> None:
        self._shared = shared
        self._joins = joins
        self._expiry = expiry
        self._database = database
        self._repository = repository
        self._committer = committer
        self._platform = platform

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        push = content.get("push")
        if not isinstance(push, list):
            raise BadEdu("'push' must be a list")
        told = [self._read(origin, one) for one in push[:MAX_USERS]]
        newest = {change.user_id: change for change in told}
        self._expiry.hear(newest)
        known = await self._database.read(
            lambda tx: {user_id: self._repository.find(tx, user_id) for user_id in newest}
        )
        news = [change for change in newest.values() if _is_news(change, known[change.user_id])]
        changes = await self._of_shared_rooms(news)
        # Who lets somebody into a room tells at once who is online there, maybe before the join is known here.
        if len(changes) < len(news) and await self._joins.wait(origin):
            changes = await self._of_shared_rooms(news)
        if changes:
            await self._committer.commit(*changes)

    async def _of_shared_rooms(self, news: Sequence[SetPresence]) -> list[SetPresence]:
        return [change for change in news if await self._shared.is_shared(change.user_id)]

    def _read(self, origin: str, push: Any) -> SetPresence:
        if not isinstance(push, dict):
            raise BadEdu("a presence must be an object")
        user_id = check_user_of(origin, get_string(push, "user_id"))
        state, status_msg = push.get("presence"), push.get("status_msg")
        if state not in STATES:
            raise BadEdu("'presence' must be one of the known states")
        if status_msg is not None and not isinstance(status_msg, str):
            raise BadEdu("'status_msg' must be a string")
        ago = push.get("last_active_ago", 0)
        if not isinstance(ago, int) or isinstance(ago, bool) or not 0 <= ago <= MAX_STREAM_ID:
            raise BadEdu("'last_active_ago' must be a number of milliseconds")
        return SetPresence(
            user_id,
            state,
            None
            if status_msg is None
            else status_msg.encode("utf-8", "replace")[:MAX_STATUS_BYTES].decode("utf-8", "ignore"),
            max(0, self._platform.now_ms() - ago),
            push.get("currently_active") is True,
        )


def _is_news(change: SetPresence, row: PresenceRow | None) -> bool:
    if row is None:
        return True
    told = (change.state, change.status_msg, change.currently_active)
    known = (row.state, row.status_msg, row.currently_active)
    return told != known or change.last_active_ms - row.last_active_ms >= NO_NEWS_MS
