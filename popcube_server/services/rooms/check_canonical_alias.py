"""What a room may be said to be called. Source: client-server API, `PUT /rooms/{roomId}/state/...`, M_BAD_ALIAS."""

from collections.abc import Mapping
from typing import Any, Final

from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from popcube_server.services.errors import InvalidParam, LimitExceeded, Refusal, WithCode
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.resolve_any_alias import ResolveAnyAlias

MAX_NEW_ALIASES: Final = 20
"""Each may have another server asked."""


class CheckCanonicalAlias:
    def __init__(self, rooms: LiveRooms, events: EventStore, aliases: ResolveAnyAlias) -> None:
        self._rooms = rooms
        self._events = events
        self._aliases = aliases

    async def check(self, requester: Requester, room_id: str, content: Mapping[str, Any]) -> None:
        """Raise M_BAD_ALIAS, `InvalidParam` or `LimitExceeded` unless every new alias leads to the room."""
        present = _aliases(await self._present(room_id))
        new = [alias for alias in _checked(content) if alias not in present]
        if len(new) > MAX_NEW_ALIASES:
            raise InvalidParam(f"At most {MAX_NEW_ALIASES} aliases can be added at a time.")
        for alias in new:
            # "M_BAD_ALIAS: one or more aliases within the m.room.canonical_alias event do not point to the room ID for
            # which the state event is to be sent to." What stands there already is not asked about again: its server
            # may be gone, and the rest of the event must still be possible to change.
            if await self._room_of(requester, alias) != room_id:
                raise WithCode(400, "M_BAD_ALIAS", f"The alias {alias} does not lead to this room.")

    async def _room_of(self, requester: Requester, alias: str) -> str | None:
        try:
            return (await self._aliases.get(requester.user_id, alias)).room_id
        except LimitExceeded:
            raise
        except Refusal:
            return None

    async def _present(self, room_id: str) -> Mapping[str, Any]:
        try:
            event_id = (await self._rooms.get(room_id)).committed.find("m.room.canonical_alias")
        except UnknownRoom:
            return {}
        stored = None if event_id is None else await self._events.find(event_id)
        return {} if stored is None else stored.event.content


def _checked(content: Mapping[str, Any]) -> list[str]:
    alternatives = content.get("alt_aliases", [])
    if not isinstance(alternatives, list):
        raise InvalidParam("'alt_aliases' must be a list.")
    alias = content.get("alias")
    named = [*([alias] if alias not in (None, "") else []), *alternatives]
    if not all(isinstance(one, str) and one.startswith("#") for one in named):
        raise InvalidParam("An alias must be a string that starts with '#'.")
    return list(dict.fromkeys(named))


def _aliases(content: Mapping[str, Any]) -> set[str]:
    """What any event says, however wrong."""
    alternatives = content.get("alt_aliases")
    named = [content.get("alias"), *(alternatives if isinstance(alternatives, list) else ())]
    return {one for one in named if isinstance(one, str)}
