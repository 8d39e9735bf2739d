"""Give an account a new password."""

from popcube_server.services.accounts.delete_devices import DeleteDevices
from popcube_server.services.auth.password_policy import check_password
from popcube_server.services.auth.passwords import Passwords
from storage.accounts import SetPasswordHash
from storage.change import Change
from storage.committer import Committer
from storage.database import Database
from storage.devices import DevicesRepository
from synapse_like_config.passwords import PasswordPolicy


class ChangePassword:
    """Whether the caller may do it was decided before."""

    def __init__(
        self,
        policy: PasswordPolicy,
        passwords: Passwords,
        database: Database,
        committer: Committer,
        delete_devices: DeleteDevices,
    ) -> None:
        self._policy = policy
        self._passwords = passwords
        self._database = database
        self._committer = committer
        self._delete_devices = delete_devices
        self._devices = DevicesRepository()

    def check(self, password: str) -> None:
        """Raise what is wrong with the new password, before anybody is asked for the old one."""
        check_password(self._policy, password)

    async def change(self, user_id: str, password: str) -> None:
        """Change it, and leave every device logged in."""
        await self._committer.commit(await self._set(user_id, password))

    async def change_and_log_out(self, user_id: str, password: str, kept_device_id: str | None) -> None:
        """Change it, and delete all devices but one."""
        devices = await self._database.read(lambda tx: self._devices.get_of_user(tx, user_id))
        others = [device.device_id for device in devices if device.device_id != kept_device_id]
        await self._committer.commit(
            await self._set(user_id, password), *self._delete_devices.changes(user_id, others)
        )

    async def _set(self, user_id: str, password: str) -> Change:
        return SetPasswordHash(user_id, await self._passwords.hash(password))
