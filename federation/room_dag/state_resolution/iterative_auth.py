"""The iterative auth checks algorithm of state resolution 2."""

from collections.abc import Callable, Container, Iterable

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR
from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.room_dag.state_resolution.interfaces import EventLookup


class IterativeAuth:
    """A room state that grows by the events that it allows; `applied` is what it has beyond the initial state."""

    def __init__(
        self,
        events: EventLookup,
        initial: Callable[[tuple[str, str]], str | None],
        rejected: Container[str],
    ) -> None:
        self._events = events
        self._initial = initial
        self._rejected = rejected
        self.applied: dict[tuple[str, str], str] = {}

    def apply(self, event_ids: Iterable[str]) -> None:
        """Apply those events that are allowed when their turn comes."""
        for event_id in event_ids:
            event = self._events.get(event_id)
            if event.is_state and self._is_allowed(event):
                self.applied[event.state_pair] = event_id

    def find_id(self, pair: tuple[str, str]) -> str | None:
        """The event ID of an entry of the state."""
        return self.applied.get(pair) or self._initial(pair)

    def _is_allowed(self, event: Event) -> bool:
        # "If the state event is not allowed by the authorization rules, then the event is ignored."
        try:
            check_event_auth(event, lambda pair: self._find_for(event, pair))
        except NotAllowed:
            return False
        return True

    def _find_for(self, event: Event, pair: tuple[str, str]) -> Event | None:
        event_id = self.find_id(pair)
        if event_id is not None:
            return self._events.get(event_id)
        if pair == CREATE_PAIR and event.rules.room_id_is_create_hash:
            # Version 12: the room ID implies the create event.
            return self._events.get("$" + event.room_id[1:])
        # "If a (event_type, state_key) key that is required for checking the authorization rules is not
        # present in the state, then the appropriate state event from the event's `auth_events` is used if the
        # auth event is not rejected."
        for auth_id in event.auth_events:
            # Looked up first: it may be then that the caller learns that it was rejected.
            auth_event = self._events.get(auth_id)
            if auth_id not in self._rejected and auth_event.is_state and auth_event.state_pair == pair:
                return auth_event
        return None
