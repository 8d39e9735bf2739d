"""A user's push rules: what differs from the default, as a value, with every change that a client can make to it.

Stored as one JSON object per user: `rules` by kind, highest priority first, and `defaults`, what the user changed in
server-default rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from types import MappingProxyType
from typing import Any, Final

import orjson

from popcube_server.services.errors import InvalidParam, NotFound, WithCode
from popcube_server.services.push.default_rules import KINDS, MASTER, default_rules
from synapse_like_config.lazy_dataclasses import dataclass

MAX_RULES: Final = 2_000

# "Older versions of the Matrix specification included the `dont_notify` and `coalesce` actions. Clients and homeservers
# MUST ignore these actions, for instance, by stripping them from actions arrays they encounter."
_HISTORICAL_ACTIONS: Final = ("dont_notify", "coalesce")

Action = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UserRule:
    """A rule that the user made. `conditions` only in override and underride rules, `pattern` in content rules."""

    rule_id: str
    actions: tuple[Action, ...]
    conditions: tuple[Mapping[str, Any], ...] | None = None
    pattern: str | None = None
    enabled: bool = True

    def as_json(self) -> dict[str, Any]:
        rule: dict[str, Any] = {
            "rule_id": self.rule_id,
            "default": False,
            "enabled": self.enabled,
            "actions": list(self.actions),
        }
        if self.conditions is not None:
            rule["conditions"] = list(self.conditions)
        if self.pattern is not None:
            rule["pattern"] = self.pattern
        return rule


@dataclass(frozen=True, slots=True)
class DefaultChange:
    """What the user changed in a server-default rule; None: nothing."""

    enabled: bool | None = None
    actions: tuple[Action, ...] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule is to go: next more important than `before`, else next less important than `after`."""

    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All that one user's rules have of their own."""

    rules: Mapping[str, tuple[UserRule, ...]] = field(default_factory=lambda: MappingProxyType({}))
    defaults: Mapping[str, DefaultChange] = field(default_factory=lambda: MappingProxyType({}))

    def of_kind(self, kind: str) -> tuple[UserRule, ...]:
        return self.rules.get(kind, ())

    def put(self, kind: str, rule: UserRule, place: Place) -> "RuleSet":
        """Add a rule, or change the one with its ID. Refuses a `place` by a rule that is not there."""
        rules = list(self.of_kind(kind))
        old = _index(rules, rule.rule_id)
        if old is not None:
            # A change of what a rule does is no change of whether it does anything.
            rule = replace(rule, enabled=rules[old].enabled)
        if place.before is None and place.after is None:
            # "If neither `after` nor `before` are provided and the rule is created, it should be added as the most
            # important user defined rule among rules of the same kind." One that exists stays where it is.
            if old is None:
                self._check_room_for_one_more()
                rules.insert(0, rule)
            else:
                rules[old] = rule
            return self._with(kind, rules)
        if old is None:
            self._check_room_for_one_more()
        else:
            del rules[old]
        # "If both `after` and `before` are provided, the new or updated rule must be the next most important rule with
        # respect to the rule identified by `before`."
        if place.before is not None:
            at = _place_of(rules, place.before)
        else:
            at = _place_of(rules, place.after or "") + 1
        rules.insert(at, rule)
        return self._with(kind, rules)

    def delete(self, kind: str, rule_id: str) -> "RuleSet":
        """Raises `NotFound` if the user has no such rule (nobody can delete a default rule)."""
        rules = list(self.of_kind(kind))
        at = _index(rules, rule_id)
        if at is None:
            raise NotFound("There is no such push rule.")
        del rules[at]
        return self._with(kind, rules)

    def set_enabled(self, kind: str, rule_id: str, enabled: bool) -> "RuleSet":
        """For rules of one's own and default ones. Raises `NotFound`."""
        at = _index(self.of_kind(kind), rule_id)
        if at is not None:
            return self._with_rule(kind, at, replace(self.of_kind(kind)[at], enabled=enabled))
        change = self._default_change(kind, rule_id)
        return self._with_default(kind, rule_id, replace(change, enabled=enabled))

    def set_actions(self, kind: str, rule_id: str, actions: tuple[Action, ...]) -> "RuleSet":
        """For rules of one's own and default ones. Raises `NotFound`."""
        at = _index(self.of_kind(kind), rule_id)
        if at is not None:
            return self._with_rule(kind, at, replace(self.of_kind(kind)[at], actions=actions))
        change = self._default_change(kind, rule_id)
        return self._with_default(kind, rule_id, replace(change, actions=actions))

    def moved_to_room(self, old_room_id: str, new_room_id: str) -> "RuleSet":
        """The rules with those about a room also for the room that took its place."""
        rules = list(self.of_kind("room"))
        old = _index(rules, old_room_id)
        if old is None or _index(rules, new_room_id) is not None or self._count() >= MAX_RULES:
            return self
        rules.insert(old, replace(rules[old], rule_id=new_room_id))
        return self._with("room", rules)

    def as_json(self, user_id: str) -> dict[str, list[dict[str, Any]]]:
        """The ruleset as clients see it: each kind, highest priority first, default rules included."""
        whole: dict[str, list[dict[str, Any]]] = {}
        defaults = default_rules(user_id)
        for kind in KINDS:
            own = [rule.as_json() for rule in self.of_kind(kind)]
            given = [self._changed_default(rule) for rule in defaults.get(kind, ())]
            # "Homeservers can specify "server-default rules". They operate at a lower priority than "user-defined
            # rules", except for the `.m.rule.master` rule which has always a higher priority than any other rule."
            master = [rule for rule in given if rule["rule_id"] == MASTER]
            whole[kind] = master + own + [rule for rule in given if rule["rule_id"] != MASTER]
        return whole

    def find_rule(self, user_id: str, kind: str, rule_id: str) -> dict[str, Any]:
        """One rule as clients see it. Raises `NotFound`."""
        for rule in self.as_json(user_id).get(kind, ()):
            if rule["rule_id"] == rule_id:
                return rule
        raise NotFound("There is no such push rule.")

    def _changed_default(self, rule: Mapping[str, Any]) -> dict[str, Any]:
        changed = dict(rule)
        change = self.defaults.get(rule["rule_id"])
        if change is not None and change.enabled is not None:
            changed["enabled"] = change.enabled
        if change is not None and change.actions is not None:
            changed["actions"] = list(change.actions)
        return changed

    def _default_change(self, kind: str, rule_id: str) -> DefaultChange:
        if not any(rule["rule_id"] == rule_id for rule in default_rules("").get(kind, ())):
            raise NotFound("There is no such push rule.")
        return self.defaults.get(rule_id, DefaultChange())

    def _with_default(self, kind: str, rule_id: str, change: DefaultChange) -> "RuleSet":
        given = next(rule for rule in default_rules("")[kind] if rule["rule_id"] == rule_id)
        # What is set back to the default is no difference any more.
        enabled = None if change.enabled == given["enabled"] else change.enabled
        actions = (
            None
            if change.actions is not None and list(change.actions) == given["actions"]
            else change.actions
        )
        defaults = {name: kept for name, kept in self.defaults.items() if name != rule_id}
        if enabled is not None or actions is not None:
            defaults[rule_id] = DefaultChange(enabled, actions)
        return replace(self, defaults=defaults)

    def _with_rule(self, kind: str, at: int, rule: UserRule) -> "RuleSet":
        rules = list(self.of_kind(kind))
        rules[at] = rule
        return self._with(kind, rules)

    def _with(self, kind: str, rules: Sequence[UserRule]) -> "RuleSet":
        return replace(self, rules={**self.rules, kind: tuple(rules)})

    def _count(self) -> int:
        return sum(map(len, self.rules.values()))

    def _check_room_for_one_more(self) -> None:
        if self._count() >= MAX_RULES:
            raise InvalidParam(f"There may be at most {MAX_RULES} push rules.")


