"""Rule 10: changes of power levels.

"Current value" and "new value" of an entry that is not there are nothing that could be higher than a level:
only values that stand in the event are compared, no defaults.
"""

from collections.abc import Mapping
from typing import Any, Final

from federation.room_dag.auth_rules.auth_state import AuthState
from federation.room_dag.auth_rules.auth_state_keys import POWER_LEVELS_PAIR
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.room_dag.identifiers import is_user_id
from federation.room_dag.power_levels import creators_of, parse_level
from federation.room_dag.room_versions import RoomRules

_LEVELS: Final = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")


def check_power_levels(event: Event, state: AuthState) -> None:
    """Raise NotAllowed if the new levels are malformed, or if the sender gives or takes more than it has."""
    _check_form(event, state.create)
    current = state.lookup(POWER_LEVELS_PAIR)
    # 10.5: "If there is no previous `m.room.power_levels` event in the room, allow."
    if current is None:
        return
    sender_level = state.power_levels.user_level(event.sender)
    rules = event.rules
    # 10.6: "For the properties `users_default`, ... check if they were added, changed or removed."
    old_levels = {name: current.content[name] for name in _LEVELS if name in current.content}
    new_levels = {name: event.content[name] for name in _LEVELS if name in event.content}
    _check_changes(old_levels, new_levels, sender_level, rules)
    # 10.7 and 10.8: "For each entry being changed in, or removed from, [added to] the `events` or
    # `notifications` properties"; `notifications` since version 6.
    for name in ("events", "notifications") if rules.guarded_notifications else ("events",):
        _check_changes(_get_map(current, name), _get_map(event, name), sender_level, rules)
    _check_user_changes(event, _get_map(current, "users"), sender_level)


def _check_form(event: Event, create: Event) -> None:
    content = event.content
    rules = event.rules
    if rules.integer_power_levels:
        # 10.1: "If any of the properties `users_default`, ... in `content` are present and not an integer,
        # reject."
        for name in _LEVELS:
            if name in content and parse_level(content[name], rules) is None:
                raise NotAllowed(f"the power level {name} is not an integer")
        # 10.2: "If either of the properties `events` or `notifications` in `content` are present and not an
        # object with values that are integers, reject."
        for name in ("events", "notifications"):
            if name in content and not _is_level_map(content[name], rules):
                raise NotAllowed(f"the power levels in {name} are not an object of integers")
    # 10.3: "If the `users` property in `content` is not an object with keys that are valid user IDs with
    # values that are integers, reject." (Or a string that is an integer, up to version 9.)
    users = content.get("users", {})
    if not _is_level_map(users, rules) or not all(is_user_id(user_id) for user_id in users):
        raise NotAllowed("the power levels in users are not an object of user IDs and integers")
    # 10.4 of version 12: "If the `users` property in `content` contains the `sender` of the `m.room.create`
    # event or any of the `additional_creators` array (if present) from the `content` of the `m.room.create`
    # event, reject."
    if rules.privileged_creators and not creators_of(create).isdisjoint(users):
        raise NotAllowed("creators of the room may not be given a power level")


def _check_changes(
    current: Mapping[str, Any], new: Mapping[str, Any], sender_level: int, rules: RoomRules
) -> None:
    for name in current.keys() | new.keys():
        old_level = parse_level(current.get(name), rules)
        new_level = parse_level(new.get(name), rules)
        if old_level == new_level:
            continue
        # "If the current value is higher than the `sender`'s current power level, reject."
        if old_level is not None and old_level > sender_level:
            raise NotAllowed(f"the power level {name} is higher than that of the sender")
        # "If the new value is higher than the `sender`'s current power level, reject."
        if new_level is not None and new_level > sender_level:
            raise NotAllowed(f"the new power level {name} is higher than that of the sender")


def _check_user_changes(event: Event, current: Mapping[str, Any], sender_level: int) -> None:
    new = _get_map(event, "users")
    for user_id in current.keys() | new.keys():
        old_level = parse_level(current.get(user_id), event.rules)
        new_level = parse_level(new.get(user_id), event.rules)
        if old_level == new_level:
            continue
        # 10.9: "For each entry being changed in, or removed from, the `users` property, other than the
        # `sender`'s own entry: If the current value is greater than or equal to the `sender`'s current power
        # level, reject."
        if user_id != event.sender and old_level is not None and old_level >= sender_level:
            raise NotAllowed(f"the power level of {user_id} is not below that of the sender")
        # 10.10: "For each entry being added to, or changed in, the `users` property: If the new value is
        # greater than the `sender`'s current power level, reject."
        if new_level is not None and new_level > sender_level:
            raise NotAllowed(f"the new power level of {user_id} is higher than that of the sender")


def _get_map(event: Event, name: str) -> Mapping[str, Any]:
    value = event.content.get(name)
    return value if isinstance(value, dict) else {}


def _is_level_map(value: Any, rules: RoomRules) -> bool:
    return isinstance(value, dict) and all(parse_level(level, rules) is not None for level in value.values())
