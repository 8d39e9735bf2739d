"""Specification module administrative contact: the third-party identifiers of an account, of which there are none."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call, endpoint


class AdministrativeContact:
    @endpoint("GET", "/_matrix/client/v3/account/3pid")
    async def get(self, call: Call) -> Mapping[str, Any]:
        # This server has no way to add one, so every account's list is empty.
        return {"threepids": []}