DEFAULT_RULE_SET: Final = RuleSet()


def without_historical(actions: Sequence[Action]) -> tuple[Action, ...]:
    """The actions that mean something."""
    return tuple(action for action in actions if action not in _HISTORICAL_ACTIONS)


def encode_rule_set(rule_set: RuleSet) -> bytes:
    """For storage."""
    rules = {
        kind: [{key: value for key, value in rule.as_json().items() if key != "default"} for rule in rules]
        for kind, rules in rule_set.rules.items()
        if rules
    }
    defaults = {
        rule_id: {"enabled": change.enabled, "actions": change.actions}
        for rule_id, change in rule_set.defaults.items()
    }
    return orjson.dumps({"rules": rules, "defaults": defaults})


def decode_rule_set(stored: bytes) -> RuleSet:
    """From storage. An empty object is the default rules."""
    document = orjson.loads(stored)
    rules = {
        kind: tuple(_decode_rule(rule) for rule in rules) for kind, rules in document.get("rules", {}).items()
    }
    defaults = {
        rule_id: DefaultChange(
            change["enabled"], None if change["actions"] is None else tuple(change["actions"])
        )
        for rule_id, change in document.get("defaults", {}).items()
    }
    return RuleSet(rules, defaults)


def _decode_rule(rule: Mapping[str, Any]) -> UserRule:
    conditions = rule.get("conditions")
    return UserRule(
        rule["rule_id"],
        tuple(rule["actions"]),
        None if conditions is None else tuple(conditions),
        rule.get("pattern"),
        rule["enabled"],
    )


def _index(rules: Sequence[UserRule], rule_id: str) -> int | None:
    return next((at for at, rule in enumerate(rules) if rule.rule_id == rule_id), None)


def _place_of(rules: Sequence[UserRule], rule_id: str) -> int:
    at = _index(rules, rule_id)
    if at is None:
        raise WithCode(400, "M_UNKNOWN", f"before/after rule not found: {rule_id}")
    return at
