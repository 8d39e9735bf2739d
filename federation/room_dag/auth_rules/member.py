"""Rule 5: memberships. Joins and invites have files of their own."""

from federation.room_dag.auth_rules.auth_state import AuthState
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.auth_rules.invite import check_invite
from federation.room_dag.auth_rules.join import check_join
from federation.room_dag.event import Event
from federation.room_dag.identifiers import InvalidIdentifier, domain_of, is_user_id


def check_member(event: Event, state: AuthState) -> None:
    """Raise NotAllowed if the change of membership is not allowed."""
    # 5.1: "If there is no `state_key` property, or no `membership` property in `content`, reject."
    target = event.state_key
    if target is None or "membership" not in event.content:
        raise NotAllowed("a member event needs a state key and a membership")
    _check_target(target)
    if event.rules.restricted_joins:
        _check_authorising_user(event)
    match event.membership:
        case "join":
            check_join(event, target, state)
        case "invite":
            check_invite(event, target, state)
        case "leave":
            _check_leave(event, target, state)
        case "ban":
            _check_ban(event, target, state)
        case "knock" if event.rules.knocking:
            _check_knock(event, target, state)
        case _:
            # 5.8: "Otherwise, the membership is unknown. Reject."
            raise NotAllowed("the membership is unknown")


def _check_target(target: str) -> None:
    # NOTSPEC: nothing can be told to somebody who has no server. Synapse rejects these events as well.
    try:
        domain_of(target)
    except InvalidIdentifier:
        raise NotAllowed("the state key of a member event is not a user ID") from None


def _check_authorising_user(event: Event) -> None:
    # 5.2.1: "If the event is not validly signed by the homeserver of the user ID denoted by the key, reject."
    # The signature itself is checked with ``required_signers``; here the key has to be one that can have
    # signed.
    if "join_authorised_via_users_server" in event.content:
        user_id = event.content["join_authorised_via_users_server"]
        if not isinstance(user_id, str) or not is_user_id(user_id):
            raise NotAllowed("join_authorised_via_users_server is not a user ID")


def _check_leave(event: Event, target: str, state: AuthState) -> None:
    membership = state.membership_of(event.sender)
    # 5.5.1: "If the `sender` matches `state_key`, allow if and only if that user's current membership state
    # is `invite`, `join`, or `knock`."
    if event.sender == target:
        if membership in ("invite", "join") or (membership == "knock" and event.rules.knocking):
            return
        raise NotAllowed(f"{target} is not in the room")
    # 5.5.2: "If the `sender`'s current membership state is not `join`, reject."
    if membership != "join":
        raise NotAllowed(f"{event.sender} is not in the room")
    levels = state.power_levels
    sender_level = levels.user_level(event.sender)
    # 5.5.3: "If the target user's current membership state is `ban`, and the `sender`'s power level is less
    # than the ban level, reject."
    if state.membership_of(target) == "ban" and sender_level < levels.ban:
        raise NotAllowed(f"{event.sender} has not the power level to unban")
    # 5.5.4: "If the `sender`'s power level is greater than or equal to the kick level, and the target user's
    # power level is less than the `sender`'s power level, allow."
    if sender_level < levels.kick or levels.user_level(target) >= sender_level:
        raise NotAllowed(f"{event.sender} has not the power level to remove {target}")


def _check_ban(event: Event, target: str, state: AuthState) -> None:
    # 5.6.1: "If the `sender`'s current membership state is not `join`, reject."
    if state.membership_of(event.sender) != "join":
        raise NotAllowed(f"{event.sender} is not in the room")
    levels = state.power_levels
    sender_level = levels.user_level(event.sender)
    # 5.6.2: "If the `sender`'s power level is greater than or equal to the ban level, and the target user's
    # power level is less than the `sender`'s power level, allow."
    if sender_level < levels.ban or levels.user_level(target) >= sender_level:
        raise NotAllowed(f"{event.sender} has not the power level to ban {target}")


def _check_knock(event: Event, target: str, state: AuthState) -> None:
    # 5.7.1: "If the `join_rule` is anything other than `knock` or `knock_restricted`, reject."
    join_rule = state.join_rule()
    restricted = join_rule == "knock_restricted" and event.rules.knock_restricted_joins
    if join_rule != "knock" and not restricted:
        raise NotAllowed("the room does not accept knocks")
    # 5.7.2: "If `sender` does not match `state_key`, reject."
    if event.sender != target:
        raise NotAllowed("one can knock only for oneself")
    # 5.7.3: "If the `sender`'s current membership is not `ban`, `invite`, or `join`, allow."
    if state.membership_of(event.sender) in ("ban", "invite", "join"):
        raise NotAllowed(f"{event.sender} is banned, invited or already in the room")
