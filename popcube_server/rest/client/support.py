"""Specification, server discovery: whom to ask for help."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.services.errors import NotFound


class WellKnownSupport:
    """`admin_contact` is a `mailto:` address or the URL of a page; None if nobody is named."""

    def __init__(self, admin_contact: str | None) -> None:
        self._admin_contact = admin_contact

    @endpoint("GET", "/.well-known/matrix/support", Access.OPEN)
    async def get(self, call: Call) -> Mapping[str, Any]:
        contact = self._admin_contact
        if contact is None:
            raise NotFound("This server names no contact.")
        if contact.startswith("mailto:"):
            return {"contacts": [{"email_address": contact.removeprefix("mailto:"), "role": "m.role.admin"}]}
        if contact.startswith("@"):
            return {"contacts": [{"matrix_id": contact, "role": "m.role.admin"}]}
        return {"support_page": contact}
