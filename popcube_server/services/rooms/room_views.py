"""From where a user may look into a room: as a member, as somebody who left, or through a window."""

from federation.rooms.live_rooms import UnknownRoom
from popcube_server.services.errors import NotAllowed
from popcube_server.services.rooms.membership_history import MembershipHistories, MembershipHistory
from popcube_server.services.rooms.user_rooms import UserRooms
from popcube_server.services.rooms.visibility_history import VisibilityHistories
from synapse_like_config.lazy_dataclasses import dataclass

REFUSAL = "You are not in that room, and never were."


@dataclass(frozen=True, slots=True)
class RoomView:
    """What of a room a user may ask for. Which events they see of it is `Visibility`'s to say."""

    room_id: str
    left_at: int | None = None
    """The place in the timeline where the user left, if they look back from there; None: they see the present."""
    is_joined: bool = False


class RoomViews:
    """Finds the view of a user."""

    def __init__(
        self, user_rooms: UserRooms, memberships: MembershipHistories, visibilities: VisibilityHistories
    ) -> None:
        self._user_rooms = user_rooms
        self._memberships = memberships
        self._visibilities = visibilities

    async def of(self, user_id: str, room_id: str) -> RoomView:
        """Raises `NotAllowed` for strangers, and for rooms that this server does not know, alike."""
        row = (await self._user_rooms.of_user(user_id)).get(room_id)
        if row is not None and row.membership == "join":
            return RoomView(room_id, None, True)
        if row is not None and not row.forgotten:
            left_at = departure(await self._memberships.of(user_id, room_id))
            if left_at is not None:
                # "If the user has left the room then the state is taken from the state of the room when they left."
                return RoomView(room_id, left_at)
        if await self.is_world_readable(room_id):
            return RoomView(room_id)
        raise NotAllowed(REFUSAL)

    async def is_world_readable(self, room_id: str) -> bool:
        """Whether anybody may look into the room as it is now; no if this server does not know it."""
        try:
            visibility = await self._visibilities.of(room_id)
        except UnknownRoom:
            return False
        return visibility.now == "world_readable"


def departure(history: MembershipHistory) -> int | None:
    """Where the user, not in the room any more, went out of it; None if they never were in it."""
    for index in range(len(history.memberships) - 2, -1, -1):
        if history.memberships[index] == "join":
            return history.orderings[index + 1]
    return None
