"""Deactivate an account: for good, and its name stays taken."""

from popcube_server.services.accounts.delete_devices import DeleteDevices
from popcube_server.services.platform import Platform
from storage.accounts import DeactivateAccount as Deactivated
from storage.change import Change
from storage.committer import Committer
from storage.database import Database
from storage.devices import DevicesRepository
from storage.profiles import ClearProfile
from storage.sessions import EndSessionsOfUser


class DeactivateAccount:
    """Ends the account here; who follows the log takes the user out of the rooms."""

    def __init__(
        self, platform: Platform, database: Database, committer: Committer, delete_devices: DeleteDevices
    ) -> None:
        self._platform = platform
        self._database = database
        self._committer = committer
        self._delete_devices = delete_devices
        self._devices = DevicesRepository()

    async def deactivate(self, user_id: str, erase: bool) -> None:
        """`erase`: the user wants to be forgotten as far as can be."""
        devices = await self._database.read(lambda tx: self._devices.get_of_user(tx, user_id))
        changes: list[Change] = [
            Deactivated(user_id, erase),
            EndSessionsOfUser(user_id, self._platform.now_ms()),
            *self._delete_devices.changes(user_id, [device.device_id for device in devices]),
        ]
        if erase:
            changes.append(ClearProfile(user_id))
        await self._committer.commit(*changes)
