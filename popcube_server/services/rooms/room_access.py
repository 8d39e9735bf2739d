"""Which rooms a user may see from outside: spaces and previews show just those.

Source: client-server API, `/rooms/{roomId}/hierarchy` and `/room_summary/{roomIdOrAlias}`.
"""

from collections.abc import Collection, Mapping

from federation.rooms.server_acl import is_server_allowed
from popcube_server.services.rooms.room_summaries import RoomSummary
from storage.memberships import MembershipRow

_OPEN_RULES = ("public", "knock", "knock_restricted")


def is_open_to_all(room: RoomSummary) -> bool:
    """Whether anybody may see it: they can join, knock, or look in."""
    return room.is_world_readable or room.join_rule in _OPEN_RULES


def is_accessible(room: RoomSummary, memberships: Mapping[str, MembershipRow]) -> bool:
    """Whether the user with these memberships may see the room."""
    membership = membership_in(room.room_id, memberships)
    if membership in ("join", "invite"):
        return True
    if membership == "ban":
        return False
    if is_open_to_all(room):
        return True
    # "The room's join rules are set to `restricted`, provided the user meets one of the specified conditions."
    return any(membership_in(allowed, memberships) == "join" for allowed in room.allowed_room_ids)


def is_accessible_to_server(
    room: RoomSummary, server_name: str, servers: Mapping[str, Collection[str]], is_invited: bool
) -> bool:
    """Whether users of another server may see a room that is here.

    `servers` are those with members in the room and in each of its `allowed_room_ids`; `is_invited`: whether a user of
    the server is.
    """
    openness = room.openness
    if openness is None or not openness.is_federated or not is_server_allowed(openness.acl, server_name):
        return False
    if is_invited or is_open_to_all(room):
        return True
    return any(server_name in servers.get(one, ()) for one in (room.room_id, *room.allowed_room_ids))


def membership_in(room_id: str, memberships: Mapping[str, MembershipRow]) -> str | None:
    row = memberships.get(room_id)
    return None if row is None else row.membership
