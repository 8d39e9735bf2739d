"""Joining a restricted room: who meets its conditions, and which member vouches for them.

Source: client-server API, "Restricted rooms"; authorization rules of room version 8 and later.
"""

from federation.room_dag.identifiers import domain_of
from federation.rooms.event_store import EventStore
from federation.rooms.live_room import LiveRoom
from federation.rooms.live_rooms import LiveRooms
from popcube_server.services.errors import NotAllowed, WithCode
from popcube_server.services.rooms.user_rooms import UserRooms

_RESTRICTED = ("restricted", "knock_restricted")


class CannotGrantJoin(WithCode):
    """The user may join, and no user of this server may say so."""

    def __init__(self) -> None:
        super().__init__(400, "M_UNABLE_TO_GRANT_JOIN", "No user of this server may let you into this room.")


class RestrictedJoins:
    """Finds the authorizing user of a join."""

    def __init__(self, rooms: LiveRooms, events: EventStore, user_rooms: UserRooms, server_name: str) -> None:
        self._rooms = rooms
        self._events = events
        self._user_rooms = user_rooms
        self._server_name = server_name

    async def find_authorizer(self, room_id: str, user_id: str) -> str | None:
        """The user to name in `join_authorised_via_users_server`; None if the join needs none.

        Raises `NotAllowed` if the user meets no condition, `CannotGrantJoin`.
        """
        room = await self._rooms.get(room_id)
        event_id = room.committed.find("m.room.join_rules")
        membership = room.committed.membership_of(user_id)
        # Invited and joined users need nobody to vouch for them.
        if event_id is None or not room.rules.restricted_joins or membership in ("join", "invite"):
            return None
        stored = await self._events.find(event_id)
        content = {} if stored is None else stored.event.content
        if content.get("join_rule") not in _RESTRICTED:
            return None
        if not await self._meets_a_condition(user_id, content.get("allow")):
            raise NotAllowed("You meet none of the conditions for joining this room.")
        return self._choose(await self._rooms.get(room_id))

    async def _meets_a_condition(self, user_id: str, allow: object) -> bool:
        memberships = await self._user_rooms.of_user(user_id)
        for condition in allow if isinstance(allow, list) else []:
            if not isinstance(condition, dict) or condition.get("type") != "m.room_membership":
                continue
            allowed_room = condition.get("room_id")
            row = memberships.get(allowed_room) if isinstance(allowed_room, str) else None
            if row is not None and row.membership == "join":
                return True
        return False

    def _choose(self, room: LiveRoom) -> str:
        levels = room.power_levels
        # Someone of this server, in the room, who may invite.
        for user_id in room.committed.joined_members():
            if domain_of(user_id) == self._server_name and levels.user_level(user_id) >= levels.invite:
                return user_id
        raise CannotGrantJoin
