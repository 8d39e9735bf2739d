"""Rule 5.3: joins."""

from federation.room_dag.auth_rules.auth_state import AuthState
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.room_dag.power_levels import creator_of


def check_join(event: Event, target: str, state: AuthState) -> None:
    """Raise NotAllowed if the target may not join."""
    # 5.3.1: "If the only previous event is an `m.room.create` and the `state_key` is the sender of the
    # `m.room.create`, allow." (Up to version 10: is the creator.)
    if event.prev_events == (state.create.event_id,) and target == creator_of(state.create):
        return
    # 5.3.2: "If the `sender` does not match `state_key`, reject."
    if event.sender != target:
        raise NotAllowed("one can join only oneself")
    membership = state.membership_of(target)
    # 5.3.3: "If the `sender` is banned, reject."
    if membership == "ban":
        raise NotAllowed(f"{target} is banned from the room")
    join_rule = state.join_rule()
    # 5.3.6: "If the `join_rule` is `public`, allow."
    if join_rule == "public":
        return
    # 5.3.4: "If the `join_rule` is `invite` or `knock` then allow if membership state is `invite` or `join`."
    if join_rule == "invite" or (join_rule == "knock" and event.rules.knocking):
        if membership not in ("invite", "join"):
            raise NotAllowed(f"{target} is not invited to the room")
        return
    if _is_restricted(join_rule, event):
        # 5.3.5.1: "If membership state is `join` or `invite`, allow."
        if membership not in ("join", "invite"):
            _check_authorised(event, state)
        return
    # 5.3.7: "Otherwise, reject."
    raise NotAllowed("the join rule of the room lets nobody in")


def _is_restricted(join_rule: str, event: Event) -> bool:
    if join_rule == "restricted":
        return event.rules.restricted_joins
    return join_rule == "knock_restricted" and event.rules.knock_restricted_joins


def _check_authorised(event: Event, state: AuthState) -> None:
    # 5.3.5.2: "If the `join_authorised_via_users_server` key in `content` is not a user with sufficient
    # permission to invite other users, reject." To invite one has to be joined.
    user_id = event.content.get("join_authorised_via_users_server")
    if not isinstance(user_id, str):
        raise NotAllowed(f"{event.sender} is not invited, and nobody authorised the join")
    levels = state.power_levels
    if state.membership_of(user_id) != "join" or levels.user_level(user_id) < levels.invite:
        raise NotAllowed(f"{user_id} may not authorise the join")
