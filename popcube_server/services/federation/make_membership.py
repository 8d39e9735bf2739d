"""make_join, make_knock, make_leave: templates of member events for users of other servers.

Source: server-server API, "Joining Rooms", "Knocking upon a room", "Leaving Rooms".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from federation.room_dag.event import decode_pdu
from federation.room_dag.identifiers import domain_of, is_user_id
from federation.rooms.draft import Draft
from federation.rooms.live_room import LiveRoom
from federation.rooms.send_event import SendEvent
from popcube_server.services.errors import InvalidParam, NotAllowed, WithCode
from popcube_server.services.federation.authorize_joins import AuthorizeJoins
from popcube_server.services.federation.room_access import RoomAccess
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Template:
    room_version: str
    event: Mapping[str, Any]


class MakeMembership:
    def __init__(
        self,
        access: RoomAccess,
        authorize: AuthorizeJoins,
        send_event: SendEvent,
    ) -> None:
        self._access = access
        self._authorize = authorize
        self._send_event = send_event

    async def join(self, origin: str, room_id: str, user_id: str, versions: Sequence[str]) -> Template:
        """Raises `NotFound`, `NotAllowed` (also the auth rules'), M_INCOMPATIBLE_ROOM_VERSION, and for restricted rooms
        M_UNABLE_TO_AUTHORISE_JOIN and M_UNABLE_TO_GRANT_JOIN.
        """
        room = await self._checked(origin, room_id, user_id)
        _check_version(room, versions)
        content: dict[str, Any] = {"membership": "join"}
        authorizer = await self._authorize.find_authorizer(room_id, user_id)
        if authorizer is not None:
            content["join_authorised_via_users_server"] = authorizer
        return await self._template(room_id, user_id, content)

    async def knock(self, origin: str, room_id: str, user_id: str, versions: Sequence[str]) -> Template:
        """Raises `NotFound`, `NotAllowed`, M_INCOMPATIBLE_ROOM_VERSION."""
        room = await self._checked(origin, room_id, user_id)
        _check_version(room, versions)
        return await self._template(room_id, user_id, {"membership": "knock"})

    async def leave(self, origin: str, room_id: str, user_id: str) -> Template:
        """Raises `NotFound`, `NotAllowed`."""
        await self._checked(origin, room_id, user_id)
        return await self._template(room_id, user_id, {"membership": "leave"})

    async def _checked(self, origin: str, room_id: str, user_id: str) -> LiveRoom:
        if not is_user_id(user_id):
            raise InvalidParam("That is not a user ID.")
        if domain_of(user_id) != origin:
            raise NotAllowed("That user is not one of your server's.")
        return await self._access.resident(origin, room_id)

    async def _template(self, room_id: str, user_id: str, content: Mapping[str, Any]) -> Template:
        event = await self._send_event.make_template(
            Draft(room_id, "m.room.member", user_id, user_id, content)
        )
        pdu = decode_pdu(event)
        for key in ("hashes", "signatures", "event_id"):
            pdu.pop(key, None)
        return Template(event.rules.version, pdu)


def _check_version(room: LiveRoom, versions: Sequence[str]) -> None:
    # A server that names no version supports version 1.
    if room.rules.version not in (versions or ("1",)):
        raise WithCode(
            400,
            "M_INCOMPATIBLE_ROOM_VERSION",
            "Your server does not support the version of this room.",
            room_version=room.rules.version,
        )
