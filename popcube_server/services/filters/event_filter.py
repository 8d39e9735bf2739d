"""Filters of events, compiled: pure values that sync, pagination, search and relations ask for each event.

Source: client-server API, "Filtering", `EventFilter` and `RoomEventFilter`. A filter that lets everything through
says so in `is_unrestricted`, so that nobody has to ask it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from synapse_like_config.lazy_dataclasses import dataclass


class FilterableEvent(Protocol):
    """What filters look at in an event of a room."""

    @property
    def type(self) -> str: ...

    @property
    def sender(self) -> str: ...

    @property
    def room_id(self) -> str: ...

    @property
    def content(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class TypePatterns:
    """A list of event types, of which some may have a `*` that stands for any sequence of characters."""

    exact: frozenset[str]
    patterns: tuple[str, ...]

    def matches(self, event_type: str) -> bool:
        return event_type in self.exact or any(matches_wildcards(each, event_type) for each in self.patterns)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """For events without a room: presence and account data. Of two lists, the one that excludes wins."""

    types: TypePatterns | None = None
    not_types: TypePatterns | None = None
    senders: frozenset[str] | None = None
    not_senders: frozenset[str] = frozenset()
    limit: int | None = None

    @property
    def is_unrestricted(self) -> bool:
        """Whether every event passes; `limit` is another matter."""
        return self.types is None and self.not_types is None and self.senders is None and not self.not_senders

    def matches(self, event_type: str, sender: str | None) -> bool:
        """Whether such an event is wanted; `sender` is None for events that have none."""
        if self.not_types is not None and self.not_types.matches(event_type):
            return False
        if self.types is not None and not self.types.matches(event_type):
            return False
        if sender is None:
            return True
        return sender not in self.not_senders and (self.senders is None or sender in self.senders)


_ALL_EVENTS: Final = EventFilter()


@dataclass(frozen=True, slots=True)
class RoomEventFilter:
    """For events of rooms."""

    events: EventFilter = _ALL_EVENTS
    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    contains_url: bool | None = None
    related_by_senders: frozenset[str] | None = None
    """Only events to which one of these users sent a related event. Whoever reads relations has to apply it."""
    related_by_rel_types: frozenset[str] | None = None
    """Only events that have a related event of one of these types. Whoever reads relations has to apply it."""
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False

    @property
    def limit(self) -> int | None:
        """How many events are wanted at most; None if the client does not say."""
        return self.events.limit

    @property
    def is_unrestricted(self) -> bool:
        """Whether every event passes: then `matches` need not be asked."""
        return (
            self.events.is_unrestricted
            and self.rooms is None
            and not self.not_rooms
            and self.contains_url is None
            and not self.has_relation_filters
        )

    @property
    def has_relation_filters(self) -> bool:
        """Whether events are wanted only for what relates to them, which `matches` cannot see."""
        return self.related_by_senders is not None or self.related_by_rel_types is not None

    def matches(self, event: FilterableEvent) -> bool:
        """Whether an event is wanted, as far as the event itself tells."""
        return (
            self.matches_room(event.room_id)
            and self.events.matches(event.type, event.sender)
            and self._matches_url(event.content)
        )

    def matches_room(self, room_id: str) -> bool:
        """Whether anything of a room can be wanted."""
        return room_id not in self.not_rooms and (self.rooms is None or room_id in self.rooms)

    def _matches_url(self, content: Mapping[str, Any]) -> bool:
        # "If `true`, includes only events with a `url` key in their content. If `false`, excludes those events."
        return self.contains_url is None or self.contains_url is ("url" in content)

    def predicate(self) -> Callable[[FilterableEvent], bool] | None:
        """`matches`, or None if there is nothing to ask."""
        return None if self.is_unrestricted else self.matches


def matches_wildcards(pattern: str, text: str) -> bool:
    """Whether `*` in the pattern can stand for something that makes it the text. Takes no more than linear time."""
    first, *middle, last = pattern.split("*")
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


_WORD: Final = re.compile(r"\*+")


def make_type_patterns(types: frozenset[str]) -> TypePatterns:
    """The list compiled."""
    patterns = tuple(sorted(_WORD.sub("*", each) for each in types if "*" in each))
    return TypePatterns(frozenset(each for each in types if "*" not in each), patterns)
