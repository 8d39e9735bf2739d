"""A user's own list of devices."""

from collections.abc import Sequence
from typing import TypeAlias

from popcube_server.services.auth.start_session import check_device_name
from popcube_server.services.errors import NotFound
from storage.committer import Committer
from storage.database import Database
from storage.devices import DeviceRow, DevicesRepository, RenameDevice

Device: TypeAlias = DeviceRow


class Devices:
    """Lists and renames."""

    def __init__(self, database: Database, committer: Committer) -> None:
        self._database = database
        self._committer = committer
        self._devices = DevicesRepository()

    async def get_all(self, user_id: str) -> Sequence[DeviceRow]:
        return await self._database.read(lambda tx: self._devices.get_of_user(tx, user_id))

    async def get(self, user_id: str, device_id: str) -> DeviceRow:
        """Raises `NotFound`."""
        row = None
        # No stored ID holds U+0000, and a database could not even ask for it.
        if "\0" not in device_id:
            row = await self._database.read(lambda tx: self._devices.find(tx, user_id, device_id))
        if row is None:
            raise NotFound("You have no such device.")
        return row

    async def rename(self, user_id: str, device_id: str, display_name: str | None) -> None:
        """None takes the name away. Raises `NotFound`."""
        check_device_name(display_name)
        await self.get(user_id, device_id)
        await self._committer.commit(RenameDevice(user_id, device_id, display_name))
