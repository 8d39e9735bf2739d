"""Push rules ready to be asked, and cut down to what matters in one room.

What two users' rules say about a room is mostly the same although their rules differ: rules for other rooms, switched
off rules and rules behind one that always matches fall away. Equal remainders are equal values, so that an event is
decided once for all users who share one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from federation.room_dag.canonical_json import compact
from popcube_server.services.push.conditions import (
    ROOM_ID,
    TYPE,
    Condition,
    ContainsDisplayName,
    EventMatch,
    Me,
    Never,
    RoomIs,
    SenderIs,
    body_matches,
    parse_condition,
)
from popcube_server.services.push.default_rules import KINDS
from popcube_server.services.push.event_view import EventView
from popcube_server.services.push.rule_set import DEFAULT_RULE_SET, RuleSet
from storage.events import HIGHLIGHT, NOTIFY
from synapse_like_config.lazy_dataclasses import dataclass

_QUIET: Final = b"[]"


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule: matches if all conditions hold."""

    conditions: tuple[Condition, ...]
    bits: int
    """NOTIFY and HIGHLIGHT of `storage.events`; 0 for a rule that keeps quiet."""
    actions: bytes
    """JSON list."""


class CompiledRules:
    """A list of rules in the order in which they are checked. Two are equal if their rules are."""

    __slots__ = ("_by_type", "_hash", "_others", "asks_for_name", "rules")

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        self.rules = _without_tail(rules)
        self._hash = hash(self.rules)
        self.asks_for_name = any(
            isinstance(condition, ContainsDisplayName) for rule in self.rules for condition in rule.conditions
        )
        """Whether the outcome depends on display names: then each member is asked by itself."""
        self._by_type, self._others = _sort_by_type(self.rules)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CompiledRules) and (self is other or self.rules == other.rules)

    def __hash__(self) -> int:
        return self._hash

    def find(self, view: EventView, me: Me) -> CompiledRule | None:
        """The first rule that matches, None if none does."""
        view.begin_rules()
        for rule in self._by_type.get(view.event.type.lower(), self._others):
            if all(condition.holds(view, me) for condition in rule.conditions):
                return rule
        return None

    def in_room(self, room_id: str) -> "CompiledRules":
        """What is left of the rules for events of one room."""
        projected: list[CompiledRule] = []
        for rule in self.rules:
            conditions = _in_room(rule.conditions, room_id)
            if conditions is None:
                continue
            if conditions is rule.conditions:
                projected.append(rule)
            else:
                projected.append(CompiledRule(conditions, rule.bits, rule.actions))
        return self if tuple(projected) == self.rules else CompiledRules(projected)


def compile_rules(rule_set: RuleSet, user_id: str, ignored: frozenset[str]) -> CompiledRules:
    """The rules of a user who ignores the users `ignored`."""
    compiled: list[CompiledRule] = []
    if ignored:
        # Clients do not get events of ignored users at all, so nothing may notify about them.
        compiled.append(CompiledRule((SenderIs(ignored),), 0, _QUIET))
    whole = rule_set.as_json(user_id)
    for kind in KINDS:
        for rule in whole[kind]:
            conditions = _conditions(kind, rule, user_id)
            # "Disabled rules never match."
            if rule["enabled"] and not any(isinstance(condition, Never) for condition in conditions):
                compiled.append(_compile_rule(conditions, rule["actions"]))
    return CompiledRules(compiled)


def outcome_bits(rule: CompiledRule | None) -> int:
    """What the rule that matched means for unread counts."""
    # "If no rules match an event, the homeserver MUST NOT notify the Push Gateway for that event."
    return 0 if rule is None else rule.bits


def default_compiled_rules() -> CompiledRules:
    """What everybody's rules are who never changed any: the same for all users."""
    # Not an empty string: a default rule asks for an empty state key.
    return compile_rules(DEFAULT_RULE_SET, "@", frozenset())


def bits_of_actions(actions: Sequence[Any]) -> int:
    """NOTIFY and HIGHLIGHT as a rule's actions ask for them."""
    if "notify" not in actions:
        return 0
    for action in actions:
        # "If a `highlight` tweak is given with no value, its value is defined to be `true`."
        if (
            isinstance(action, Mapping)
            and action.get("set_tweak") == "highlight"
            and action.get("value", True) is True
        ):
            return NOTIFY | HIGHLIGHT
    return NOTIFY


def _compile_rule(conditions: tuple[Condition, ...], actions: Sequence[Any]) -> CompiledRule:
    bits = bits_of_actions(actions)
    return CompiledRule(conditions, bits, compact(orjson.dumps(actions)) if bits else _QUIET)


def _conditions(kind: str, rule: Mapping[str, Any], user_id: str) -> tuple[Condition, ...]:
    if kind == "content":
        return (body_matches(rule["pattern"]),)
    if kind == "room":
        return (RoomIs(rule["rule_id"]),)
    if kind == "sender":
        return (SenderIs(frozenset((rule["rule_id"],))),)
    # "A rule with no conditions always matches."
    return tuple(parse_condition(condition, user_id) for condition in rule.get("conditions") or ())


def _in_room(conditions: tuple[Condition, ...], room_id: str) -> tuple[Condition, ...] | None:
    """The conditions that are still to be asked in a room, None if one cannot hold there."""
    left: list[Condition] = []
    for condition in conditions:
        if isinstance(condition, RoomIs):
            holds = condition.room_id == room_id
        elif isinstance(condition, EventMatch) and condition.path == ROOM_ID:
            holds = condition.glob.matches(room_id.lower())
        else:
            left.append(condition)
            continue
        if not holds:
            return None
    return conditions if len(left) == len(conditions) else tuple(left)


def _without_tail(rules: Iterable[CompiledRule]) -> tuple[CompiledRule, ...]:
    """Without rules that are never reached, and without quiet ones at the end, which say what no rule says too."""
    kept: list[CompiledRule] = []
    for rule in rules:
        kept.append(rule)
        if not rule.conditions:
            break
    while kept and not kept[-1].bits:
        kept.pop()
    return tuple(kept)


def _sort_by_type(
    rules: Sequence[CompiledRule],
) -> tuple[Mapping[str, tuple[CompiledRule, ...]], tuple[CompiledRule, ...]]:
    """Per event type that a rule names, the rules that can match it, and those for all other types."""
    types = [_type_of(rule) for rule in rules]
    by_type = {
        wanted: tuple(rule for rule, kind in zip(rules, types, strict=True) if kind is None or kind == wanted)
        for wanted in set(types)
        if wanted is not None
    }
    return by_type, tuple(rule for rule, kind in zip(rules, types, strict=True) if kind is None)


def _type_of(rule: CompiledRule) -> str | None:
    for condition in rule.conditions:
        if isinstance(condition, EventMatch) and condition.path == TYPE and condition.glob.is_literal:
            return condition.pattern
    return None
