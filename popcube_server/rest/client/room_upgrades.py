"""Specification module room_upgrades."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.rest.parse import find_string_list, get_string
from popcube_server.services.rooms.upgrade_room import UpgradeRoom


class RoomUpgrades:
    def __init__(self, upgrade_room: UpgradeRoom) -> None:
        self._upgrade_room = upgrade_room

    @endpoint("POST", "/_matrix/client/v3/rooms/{room_id}/upgrade")
    async def upgrade(self, call: Call) -> Mapping[str, Any]:
        replacement = await self._upgrade_room.upgrade(
            call.requester,
            call.path["room_id"],
            get_string(call.body, "new_version"),
            find_string_list(call.body, "additional_creators") or (),
        )
        return {"replacement_room": replacement}
