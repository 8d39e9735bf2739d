"""Specification, server discovery: where clients of this domain find its server."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint


class WellKnownClient:
    """`document` is the whole answer."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    @endpoint("GET", "/.well-known/matrix/client", Access.OPEN)
    async def get(self, call: Call) -> Mapping[str, Any]:
        return self._document


def client_document(
    base_url: str, identity_server: str | None, extra: Mapping[str, Any]
) -> Mapping[str, Any]:
    document: dict[str, Any] = {**extra, "m.homeserver": {"base_url": base_url}}
    if identity_server is not None:
        document["m.identity_server"] = {"base_url": identity_server}
    return document
