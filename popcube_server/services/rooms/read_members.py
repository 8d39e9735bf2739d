"""The members of a room. Source: client-server API, `/members` and `/joined_members`."""

from collections.abc import Mapping
from typing import Any

from federation.rooms.room_state import MEMBER
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.errors import NotAllowed
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.event_json import STYLE, EventJson
from popcube_server.services.rooms.room_views import RoomViews
from popcube_server.services.rooms.state_at import Entries, StatesAt
from popcube_server.services.sync.places import Places
from synapse_like_config.lazy_dataclasses import dataclass

MEMBERSHIPS = ("join", "invite", "knock", "leave", "ban")


@dataclass(frozen=True, slots=True)
class MemberChoice:
    """Which members are wanted, and when."""

    at: str | None = None
    """A pagination token; None for the present."""
    membership: str | None = None
    not_membership: str | None = None

    def is_wanted(self, membership: str | None) -> bool:
        # "When specified alongside `not_membership`, the two parameters create an 'or' condition."
        if self.membership is None:
            return self.not_membership is None or membership != self.not_membership
        if membership == self.membership:
            return True
        return self.not_membership is not None and membership != self.not_membership


class ReadMembers:
    def __init__(self, views: RoomViews, states: StatesAt, event_json: EventJson, places: Places) -> None:
        self._views = views
        self._states = states
        self._event_json = event_json
        self._places = places

    async def events(self, requester: Requester, room_id: str, choice: MemberChoice) -> list[bytes]:
        """The JSON of the member events. Raises `NotAllowed`, `InvalidParam` for a wrong token."""
        view = await self._views.of(requester.user_id, room_id)
        if choice.at is None:
            entries = await self._states.seen_by(view)
        else:
            ordering = await self._places.behind(choice.at)
            if view.left_at is not None:
                ordering = min(ordering, view.left_at)
            entries = await self._states.at(room_id, ordering)
        members = await self._states.events(_members(entries))
        wanted = [stored for stored in members if choice.is_wanted(stored.event.membership)]
        return self._event_json.state(wanted, STYLE)

    async def joined(self, requester: Requester, room_id: str) -> dict[str, Mapping[str, Any]]:
        """What is shown of each user in the room, by user ID. Raises `NotAllowed`."""
        view = await self._views.of(requester.user_id, room_id)
        if not view.is_joined:
            # "The current user must be in the room for it to work."
            raise NotAllowed("You are not in that room.")
        members = await self._states.events(_members(await self._states.now(room_id)))
        return {
            stored.event.state_key: _profile(stored)
            for stored in members
            if stored.event.membership == "join" and stored.event.state_key is not None
        }


def _members(entries: Entries) -> Entries:
    return {pair: event_id for pair, event_id in entries.items() if pair[0] == MEMBER}


def _profile(stored: StoredEvent) -> Mapping[str, Any]:
    # Anybody can write anything into their member event: only what has the promised form is passed on.
    profile = {}
    content = stored.event.content
    name, avatar = content.get("displayname"), content.get("avatar_url")
    if isinstance(name, str):
        profile["display_name"] = name
    if isinstance(avatar, str) and avatar.startswith("mxc://"):
        profile["avatar_url"] = avatar
    return profile
