"""m.device_list_update and m.signing_key_update. Source: server-server API, "Device Management"."""

from collections.abc import Mapping
from typing import Any, Final

from popcube_server.services.edus.edu_content import BadEdu, get_int, get_string, get_user_of
from popcube_server.services.edus.remote_device_lists import RemoteDeviceLists
from popcube_server.services.edus.remote_identity import MAX_DEVICES, read_cross_signing, read_device
from popcube_server.services.edus.shared_rooms import SharedRooms
from storage.committer import Committer
from storage.database import Database, Transaction
from storage.device_lists import DeviceListChanged
from storage.remote_devices import (
    DistrustRemoteDevices,
    ListMovedOn,
    RemoteDeviceList,
    RemoteDevicesRepository,
    UpdateRemoteDevice,
)

MAX_PREVIOUS: Final = 100


class ReceiveDeviceList:
    def __init__(
        self, shared: SharedRooms, lists: RemoteDeviceLists, database: Database, committer: Committer
    ) -> None:
        self._shared = shared
        self._lists = lists
        self._database = database
        self._committer = committer
        self._repository = RemoteDevicesRepository()

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        user_id = get_user_of(origin, content, "user_id")
        device_id = get_string(content, "device_id")
        stream_id, previous = get_int(content, "stream_id"), _previous(content)
        json = None
        if content.get("deleted") is not True:
            display_name = content.get("device_display_name")
            json = read_device(user_id, device_id, content.get("keys"), display_name)
        if not await self._shared.is_shared(user_id):
            return
        known, has_room = await self._database.read(lambda tx: self._read(tx, user_id, device_id))
        if known is None or known.is_stale:
            # Nothing is kept of this user: whoever wants the keys fetches them.
            await self._committer.commit(DeviceListChanged(user_id))
            return
        if stream_id <= known.stream_id:
            return
        # "If the receiving server does not recognise any of the prev_ids, it means an EDU has been lost and the server
        # should query a snapshot of the device list". IDs only grow: what is known covers everything before it.
        if max(previous, default=0) > known.stream_id or not has_room:
            await self._distrust(user_id)
            return
        update = UpdateRemoteDevice(user_id, known.stream_id, stream_id, device_id, json)
        try:
            await self._committer.commit(update, DeviceListChanged(user_id))
        except ListMovedOn:
            await self._distrust(user_id)

    def _read(self, tx: Transaction, user_id: str, device_id: str) -> tuple[RemoteDeviceList | None, bool]:
        has_room = (
            self._repository.has_device(tx, user_id, device_id)
            or self._repository.count_devices(tx, user_id) < MAX_DEVICES
        )
        return self._repository.find_stream(tx, user_id), has_room

    async def _distrust(self, user_id: str) -> None:
        await self._committer.commit(DistrustRemoteDevices((user_id,)), DeviceListChanged(user_id))
        self._lists.resync(user_id)


class ReceiveSigningKeys:
    def __init__(self, shared: SharedRooms, lists: RemoteDeviceLists) -> None:
        self._shared = shared
        self._lists = lists

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        user_id = get_user_of(origin, content, "user_id")
        keys = read_cross_signing(user_id, content)
        if keys and await self._shared.is_shared(user_id):
            await self._lists.commit(user_id, keys, [DeviceListChanged(user_id)])


def _previous(content: Mapping[str, Any]) -> list[int]:
    previous = content.get("prev_id", [])
    if not isinstance(previous, list) or not all(
        isinstance(one, int) and not isinstance(one, bool) for one in previous
    ):
        raise BadEdu("'prev_id' must be a list of integers")
    if len(previous) > MAX_PREVIOUS:
        raise BadEdu(f"'prev_id' may have at most {MAX_PREVIOUS} entries")
    return previous
