"""The authorization rules over a state of the room: the one decision about each event.

Source: "Authorization rules" of each room version.
"""

from federation.room_dag.auth_rules.aliases import check_aliases
from federation.room_dag.auth_rules.auth_state import AuthState, StateLookup
from federation.room_dag.auth_rules.create import check_create
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.auth_rules.member import check_member
from federation.room_dag.auth_rules.power_levels import check_power_levels
from federation.room_dag.auth_rules.redaction import check_redaction
from federation.room_dag.event import Event
from federation.room_dag.hashes import room_id_of_create
from federation.room_dag.identifiers import domain_of


def check_event_auth(event: Event, state: StateLookup) -> None:
    """Raise NotAllowed if the rules of the event's room version reject it in this state.

    `state` is asked for what the event's selection of auth events names, and always for ``("m.room.create",
    "")``. Signatures and the auth events of the event are checked elsewhere.
    """
    # Rule 1: "If type is `m.room.create`"
    if event.type == "m.room.create":
        check_create(event)
        return
    auth_state = AuthState(state)
    _check_room(event, auth_state.create)
    rules = event.rules
    # Rule 4 of versions 1 to 5: "If type is `m.room.aliases`"
    if rules.special_aliases_auth and event.type == "m.room.aliases":
        check_aliases(event)
        return
    # Rule 5: "If type is `m.room.member`"
    if event.type == "m.room.member":
        check_member(event, auth_state)
        return
    # Rule 6: "If the `sender`'s current membership state is not `join`, reject."
    if auth_state.membership_of(event.sender) != "join":
        raise NotAllowed(f"{event.sender} is not in the room")
    levels = auth_state.power_levels
    sender_level = levels.user_level(event.sender)
    # Rule 7.1: "Allow if and only if `sender`'s current power level is greater than or equal to the invite
    # level."
    if event.type == "m.room.third_party_invite":
        if sender_level < levels.invite:
            raise NotAllowed(f"{event.sender} has not the power level to invite")
        return
    # Rule 8: "If the event type's required power level is greater than the `sender`'s power level, reject."
    if levels.level_for_event(event.type, event.is_state) > sender_level:
        raise NotAllowed(f"{event.sender} has not the power level to send {event.type}")
    # Rule 9: "If the event has a `state_key` that starts with an `@` and does not match the `sender`,
    # reject."
    if event.state_key is not None and event.state_key.startswith("@") and event.state_key != event.sender:
        raise NotAllowed("the state key is another user's")
    # Rule 10: "If type is `m.room.power_levels`"
    if event.type == "m.room.power_levels":
        check_power_levels(event, auth_state)
    # Rule 11 of versions 1 and 2: "If type is `m.room.redaction`"
    elif rules.redaction_auth and event.type == "m.room.redaction":
        check_redaction(event, levels)
    # Rule 11: "Otherwise, allow."


def _check_room(event: Event, create: Event) -> None:
    # Rule 2 of version 12: "If the event's `room_id` is not an event ID for an accepted (not rejected)
    # `m.room.create` event, with the sigil `!` instead of `$`, reject."
    if event.rules.room_id_is_create_hash and event.room_id != room_id_of_create(create.event_id):
        raise NotAllowed("the room ID is not that of the create event")
    # Rule 4: "If the `content` of the `m.room.create` event in the room state has the property `m.federate`
    # set to `false`, and the `sender` domain of the event does not match the `sender` domain of the create
    # event, reject."
    if create.content.get("m.federate") is False and domain_of(event.sender) != domain_of(create.sender):
        raise NotAllowed("the room is not federated")
