"""User-interactive authentication in front of an endpoint, the same way everywhere.

async def delete(self, call: Call) -> Mapping[str, Any]:
    await self._confirmation.confirm(call, device_id)
"""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call
from popcube_server.rest.parse import find_object
from popcube_server.services.auth.interactive_auth import Confirmed, InteractiveAuth
from popcube_server.services.auth.interactive_session import Operation
from popcube_server.services.auth.recent_confirmations import RecentConfirmations
from popcube_server.services.auth.stages import PASSWORD


class Confirmation:
    """Asks the caller for their password before something dangerous."""

    def __init__(
        self, interactive_auth: InteractiveAuth, recent: RecentConfirmations, is_password_enabled: bool
    ) -> None:
        self._interactive_auth = interactive_auth
        self._recent = recent
        self._flows = ((PASSWORD,),) if is_password_enabled else ()

    def body(self, call: Call) -> Mapping[str, Any]:
        """The body that the request means: a client may repeat the session alone."""
        return self._interactive_auth.remembered(call.body)

    async def confirm(self, call: Call, subject: str) -> None:
        """Raise `AuthenticationNeeded` unless the caller has confirmed this, or something else just now.

        `subject` is what a confirmation must not be carried over to another of: the device to delete, for example.
        """
        if self._recent.has_confirmed(call.requester.session_id):
            return
        await self.confirm_anew(call, subject)

    async def confirm_anew(self, call: Call, subject: str) -> Confirmed:
        """`confirm` that asks each time; without a token, `proved_user_id` of the result says who it is."""
        body = self.body(call)
        user_id = "" if call.maybe_requester is None else call.maybe_requester.user_id
        operation = Operation(call.endpoint_name, user_id, subject, without_auth(body))
        confirmed = await self._interactive_auth.confirm(
            operation, self._flows, find_object(body, "auth"), call.client_address
        )
        if call.maybe_requester is not None:
            self._recent.record(call.maybe_requester.session_id)
        return confirmed


def without_auth(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in body.items() if key != "auth"}
