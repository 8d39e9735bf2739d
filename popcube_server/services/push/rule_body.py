"""Checks a push rule that a client wants to set, and everything in it.

Source: client-server API, `PUT /pushrules/global/{kind}/{ruleId}`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from popcube_server.services.errors import BadJson, InvalidParam, MissingParam, TooLarge
from popcube_server.services.push.default_rules import KINDS
from popcube_server.services.push.rule_set import Action, UserRule, without_historical

MAX_ID_BYTES: Final = 255
MAX_RULE_BYTES: Final = 16 * 1024
MAX_CONDITIONS: Final = 50

_HISTORICAL: Final = ("dont_notify", "coalesce")


def check_kind(kind: str) -> None:
    """Raises `InvalidParam`."""
    if kind not in KINDS:
        raise InvalidParam(f"The kind of a push rule must be one of: {', '.join(KINDS)}.")


def parse_rule(kind: str, rule_id: str, body: Mapping[str, Any]) -> UserRule:
    """The rule to be set. Raises `InvalidParam`, `MissingParam`, `BadJson` or `TooLarge`."""
    _check_rule_id(rule_id)
    if len(orjson.dumps(body)) > MAX_RULE_BYTES:
        raise TooLarge(f"A push rule may have at most {MAX_RULE_BYTES} bytes.")
    actions = parse_actions(body)
    if kind == "content":
        return UserRule(rule_id, actions, pattern=_parse_pattern(body))
    if kind in ("override", "underride"):
        return UserRule(rule_id, actions, _parse_conditions(body))
    return UserRule(rule_id, actions)


def parse_actions(body: Mapping[str, Any]) -> tuple[Action, ...]:
    """`actions`, without those that mean nothing. Raises as `parse_rule`."""
    if "actions" not in body:
        raise MissingParam("'actions' is missing.")
    actions = body["actions"]
    if not isinstance(actions, list):
        raise BadJson("'actions' must be a list.")
    if len(orjson.dumps(actions)) > MAX_RULE_BYTES:
        raise TooLarge(f"The actions may have at most {MAX_RULE_BYTES} bytes.")
    for action in actions:
        _check_action(action)
    return without_historical(actions)


def _check_action(action: Any) -> None:
    if isinstance(action, str):
        if action != "notify" and action not in _HISTORICAL:
            raise InvalidParam(f"There is no push action '{action}'.")
    elif not isinstance(action, dict):
        raise BadJson("An action must be a string or an object.")
    elif not isinstance(action.get("set_tweak"), str):
        raise InvalidParam("An action that is an object must have a string 'set_tweak'.")


def _check_rule_id(rule_id: str) -> None:
    # "If the string starts with a dot ("."), the request MUST be rejected as this is reserved for server-default
    # rules. Slashes ("/") and backslashes ("\\") are also not allowed."
    if rule_id.startswith("."):
        raise InvalidParam("The ID of a push rule must not start with a dot.")
    if not rule_id or "/" in rule_id or "\\" in rule_id or "\0" in rule_id:
        raise InvalidParam("The ID of a push rule must not be empty or contain slashes or backslashes.")
    if len(rule_id.encode()) > MAX_ID_BYTES:
        raise InvalidParam(f"The ID of a push rule may have at most {MAX_ID_BYTES} bytes.")


def _parse_pattern(body: Mapping[str, Any]) -> str:
    if "pattern" not in body:
        raise MissingParam("'pattern' is missing.")
    pattern = body["pattern"]
    if not isinstance(pattern, str):
        raise BadJson("'pattern' must be a string.")
    return pattern


def _parse_conditions(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    conditions: Sequence[Any] | None = body.get("conditions")
    if conditions is None:
        return ()
    if not isinstance(conditions, list):
        raise BadJson("'conditions' must be a list.")
    if len(conditions) > MAX_CONDITIONS:
        raise InvalidParam(f"A push rule may have at most {MAX_CONDITIONS} conditions.")
    for condition in conditions:
        # A kind that is not known here may be known to the user's clients: it is kept and never holds.
        if not isinstance(condition, dict) or not isinstance(condition.get("kind"), str):
            raise BadJson("A condition must be an object with a string 'kind'.")
    return tuple(conditions)
