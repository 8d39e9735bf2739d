"""The mainline ordering of state resolution 2."""

from collections.abc import Iterable

from federation.room_dag.power_levels import POWER_LEVELS_PAIR
from federation.room_dag.state_resolution.interfaces import EventLookup


def sort_by_mainline(event_ids: Iterable[str], power_levels_id: str | None, events: EventLookup) -> list[str]:
    """Earliest to latest, by the point of the mainline of a power levels event that each event is based on."""
    positions = _Positions(power_levels_id, events)
    return sorted(event_ids, key=lambda event_id: _comparison_key(event_id, positions, events))


def _comparison_key(event_id: str, positions: "_Positions", events: EventLookup) -> tuple[float, int, str]:
    # "1. the mainline position of x is greater than the mainline position of y ...; or
    # 2. ... x's `origin_server_ts` is less than y's `origin_server_ts`; or
    # 3. ... x's `event_id` is less than y's `event_id`."
    return -positions.of_event(event_id), events.get(event_id).origin_server_ts, event_id


class _Positions:
    """Mainline positions, each power levels event being looked up once."""

    def __init__(self, power_levels_id: str | None, events: EventLookup) -> None:
        self._events = events
        self._known: dict[str, float] = {}
        # "Increment i and repeat until P_i has no `m.room.power_levels` event in its `auth_events`."
        current = power_levels_id
        while current is not None and current not in self._known:
            self._known[current] = len(self._known)
            current = self._find_power_levels(current)

    def of_event(self, event_id: str) -> float:
        """The index of the first mainline event that is met on the way back, or infinity."""
        # "Note that the event we started with, e_0, is not included in this list."
        passed = []
        current = self._find_power_levels(event_id)
        while current is not None and current not in self._known:
            passed.append(current)
            current = self._find_power_levels(current)
        position = float("inf") if current is None else self._known[current]
        # These events are not of the mainline, but what is based on them has the same position.
        for each in passed:
            self._known[each] = position
        return position

    def _find_power_levels(self, event_id: str) -> str | None:
        for auth_id in self._events.get(event_id).auth_events:
            auth_event = self._events.get(auth_id)
            if auth_event.is_state and auth_event.state_pair == POWER_LEVELS_PAIR:
                return auth_id
        return None
