"""Specification module pushrules."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.rest.parse import find_bool
from popcube_server.services.errors import MissingParam
from popcube_server.services.push.push_rules import PushRules
from popcube_server.services.push.rule_body import check_kind, parse_actions, parse_rule
from popcube_server.services.push.rule_set import Place

_ALL = "/_matrix/client/v3/pushrules"
_GLOBAL = _ALL + "/global"
_RULE = _GLOBAL + "/{kind}/{rule_id}"


class PushRulesEndpoints:
    def __init__(self, push_rules: PushRules) -> None:
        self._push_rules = push_rules

    # COMPAT: the specification has the slash at the end, clients have it or not.
    @endpoint("GET", _ALL)
    @endpoint("GET", _ALL + "/")
    async def get_all(self, call: Call) -> Mapping[str, Any]:
        return await self._push_rules.content(call.requester.user_id)

    @endpoint("GET", _GLOBAL)
    @endpoint("GET", _GLOBAL + "/")
    async def get_global(self, call: Call) -> Mapping[str, Any]:
        rules: Mapping[str, Any] = (await self._push_rules.content(call.requester.user_id))["global"]
        return rules

    @endpoint("GET", _RULE)
    async def get(self, call: Call) -> Mapping[str, Any]:
        return await self._find(call)

    @endpoint("PUT", _RULE)
    async def put(self, call: Call) -> Mapping[str, Any]:
        kind, rule_id = _kind_and_id(call)
        rule = parse_rule(kind, rule_id, call.body)
        place = Place(call.query_one("before"), call.query_one("after"))
        await self._push_rules.change(call.requester.user_id, lambda rules: rules.put(kind, rule, place))
        return {}

    @endpoint("DELETE", _RULE)
    async def delete(self, call: Call) -> Mapping[str, Any]:
        kind, rule_id = _kind_and_id(call)
        await self._push_rules.change(call.requester.user_id, lambda rules: rules.delete(kind, rule_id))
        return {}

    @endpoint("GET", _RULE + "/enabled")
    async def is_enabled(self, call: Call) -> Mapping[str, Any]:
        return {"enabled": (await self._find(call))["enabled"]}

    @endpoint("PUT", _RULE + "/enabled")
    async def set_enabled(self, call: Call) -> Mapping[str, Any]:
        kind, rule_id = _kind_and_id(call)
        enabled = find_bool(call.body, "enabled")
        if enabled is None:
            raise MissingParam("'enabled' is missing.")
        value = enabled
        await self._push_rules.change(
            call.requester.user_id, lambda rules: rules.set_enabled(kind, rule_id, value)
        )
        return {}

    @endpoint("GET", _RULE + "/actions")
    async def get_actions(self, call: Call) -> Mapping[str, Any]:
        return {"actions": (await self._find(call))["actions"]}

    @endpoint("PUT", _RULE + "/actions")
    async def set_actions(self, call: Call) -> Mapping[str, Any]:
        kind, rule_id = _kind_and_id(call)
        actions = parse_actions(call.body)
        await self._push_rules.change(
            call.requester.user_id, lambda rules: rules.set_actions(kind, rule_id, actions)
        )
        return {}

    async def _find(self, call: Call) -> Mapping[str, Any]:
        kind, rule_id = _kind_and_id(call)
        user_id = call.requester.user_id
        return (await self._push_rules.get(user_id)).rule_set.find_rule(user_id, kind, rule_id)


def _kind_and_id(call: Call) -> tuple[str, str]:
    check_kind(call.path["kind"])
    return call.path["kind"], call.path["rule_id"]
