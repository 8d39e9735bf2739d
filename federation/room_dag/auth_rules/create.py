"""Rule 1: the event that creates the room."""

from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.room_dag.identifiers import InvalidIdentifier, domain_of, is_user_id
from federation.room_dag.room_versions import ROOM_VERSIONS


def check_create(event: Event) -> None:
    """Raise NotAllowed if the create event is not allowed."""
    rules = event.rules
    # 1.1: "If it has any `prev_events`, reject."
    if event.prev_events:
        raise NotAllowed("a create event may not have prev events")
    # 1.2 up to version 11: "If the domain of the `room_id` does not match the domain of the `sender`,
    # reject." In version 12 a create event with a `room_id` is not even a valid event; see ``event_format``.
    if not rules.room_id_is_create_hash and not _has_domain(event.room_id, domain_of(event.sender)):
        raise NotAllowed("the room ID is not of the server of the sender")
    # 1.3: "If `content.room_version` is present and is not a recognised version, reject."
    if "room_version" in event.content:
        version = event.content["room_version"]
        if not isinstance(version, str) or version not in ROOM_VERSIONS:
            raise NotAllowed("the room version is not recognised")
    # 1.4 up to version 10: "If `content` has no `creator` property, reject."
    if rules.creator_in_content and "creator" not in event.content:
        raise NotAllowed("the create event has no creator")
    if rules.privileged_creators:
        _check_additional_creators(event)


def _has_domain(room_id: str, domain: str) -> bool:
    try:
        return domain_of(room_id) == domain
    except InvalidIdentifier:
        return False


def _check_additional_creators(event: Event) -> None:
    # 1.4 of version 12: "If `additional_creators` is present in `content` and is not an array of strings
    # where each string passes the same user ID validation applied to `sender`, reject."
    if "additional_creators" not in event.content:
        return
    creators = event.content["additional_creators"]
    if not isinstance(creators, list) or not all(
        isinstance(each, str) and is_user_id(each) for each in creators
    ):
        raise NotAllowed("additional_creators is not a list of user IDs")
