"""The list of what a user was notified about, newest first.

Source: client-server API, "Listing Notifications".
"""

from typing import Final

from federation.rooms.event_store import EventStore
from popcube_server.services.errors import InvalidParam
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.event_json import EventJson, EventStyle
from storage.database import Database, Transaction
from storage.event_rows import EventRow, EventsRepository
from storage.events import HIGHLIGHT, NOTIFY
from storage.unread import NotificationRow, UnreadRepository
from synapse_like_config.lazy_dataclasses import dataclass

MAX_LIMIT: Final = 500
DEFAULT_LIMIT: Final = 50

_END: Final = 2**62
_STYLE: Final = EventStyle(has_room_id=False)
# What the default rules ask for: their outcomes are stored as bits, not as actions.
_NOTIFY_ACTIONS: Final = b'["notify"]'
_HIGHLIGHT_ACTIONS: Final = b'["notify",{"set_tweak":"highlight"}]'


@dataclass(frozen=True, slots=True)
class Notification:
    """An event that notified; `actions` and `event` are JSON text."""

    room_id: str
    ts: int
    is_read: bool
    actions: bytes
    event: bytes


@dataclass(frozen=True, slots=True)
class NotificationsPage:
    """`next_token` is None if there is nothing older."""

    notifications: list[Notification]
    next_token: str | None


class ListNotifications:
    """Reads the outcomes that were stored with the events."""

    def __init__(
        self,
        database: Database,
        unread: UnreadRepository,
        repository: EventsRepository,
        events: EventStore,
        event_json: EventJson,
    ) -> None:
        self._database = database
        self._unread = unread
        self._repository = repository
        self._events = events
        self._event_json = event_json

    async def get(
        self, requester: Requester, token: str | None, limit: int, only_highlights: bool
    ) -> NotificationsPage:
        """Raises `InvalidParam` for a token that was not given out."""
        before = _END if token is None else _parse_token(token)
        lowest = NOTIFY | HIGHLIGHT if only_highlights else NOTIFY

        def read(tx: Transaction) -> tuple[list[NotificationRow], list[EventRow]]:
            # One more than wanted tells whether there is more.
            found = self._unread.get_notifications(tx, requester.user_id, before, limit + 1, lowest)
            return found, self._repository.get_by_nid(tx, [row.event_nid for row in found[:limit]])

        found, rows = await self._database.read(read)
        stored = {each.position: each for each in self._events.keep(rows)}
        shown = [row for row in found[:limit] if row.event_nid in stored]
        rendered = await self._event_json.render([stored[row.event_nid] for row in shown], requester, _STYLE)
        notifications = [
            Notification(
                stored[row.event_nid].event.room_id,
                stored[row.event_nid].event.origin_server_ts,
                row.is_read,
                _actions(row),
                json,
            )
            for row, json in zip(shown, rendered, strict=True)
        ]
        more = str(found[limit - 1].ordering) if len(found) > limit else None
        return NotificationsPage(notifications, more)


def _actions(row: NotificationRow) -> bytes:
    if row.actions is not None:
        return row.actions
    return _HIGHLIGHT_ACTIONS if row.push & HIGHLIGHT else _NOTIFY_ACTIONS


def _parse_token(token: str) -> int:
    if not token.isascii() or not token.isdigit() or len(token) > 19 or int(token) > _END:
        raise InvalidParam("'from' is not a token of this list.")
    return int(token)
