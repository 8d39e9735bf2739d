"""Locking and suspending accounts, as server administrators do."""

from federation.room_dag.identifiers import is_user_id
from popcube_server.services.errors import InvalidParam, NotAllowed, NotFound
from popcube_server.services.requester import Requester
from storage.accounts import AccountFlag, AccountRow, AccountsRepository, SetAccountFlag
from storage.committer import Committer
from storage.database import Database


class ModerateAccount:
    """The caller is known to be an administrator already: nobody else may learn which accounts there are."""

    def __init__(self, server_name: str, database: Database, committer: Committer) -> None:
        self._server_name = server_name
        self._database = database
        self._committer = committer
        self._accounts = AccountsRepository()

    async def is_locked(self, user_id: str) -> bool:
        return (await self._get(user_id)).is_locked

    async def is_suspended(self, user_id: str) -> bool:
        return (await self._get(user_id)).is_suspended

    async def lock(self, requester: Requester, user_id: str, value: bool) -> None:
        await self._set(requester, user_id, AccountFlag.LOCKED, value)

    async def suspend(self, requester: Requester, user_id: str, value: bool) -> None:
        await self._set(requester, user_id, AccountFlag.SUSPENDED, value)

    async def _set(self, requester: Requester, user_id: str, flag: AccountFlag, value: bool) -> None:
        account = await self._get(user_id)
        if user_id == requester.user_id:
            raise NotAllowed("You cannot do this to your own account.")
        if account.is_admin:
            raise NotAllowed("You cannot do this to another administrator.")
        await self._committer.commit(SetAccountFlag(user_id, flag, value))

    async def _get(self, user_id: str) -> AccountRow:
        if not is_user_id(user_id) or not user_id.endswith(f":{self._server_name}"):
            raise InvalidParam("The user does not belong to this server.")
        account = await self._database.read(lambda tx: self._accounts.find(tx, user_id))
        if account is None or account.is_deactivated:
            raise NotFound("There is no such user.")
        return account
