"""Specification module password management: a new password for somebody who knows the old one."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.client.user_interactive_auth import Confirmation
from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import get_bool, get_string
from popcube_server.services.accounts.change_password import ChangePassword
from popcube_server.services.errors import NotAllowed


class PasswordManagement:
    def __init__(self, change_password: ChangePassword, confirmation: Confirmation, is_enabled: bool) -> None:
        self._change_password = change_password
        self._confirmation = confirmation
        self._is_enabled = is_enabled

    @endpoint("POST", "/_matrix/client/v3/account/password", Access.OPTIONAL)
    async def change(self, call: Call) -> Mapping[str, Any]:
        if not self._is_enabled:
            raise NotAllowed("Passwords are not kept on this server.")
        body = self._confirmation.body(call)
        password = get_string(body, "new_password")
        logs_out = get_bool(body, "logout_devices", True)
        self._change_password.check(password)
        confirmed = await self._confirmation.confirm_anew(call, "")
        requester = call.maybe_requester
        if not logs_out:
            await self._change_password.change(confirmed.proved_user_id, password)
        else:
            # The token of this request goes on being good.
            kept = None if requester is None else requester.device_id
            await self._change_password.change_and_log_out(confirmed.proved_user_id, password, kept)
        return {}
