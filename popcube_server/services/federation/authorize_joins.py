"""Joins of restricted rooms by users of other servers: who meets the conditions, and who of ours vouches for them.

Source: server-server API, "Restricted rooms".
"""

from federation.room_dag.identifiers import domain_of
from federation.rooms.event_store import EventStore
from federation.rooms.live_room import LiveRoom
from federation.rooms.live_rooms import LiveRooms
from popcube_server.services.errors import NotAllowed, WithCode
from popcube_server.services.federation.room_access import has_member_of


class AuthorizeJoins:
    def __init__(self, rooms: LiveRooms, events: EventStore, server_name: str) -> None:
        self._rooms = rooms
        self._events = events
        self._server_name = server_name

    async def find_authorizer(self, room_id: str, user_id: str) -> str | None:
        """The user to name in `join_authorised_via_users_server`; None if the join needs none.

        Raises `NotAllowed`, M_UNABLE_TO_AUTHORISE_JOIN, M_UNABLE_TO_GRANT_JOIN, `UnknownRoom`.
        """
        room = await self._rooms.get(room_id)
        event_id = room.committed.find("m.room.join_rules")
        membership = room.committed.membership_of(user_id)
        # Invited and joined users need nobody to vouch for them.
        if event_id is None or not room.rules.restricted_joins or membership in ("join", "invite"):
            return None
        stored = await self._events.find(event_id)
        content = {} if stored is None else stored.event.content
        if content.get("join_rule") not in ("restricted", "knock_restricted"):
            return None
        await self._check_conditions(user_id, content.get("allow"))
        return self._choose(await self._rooms.get(room_id))

    async def _check_conditions(self, user_id: str, allow: object) -> None:
        wanted = {
            condition["room_id"]
            for condition in (allow if isinstance(allow, list) else ())
            if isinstance(condition, dict)
            and condition.get("type") == "m.room_membership"
            and isinstance(condition.get("room_id"), str)
        }
        rooms = await self._rooms.get_many(sorted(wanted))
        known = {
            room_id for room_id, room in rooms.items() if has_member_of(room.committed, self._server_name)
        }
        if any(rooms[room_id].committed.is_joined(user_id) for room_id in known):
            return
        if known != wanted:
            # "the resident server is unable to determine if the user satisfies the conditions"
            raise WithCode(
                400,
                "M_UNABLE_TO_AUTHORISE_JOIN",
                "This server is not in all rooms that decide about the join.",
            )
        raise NotAllowed("The user meets none of the conditions for joining this room.")

    def _choose(self, room: LiveRoom) -> str:
        levels = room.power_levels
        for user_id in room.committed.joined_members():
            if domain_of(user_id) == self._server_name and levels.user_level(user_id) >= levels.invite:
                return user_id
        raise WithCode(400, "M_UNABLE_TO_GRANT_JOIN", "No user of this server may let users into this room.")
