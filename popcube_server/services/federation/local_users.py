"""Our users, as invites of other servers ask about them."""

from popcube_server.services.rooms.invite_permission import InvitePermission
from storage.accounts import AccountsRepository
from storage.database import Database


class InvitableUsers:
    def __init__(
        self, database: Database, accounts: AccountsRepository, permission: InvitePermission
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._permission = permission

    async def exists(self, user_id: str) -> bool:
        """Whether it is an account of this server that is not deactivated."""
        row = await self._database.read(lambda tx: self._accounts.find(tx, user_id))
        return row is not None and not row.is_deactivated

    async def blocks_invites(self, user_id: str) -> bool:
        return await self._permission.is_blocked(user_id)
