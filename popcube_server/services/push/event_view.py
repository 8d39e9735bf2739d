"""An event as push conditions look at it: what several rules ask for is worked out once."""

from typing import Any, Final

from federation.room_dag.event import Event
from federation.rooms.outcomes import RoomView
from popcube_server.services.property_path import PropertyPath, find_property

_ABSENT = (False, None)

MAX_WORK: Final = 20_000_000
"""How many characters and values one user's conditions may go through in one event: some tenths of a second. Whoever
writes rules that want more has rules that do not match, and does not make everybody else wait."""


class EventView:
    """An event and its room, with the look-ups that conditions need."""

    __slots__ = ("_found", "_lowered", "_permitted", "_work_left", "event", "room")

    def __init__(self, event: Event, room: RoomView) -> None:
        self.event = event
        self.room = room
        self._found: dict[PropertyPath, tuple[bool, Any]] = {}
        self._lowered: dict[PropertyPath, str | None] = {}
        self._permitted: dict[str, bool] = {}
        self._work_left = MAX_WORK

    def begin_rules(self) -> None:
        """The next user's rules are asked."""
        self._work_left = MAX_WORK

    def can_afford(self, work: int) -> bool:
        """Whether the rules that are asked may go through so much more; False from then on once they went too far."""
        self._work_left -= work
        return self._work_left >= 0

    def find(self, path: PropertyPath) -> tuple[bool, Any]:
        """Whether the event has the property, and its value."""
        found = self._found.get(path)
        if found is None:
            found = self._found[path] = self._look_up(path)
        return found

    def lowered(self, path: PropertyPath) -> str | None:
        """The property in lower case, None if it is no string."""
        if path in self._lowered:
            return self._lowered[path]
        value = self.find(path)[1]
        lowered = self._lowered[path] = value.lower() if isinstance(value, str) else None
        return lowered

    def may_notify(self, key: str) -> bool:
        """Whether the sender has the power level that this kind of notification takes."""
        permitted = self._permitted.get(key)
        if permitted is None:
            levels = self.room.power_levels
            permitted = levels.user_level(self.event.sender) >= levels.level_for_notification(key)
            self._permitted[key] = permitted
        return permitted

    def _look_up(self, path: PropertyPath) -> tuple[bool, Any]:
        event = self.event
        name = path[0]
        if name == "content":
            return find_property(event.content, path[1:])
        if len(path) > 1:
            return _ABSENT
        if name == "type":
            return True, event.type
        if name == "sender":
            return True, event.sender
        if name == "room_id":
            return True, event.room_id
        if name == "event_id":
            return True, event.event_id
        if name == "origin_server_ts":
            return True, event.origin_server_ts
        if name == "state_key":
            return event.state_key is not None, event.state_key
        if name == "redacts":
            return event.redacts is not None, event.redacts
        return _ABSENT
