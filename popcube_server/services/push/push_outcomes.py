"""Decides what each new event means for the local members of its room, at a cost by distinct rules, not by members.

`evaluate` is called under the room's lock and does not wait: what it needs was loaded by `prepare` and is kept true by
following the log. Users whose rules are the default ones are not known here at all.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Final, Protocol

from federation.room_dag.event import Event
from federation.rooms.outcomes import PushOutcome, RoomView
from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.push.compiled_rules import (
    CompiledRule,
    CompiledRules,
    default_compiled_rules,
    outcome_bits,
)
from popcube_server.services.push.conditions import NOBODY, Me
from popcube_server.services.push.event_view import EventView
from storage.change import LogEntry
from storage.events import PersonalPush, StoreEvent
from synapse_like_config.lazy_dataclasses import dataclass

MAX_CHANGED_USERS: Final = 1_000
"""How many users' changes of rules a room may be behind before everything is read again."""

_QUIET: Final = b"[]"


class MemberRules(Protocol):
    """Reads the rules of users who have any of their own."""

    async def of_members(self, room_id: str) -> Mapping[str, CompiledRules]:
        """Of all joined members of a room."""

    async def of_members_among(self, room_id: str, user_ids: Collection[str]) -> Mapping[str, CompiledRules]:
        """Of those of the users who are joined to the room."""

    async def of_users(self, user_ids: Collection[str]) -> Mapping[str, CompiledRules]:
        """Of users, whatever they are joined to."""


