"""The conditions of push rules, parsed once and asked for each event.

Conditions are values: equal ones make equal rules, so that an event is decided once for all users who have them.
What depends on who asks (mentions, invites, display names) is told apart in `Me`, not written into the condition.

Source: client-server API, "Conditions" of "Push rules".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from operator import eq, ge, gt, le, lt
from typing import Any, Final, Protocol

from popcube_server.services.property_path import PropertyPath, parse_property_path
from popcube_server.services.push.event_view import EventView
from popcube_server.services.push.glob import Glob
from synapse_like_config.lazy_dataclasses import dataclass

BODY: Final = ("content", "body")
MENTIONED_USERS: Final = ("content", "m.mentions", "user_ids")
ROOM_ID: Final = ("room_id",)
TYPE: Final = ("type",)
_STATE_KEY: Final = ("state_key",)

_MAX_INTEGER: Final = 2**53 - 1
_COUNT: Final = re.compile(r"(==|<=|>=|<|>)?([0-9]{1,16})")
_COMPARISONS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "": eq,
    "==": eq,
    "<": lt,
    ">": gt,
    "<=": le,
    ">=": ge,
}

Plain = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Me:
    """What the event has to do with the user whose rules are asked."""

    is_mentioned: bool
    is_state_key: bool
    display_name: str | None


NOBODY: Final = Me(False, False, None)
"""A member that the event does not name."""


class Condition(Protocol):
    """Hashable and comparable: frozen dataclasses."""

    def holds(self, view: EventView, me: Me) -> bool: ...


@dataclass(frozen=True, slots=True)
class EventMatch:
    """The whole string at `path` matches a pattern, without case."""

    path: PropertyPath
    pattern: str
    glob: Glob = field(compare=False, repr=False)

    def holds(self, view: EventView, me: Me) -> bool:
        # "If the property specified by `key` is completely absent from the event, or does not have a string value,
        # then the condition will not match, even if `pattern` is `*`."
        lowered = view.lowered(self.path)
        if lowered is None:
            return False
        if self.glob.is_literal:
            return self.glob.matches(lowered)
        if not view.can_afford(len(lowered)) or not self.glob.may_match(lowered):
            return False
        return view.can_afford(len(lowered) * len(self.pattern)) and self.glob.matches(lowered)


@dataclass(frozen=True, slots=True)
class PropertyIs:
    """The value at `path` is exactly this; `value_type` keeps 1 and true apart."""

    path: PropertyPath
    value: Plain
    value_type: type[object]

    def holds(self, view: EventView, me: Me) -> bool:
        present, value = view.find(self.path)
        return present and type(value) is self.value_type and value == self.value


@dataclass(frozen=True, slots=True)
class PropertyContains:
    """The list at `path` has exactly this value in it."""

    path: PropertyPath
    value: Plain
    value_type: type[object]

    def holds(self, view: EventView, me: Me) -> bool:
        values = view.find(self.path)[1]
        if not isinstance(values, list) or not view.can_afford(len(values)):
            return False
        return any(type(value) is self.value_type and value == self.value for value in values)


@dataclass(frozen=True, slots=True)
class MentionsMe:
    """The user is in `m.mentions`."""

    def holds(self, view: EventView, me: Me) -> bool:
        return me.is_mentioned


@dataclass(frozen=True, slots=True)
class StateKeyIsMe:
    """The event is state about the user."""

    def holds(self, view: EventView, me: Me) -> bool:
        return me.is_state_key


@dataclass(frozen=True, slots=True)
class ContainsDisplayName:
    """The body contains the user's display name in this room."""

    def holds(self, view: EventView, me: Me) -> bool:
        body = view.lowered(BODY)
        if body is None or not me.display_name:
            return False
        if not view.can_afford(len(body) * len(me.display_name)):
            return False
        name = re.escape(me.display_name.lower())
        return re.search(f"(?<![A-Za-z0-9_]){name}(?![A-Za-z0-9_])", body) is not None


@dataclass(frozen=True, slots=True)
class MemberCount:
    """The number of joined members."""

    comparison: str
    count: int

    def holds(self, view: EventView, me: Me) -> bool:
        return _COMPARISONS[self.comparison](view.room.joined_count, self.count)


@dataclass(frozen=True, slots=True)
class SenderMayNotify:
    """The sender's power level is enough for this kind of notification."""

    key: str

    def holds(self, view: EventView, me: Me) -> bool:
        return view.may_notify(self.key)


@dataclass(frozen=True, slots=True)
class SenderIs:
    """`sender` rules, and the users whom the owner of the rules ignores."""

    user_ids: frozenset[str]

    def holds(self, view: EventView, me: Me) -> bool:
        return view.event.sender in self.user_ids


@dataclass(frozen=True, slots=True)
class RoomIs:
    """`room` rules."""

    room_id: str

    def holds(self, view: EventView, me: Me) -> bool:
        return view.event.room_id == self.room_id


@dataclass(frozen=True, slots=True)
class Never:
    """A condition that this server does not know, or that makes no sense."""

    def holds(self, view: EventView, me: Me) -> bool:
        # "Unrecognised conditions MUST NOT match any events, effectively making the push rule disabled."
        return False


def body_matches(pattern: str) -> Condition:
    """The condition of `content` rules."""
    return EventMatch(BODY, pattern.lower(), Glob(pattern, whole_words=True))


def parse_condition(condition: Mapping[str, Any], user_id: str) -> Condition:
    """The condition as a value; what is wrong or unknown never holds. `user_id` owns the rule."""
    kind = condition.get("kind")
    if kind == "contains_display_name":
        return ContainsDisplayName()
    if kind == "room_member_count":
        return _parse_member_count(condition.get("is"))
    key = condition.get("key")
    if not isinstance(key, str):
        return Never()
    if kind == "sender_notification_permission":
        return SenderMayNotify(key)
    if kind == "event_match":
        return _parse_event_match(parse_property_path(key), condition.get("pattern"), user_id)
    if kind in ("event_property_is", "event_property_contains") and _is_plain(condition):
        value = condition["value"]
        path = parse_property_path(key)
        if kind == "event_property_is":
            return PropertyIs(path, value, type(value))
        if path == MENTIONED_USERS and value == user_id:
            return MentionsMe()
        return PropertyContains(path, value, type(value))
    return Never()


def _parse_event_match(path: PropertyPath, pattern: Any, user_id: str) -> Condition:
    if not isinstance(pattern, str):
        return Never()
    # As a special case, the body is matched by words.
    if path == BODY:
        return body_matches(pattern)
    if path == _STATE_KEY and pattern == user_id:
        return StateKeyIsMe()
    return EventMatch(path, pattern.lower(), Glob(pattern, whole_words=False))


def _parse_member_count(text: Any) -> Condition:
    match = _COUNT.fullmatch(text) if isinstance(text, str) else None
    return Never() if match is None else MemberCount(match[1] or "", int(match[2]))


def _is_plain(condition: Mapping[str, Any]) -> bool:
    # "only supports non-compound canonical JSON values: strings, integers in the range of [-(2**53)+1, (2**53)-1],
    # booleans, and null"
    if "value" not in condition:
        return False
    value = condition["value"]
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= _MAX_INTEGER
    return value is None or isinstance(value, str | bool)
