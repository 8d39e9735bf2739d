"""Power levels as the auth rules see them, with the defaults and the oddities of old room versions.

Source: client-server API, "m.room.power_levels"; server-server API, "Definitions"; "Deprecated event content
schemas" of room versions 1 to 9; "Authorization rules" of room version 12.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from federation.room_dag.canonical_json import MAX_INTEGER
from federation.room_dag.event import Event
from federation.room_dag.room_versions import RoomRules

CREATOR_LEVEL: Final = MAX_INTEGER + 1
"""The level of creators that outrank all others: higher than any integer that canonical JSON can write."""

POWER_LEVELS_PAIR: Final = ("m.room.power_levels", "")

_STRING_LEVEL: Final = re.compile(r"[ \t\n\r\f\v]*[+-]?[0-9]{1,1000}[ \t\n\r\f\v]*")


class PowerLevels:
    """The levels that a create event and, if there is one, a power levels event give.

    Cheap to make: values are read when asked for.
    """

    __slots__ = ("_content", "_create", "_has_event", "_rules", "_users")

    def __init__(self, create: Event, power_levels: Event | None, rules: RoomRules) -> None:
        self._create = create
        self._rules = rules
        self._has_event = power_levels is not None
        self._content: Mapping[str, Any] = {} if power_levels is None else power_levels.content
        users = self._content.get("users")
        self._users: Mapping[str, Any] = users if isinstance(users, dict) else {}

    def user_level(self, user_id: str) -> int:
        """The level of a user."""
        # Version 12: "The power level of 'room creators' is infinitely high."
        if self._rules.privileged_creators and is_creator(self._create, user_id):
            return CREATOR_LEVEL
        if not self._has_event:
            # "If the room contains no m.room.power_levels event, the room's creator has a power level of 100,
            # and all other users have a power level of 0."
            return 100 if user_id == creator_of(self._create) else 0
        level = parse_level(self._users.get(user_id), self._rules)
        return level if level is not None else self.users_default

    def level_for_event(self, event_type: str, is_state: bool) -> int:
        """The level that sending an event takes; memberships have rules of their own."""
        events = self._content.get("events")
        if isinstance(events, dict):
            level = parse_level(events.get(event_type), self._rules)
            if level is not None:
                return level
        return self.state_default if is_state else self.events_default

    def level_for_notification(self, key: str) -> int:
        """The level that notifying takes, for example everybody with the key ``room``."""
        notifications = self._content.get("notifications")
        level = None
        if isinstance(notifications, dict):
            level = parse_level(notifications.get(key), self._rules)
        return level if level is not None else 50

    @property
    def users_default(self) -> int:
        """The level of users that are not listed."""
        return self._get("users_default", 0)

    @property
    def events_default(self) -> int:
        """The level that sending a message event takes."""
        return self._get("events_default", 0)

    @property
    def state_default(self) -> int:
        """The level that sending a state event takes."""
        return self._get("state_default", 50)

    @property
    def invite(self) -> int:
        """The level that inviting takes."""
        return self._get("invite", 0)

    @property
    def kick(self) -> int:
        """The level that kicking takes."""
        return self._get("kick", 50)

    @property
    def ban(self) -> int:
        """The level that banning takes."""
        return self._get("ban", 50)

    @property
    def redact(self) -> int:
        """The level that redacting an event of another server's user takes."""
        return self._get("redact", 50)

    def _get(self, name: str, default: int) -> int:
        level = parse_level(self._content.get(name), self._rules)
        return default if level is None else level


def creator_of(create: Event) -> str | None:
    """The user who created the room; None if an old create event does not say it as a string."""
    if create.rules.creator_in_content:
        creator = create.content.get("creator")
        return creator if isinstance(creator, str) else None
    return create.sender


def creators_of(create: Event) -> frozenset[str]:
    """All creators that room version 12 privileges."""
    additional = create.content.get("additional_creators")
    others = additional if isinstance(additional, list) else []
    return frozenset([create.sender, *(user_id for user_id in others if isinstance(user_id, str))])


def is_creator(create: Event, user_id: str) -> bool:
    """Whether a user is among the creators that room version 12 privileges."""
    # "The user ID denoted by the `sender` of the `m.room.create` event" and "Any user IDs contained in the
    # `additional_creators` array in `content`"
    if user_id == create.sender:
        return True
    additional = create.content.get("additional_creators")
    return isinstance(additional, list) and user_id in additional


def parse_level(value: Any, rules: RoomRules) -> int | None:
    """A power level as the room version reads it, None if it is none."""
    if type(value) is int:
        return value
    if rules.integer_power_levels:
        return None
    # "each of the integer-valued properties ... can be encoded as strings instead of integers"
    if isinstance(value, str) and _STRING_LEVEL.fullmatch(value) is not None:
        return int(value)
    # "the value is truncated at the decimal point"; only room versions 1 to 5 let floats into an event.
    if isinstance(value, float) and abs(value) < float("inf"):
        return int(value)
    return None