@dataclass(slots=True)
class _Room:
    """The members of a room whose rules are not the default ones, by what their rules say about this room."""

    seen_changes: int
    is_loaded: bool = False
    users: dict[str, CompiledRules] = field(default_factory=dict)
    classes: dict[CompiledRules, set[str]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    """Members who came after the rules were loaded."""

    def set(self, user_id: str, rules: CompiledRules | None) -> None:
        old = self.users.pop(user_id, None)
        if old is not None:
            members = self.classes[old]
            members.discard(user_id)
            if not members:
                del self.classes[old]
        if rules is not None:
            self.users[user_id] = rules
            self.classes.setdefault(rules, set()).add(user_id)


class PushOutcomes:
    """The rules of live rooms' members, and their verdicts."""

    def __init__(self, member_rules: MemberRules, server_name: str, cache_size: int) -> None:
        self._member_rules = member_rules
        self._suffix = ":" + server_name
        self._default = default_compiled_rules()
        self._rooms: BoundedCache[str, _Room] = BoundedCache(cache_size)
        # The users whose rules changed last; `_changes` counts all changes ever.
        self._changed: list[str] = []
        self._changes = 0

    def is_prepared(self, room_id: str) -> bool:
        """Whether `evaluate` knows what it needs."""
        room = self._rooms.get(room_id)
        return room is not None and room.is_loaded and not room.unknown and room.seen_changes == self._changes

    async def prepare(self, room_id: str, also: Collection[str] = ()) -> None:
        """Load what `evaluate` needs for the room's local members, and for the users `also`, who are to be invited."""
        room = self._rooms.get(room_id)
        if room is None or self._changes - room.seen_changes > len(self._changed):
            room = _Room(self._changes)
            self._rooms.put(room_id, room)
        if not room.is_loaded:
            await self._load_all(room, room_id)
        while room.unknown or room.seen_changes != self._changes:
            await self._load_changes(room, room_id)
        local = [user_id for user_id in also if self._is_local(user_id)]
        if local:
            self._set_all(room, room_id, local, await self._member_rules.of_users(local))

    def evaluate(self, event: Event, room: RoomView) -> PushOutcome:
        """The outcome for everybody but the sender. Where `prepare` did not load, the default rules hold."""
        view = EventView(event, room)
        default = outcome_bits(self._default.find(view, NOBODY))
        known = self._rooms.get(event.room_id)
        users: Mapping[str, CompiledRules] = {} if known is None else known.users
        personal: list[PersonalPush] = []
        concerned = self._concerned(event, room)
        for user_id, me in concerned.items():
            rules = users.get(user_id, self._default)
            if rules.asks_for_name:
                me = replace(me, display_name=room.display_name(user_id))
            _add(personal, default, user_id, rules.find(view, me))
        if known is not None:
            for rules, members in known.classes.items():
                others = (user for user in members if user not in concerned and user != event.sender)
                if rules.asks_for_name:
                    for user_id in others:
                        if room.is_joined(user_id):
                            me = Me(False, False, room.display_name(user_id))
                            _add(personal, default, user_id, rules.find(view, me))
                    continue
                rule = rules.find(view, NOBODY)
                if outcome_bits(rule) != default:
                    for user_id in others:
                        if room.is_joined(user_id):
                            _add(personal, default, user_id, rule)
            self._watch_join(known, event)
        return PushOutcome(default, tuple(personal))

    def follow(self, entries: Sequence[LogEntry]) -> None:
        """Keep true what was loaded: a follower of the log."""
        for entry in entries:
            if entry.kind == "event":
                self._follow_event(entry)
            elif entry.kind == "push_rules" or (
                entry.kind == "account_data" and entry.key[1:] == ("", "m.ignored_user_list")
            ):
                self._changes += 1
                self._changed.append(entry.key[0])
                if len(self._changed) > 2 * MAX_CHANGED_USERS:
                    del self._changed[:MAX_CHANGED_USERS]

    def _concerned(self, event: Event, room: RoomView) -> dict[str, Me]:
        """The local users whom the event names, who must each be asked by themselves."""
        mentioned = self._mentioned(event)
        named = list(mentioned)
        state_key = event.state_key
        if state_key is not None and state_key.startswith("@"):
            named.append(state_key)
        concerned: dict[str, Me] = {}
        for user_id in named:
            # "Homeservers MUST NOT notify the Push Gateway for events that the user has sent themselves."
            if user_id == event.sender or user_id in concerned or not self._is_local(user_id):
                continue
            is_invited = (
                user_id == state_key and event.type == "m.room.member" and event.membership == "invite"
            )
            if is_invited or room.is_joined(user_id):
                concerned[user_id] = Me(user_id in mentioned, user_id == state_key, None)
        return concerned

    def _mentioned(self, event: Event) -> frozenset[str]:
        mentions = event.content.get("m.mentions")
        user_ids = mentions.get("user_ids") if isinstance(mentions, dict) else None
        if not isinstance(user_ids, list):
            return frozenset()
        return frozenset(user_id for user_id in user_ids if isinstance(user_id, str))

    def _watch_join(self, known: _Room, event: Event) -> None:
        # Not only when the log says so: the next event may be evaluated before this one is committed.
        if event.type == "m.room.member" and event.membership == "join" and event.state_key is not None:
            self._add_unknown(known, event.state_key)

    def _add_unknown(self, known: _Room, user_id: str) -> None:
        if self._is_local(user_id) and user_id not in known.users:
            known.unknown.add(user_id)

    def _follow_event(self, entry: LogEntry) -> None:
        room_id = entry.key[0]
        known = self._rooms.get(room_id)
        if known is None:
            return
        if not isinstance(entry.change, StoreEvent):
            # Written by another process: who joined with it is not told.
            self._rooms.drop(room_id)
            return
        for membership in entry.change.memberships:
            if membership.membership == "join":
                self._add_unknown(known, membership.user_id)
            elif membership.membership in ("leave", "ban"):
                known.set(membership.user_id, None)

    async def _load_all(self, room: _Room, room_id: str) -> None:
        room.seen_changes = self._changes
        found = await self._member_rules.of_members(room_id)
        self._set_all(room, room_id, found, found)
        room.is_loaded = True

    async def _load_changes(self, room: _Room, room_id: str) -> None:
        joined, room.unknown = room.unknown, set()
        behind = self._changes - room.seen_changes
        changed = set(self._changed[-behind:]) if behind else set()
        room.seen_changes = self._changes
        # A member whose join is not committed yet must be found too, one of another room not.
        found = dict(await self._member_rules.of_users(joined)) if joined else {}
        if changed:
            found.update(await self._member_rules.of_members_among(room_id, changed))
        self._set_all(room, room_id, joined | changed, found)

    def _set_all(
        self, room: _Room, room_id: str, user_ids: Iterable[str], found: Mapping[str, CompiledRules]
    ) -> None:
        for user_id in user_ids:
            rules = found.get(user_id)
            projected = None if rules is None else rules.in_room(room_id)
            # Rules that come down to the default ones here are no rules of one's own here.
            room.set(user_id, None if projected == self._default else projected)

    def _is_local(self, user_id: str) -> bool:
        return user_id.endswith(self._suffix)


def _add(personal: list[PersonalPush], default: int, user_id: str, rule: CompiledRule | None) -> None:
    bits = outcome_bits(rule)
    if bits != default:
        personal.append(PersonalPush(user_id, bits, _QUIET if rule is None else rule.actions))
