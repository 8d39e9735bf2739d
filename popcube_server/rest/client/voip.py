"""Specification module voip."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.services.voip.turn_credentials import TurnCredentials


class Voip:
    def __init__(self, credentials: TurnCredentials) -> None:
        self._credentials = credentials

    @endpoint("GET", "/_matrix/client/v3/voip/turnServer", Access.GUEST)
    async def turn_server(self, call: Call) -> Mapping[str, Any]:
        found = self._credentials.find(call.requester)
        if found is None:
            # NOTSPEC: the specification has no word for a server without TURN. Clients take an empty object for that;
            # an empty list of URIs would make browsers refuse to call at all.
            return {}
        return {
            "username": found.username,
            "password": found.password,
            "uris": list(found.uris),
            "ttl": found.ttl_s,
        }
