"""The state of a room as the auth rules ask for it."""

from collections.abc import Callable

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR, JOIN_RULES_PAIR, POWER_LEVELS_PAIR
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.room_dag.power_levels import PowerLevels

StateLookup = Callable[[tuple[str, str]], Event | None]
"""The event of a state entry, None if the state has none. The create event is always there."""


class AuthState:
    """A look-up of state, and what the rules derive from it; made anew for each event that is checked."""

    __slots__ = ("_power_levels", "create", "lookup")

    def __init__(self, lookup: StateLookup) -> None:
        create = lookup(CREATE_PAIR)
        if create is None:
            raise NotAllowed("the room has no create event")
        self.lookup = lookup
        self.create = create
        self._power_levels: PowerLevels | None = None

    @property
    def power_levels(self) -> PowerLevels:
        """The current levels, or their defaults."""
        if self._power_levels is None:
            self._power_levels = PowerLevels(self.create, self.lookup(POWER_LEVELS_PAIR), self.create.rules)
        return self._power_levels

    def membership_of(self, user_id: str) -> str:
        """The current membership of a user; ``leave`` if there is none."""
        member = self.lookup(("m.room.member", user_id))
        membership = None if member is None else member.membership
        return "leave" if membership is None else membership

    def join_rule(self) -> str:
        """The current join rule; ``invite`` if there is none."""
        # Client-server API, m.room.join_rules: the room is `invite` if the event is missing or says nothing.
        event = self.lookup(JOIN_RULES_PAIR)
        join_rule = None if event is None else event.content.get("join_rule")
        return join_rule if isinstance(join_rule, str) else "invite"
