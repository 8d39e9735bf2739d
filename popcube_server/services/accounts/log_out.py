"""Log out: the session ends and its device goes."""

from popcube_server.services.accounts.delete_devices import DeleteDevices
from popcube_server.services.platform import Platform
from popcube_server.services.requester import Requester
from storage.committer import Committer
from storage.database import Database
from storage.devices import DevicesRepository
from storage.sessions import EndSessionsOfUser


class LogOut:
    def __init__(
        self, platform: Platform, database: Database, committer: Committer, delete_devices: DeleteDevices
    ) -> None:
        self._platform = platform
        self._database = database
        self._committer = committer
        self._delete_devices = delete_devices
        self._devices = DevicesRepository()

    async def this_device(self, requester: Requester) -> None:
        """The device that asks."""
        await self._delete_devices.delete(requester.user_id, [requester.device_id])

    async def all_devices(self, user_id: str) -> None:
        """Every device of the user."""
        devices = await self._database.read(lambda tx: self._devices.get_of_user(tx, user_id))
        await self._committer.commit(
            EndSessionsOfUser(user_id, self._platform.now_ms()),
            *self._delete_devices.changes(user_id, [device.device_id for device in devices]),
        )
