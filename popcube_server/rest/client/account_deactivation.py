"""Specification module account deactivation."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.client.user_interactive_auth import Confirmation
from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import get_bool
from popcube_server.services.accounts.deactivate_account import DeactivateAccount


class AccountDeactivation:
    def __init__(self, deactivate_account: DeactivateAccount, confirmation: Confirmation) -> None:
        self._deactivate_account = deactivate_account
        self._confirmation = confirmation

    @endpoint("POST", "/_matrix/client/v3/account/deactivate", Access.OPTIONAL)
    async def deactivate(self, call: Call) -> Mapping[str, Any]:
        erase = get_bool(self._confirmation.body(call), "erase", False)
        confirmed = await self._confirmation.confirm_anew(call, "")
        await self._deactivate_account.deactivate(confirmed.proved_user_id, erase)
        # "must be `success` if the homeserver has no identifiers to unbind for the user"
        return {"id_server_unbind_result": "success"}
