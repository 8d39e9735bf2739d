"""`/_synapse/admin/v1/register`: accounts for whoever knows the registration secret.

Wire format: Synapse's public documentation, "Shared-Secret Registration".
"""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.client.device_choice import tokens_answer
from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import find_string, get_bool, get_string
from popcube_server.services.accounts.shared_secret_registration import (
    SharedSecretRegistration,
    SharedSecretRequest,
)


class SharedSecretRegister:
    def __init__(self, server_name: str, registration: SharedSecretRegistration) -> None:
        self._server_name = server_name
        self._registration = registration

    @endpoint("GET", "/_synapse/admin/v1/register", Access.OPEN)
    async def nonce(self, call: Call) -> Mapping[str, Any]:
        return {"nonce": self._registration.make_nonce()}

    @endpoint("POST", "/_synapse/admin/v1/register", Access.OPEN)
    async def register(self, call: Call) -> Mapping[str, Any]:
        body = call.body
        tokens = await self._registration.register(
            SharedSecretRequest(
                nonce=get_string(body, "nonce"),
                name=get_string(body, "username"),
                password=get_string(body, "password"),
                display_name=find_string(body, "displayname"),
                is_admin=get_bool(body, "admin", False),
                user_type=find_string(body, "user_type"),
                mac=get_string(body, "mac"),
            )
        )
        return tokens_answer(tokens, self._server_name)
