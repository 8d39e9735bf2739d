"""Where a user's devices were seen last."""

from collections.abc import Sequence

from federation.room_dag.identifiers import is_user_id
from popcube_server.services.errors import InvalidParam, NotAllowed, NotFound
from popcube_server.services.requester import Requester
from storage.accounts import AccountsRepository
from storage.database import Database
from storage.devices import DeviceRow, DevicesRepository


class Whois:
    def __init__(self, server_name: str, database: Database) -> None:
        self._server_name = server_name
        self._database = database
        self._accounts = AccountsRepository()
        self._devices = DevicesRepository()

    async def get_devices(self, requester: Requester, user_id: str) -> Sequence[DeviceRow]:
        """The devices of the requester, or of anybody if an administrator asks."""
        if user_id != requester.user_id and not requester.is_admin:
            raise NotAllowed("Only server administrators may look up other users.")
        if not is_user_id(user_id) or not user_id.endswith(f":{self._server_name}"):
            raise InvalidParam("The user does not belong to this server.")
        known, devices = await self._database.read(
            lambda tx: (self._accounts.exists(tx, user_id), self._devices.get_of_user(tx, user_id))
        )
        if not known:
            raise NotFound("There is no such user.")
        return devices
