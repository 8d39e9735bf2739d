"""Who may invite at all, and whom. Source: client-server API, "Invite permission" (v1.18)."""

import orjson

from popcube_server.services.errors import NotAllowed, WithCode
from popcube_server.services.requester import Requester
from storage.account_data import NO_ROOM, AccountDataRepository
from storage.database import Database

CONFIG_TYPE = "m.invite_permission_config"


class InvitePermission:
    """Knows the configuration, and reads what users wrote into their account data."""

    def __init__(
        self, database: Database, account_data: AccountDataRepository, only_admins_invite: bool
    ) -> None:
        self._database = database
        self._account_data = account_data
        self._only_admins_invite = only_admins_invite

    def check_may_invite(self, requester: Requester) -> None:
        """Raises `NotAllowed` if invites are for administrators only (`block_non_admin_invites`)."""
        if self._only_admins_invite and not requester.is_admin:
            raise NotAllowed("Only administrators of this server may invite.")

    async def check(self, user_id: str) -> None:
        """Raises M_INVITE_BLOCKED."""
        if await self.is_blocked(user_id):
            raise WithCode(403, "M_INVITE_BLOCKED", f"{user_id} does not take invites.")

    async def is_blocked(self, user_id: str) -> bool:
        """Whether all invites of a user are blocked."""
        row = await self._database.read(lambda tx: self._account_data.find(tx, user_id, NO_ROOM, CONFIG_TYPE))
        if row is None:
            return False
        content = orjson.loads(row.content)
        return isinstance(content, dict) and content.get("default_action") == "block"
